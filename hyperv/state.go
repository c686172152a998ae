package hyperv

import "strconv"

// A State is the EnabledState of a virtual machine, with the numbers of
// Msvm_ComputerSystem (root\virtualization, before Windows Server 2012).
type State uint16

const (
	StateRunning      State = 2
	StateOff          State = 3
	StatePaused       State = 32768
	StateSaved        State = 32769
	StateStarting     State = 32770
	StateSnapshotting State = 32771
	StateSaving       State = 32773
	StateStopping     State = 32774
	StatePausing      State = 32776
	StateResuming     State = 32777

	// StatePausedCritical is a machine that executed when its storage failed: it stands
	// still until it is resumed, and then tries again. It is the one state of its family
	// that a host of this package knows.
	StatePausedCritical State = 32787
)

// firstCritical to lastCritical are the paused-critical family: the storage of
// the machine is gone or full.
const firstCritical, lastCritical State = 32781, 32792

var stateNames = map[State]string{
	StateRunning:      "running",
	StateOff:          "off",
	StatePaused:       "paused",
	StateSaved:        "saved",
	StateStarting:     "starting",
	StateSnapshotting: "snapshotting",
	StateSaving:       "saving",
	StateStopping:     "stopping",
	StatePausing:      "pausing",
	StateResuming:     "resuming",

	StatePausedCritical: "paused-critical",
}

func (s State) String() string {
	if name, ok := stateNames[s]; ok {
		return name
	}
	if s.Critical() {
		return "critical (" + strconv.Itoa(int(s)) + ")"
	}
	return "state " + strconv.Itoa(int(s))
}

// Critical tells whether the machine was stopped because its storage failed.
func (s State) Critical() bool { return s >= firstCritical && s <= lastCritical }

// Stable tells whether the machine stays in the state until somebody asks for
// another, and nothing is wrong with it.
func (s State) Stable() bool {
	switch s {
	case StateRunning, StateOff, StatePaused, StateSaved:
		return true
	}
	return false
}

// A Request is what RequestStateChange is asked for.
type Request uint8

const (
	RequestStart   Request = iota + 1 // also from saved: the memory is restored
	RequestTurnOff                    // hard, without a word to the guest
	RequestSave
	RequestPause
	RequestResume
	RequestReset
	RequestRestorePaused // from saved back to paused, without running in between
	RequestShutDown      // by the guest, in order
)

func (r Request) String() string {
	return [...]string{"", "start", "turn off", "save", "pause", "resume", "reset", "restore paused", "shut down"}[r]
}

// A Move is how a machine gets from one state to another.
type Move struct {
	Via State // while the request is carried out
	To  State
}

// Moves is the state machine of a virtual machine: what a request does in a
// state. A pair that is not listed is refused with [ErrInvalidState].
func Moves() map[State]map[Request]Move {
	out := make(map[State]map[Request]Move, len(moves))
	for from, row := range moves {
		out[from] = make(map[Request]Move, len(row))
		for r, m := range row {
			out[from][r] = m
		}
	}
	return out
}

var moves = map[State]map[Request]Move{
	StateOff: {
		RequestStart: {StateStarting, StateRunning},
	},
	StateSaved: {
		RequestStart:         {StateStarting, StateRunning},
		RequestRestorePaused: {StateStarting, StatePaused},
		RequestTurnOff:       {StateStopping, StateOff}, // the saved state is discarded
	},
	StateRunning: {
		RequestSave:    {StateSaving, StateSaved},
		RequestTurnOff: {StateStopping, StateOff},
		RequestReset:   {StateStopping, StateRunning},
		RequestPause:   {StatePausing, StatePaused},

		RequestShutDown: {StateStopping, StateOff},
	},
	StatePaused: {
		RequestResume:  {StateResuming, StateRunning},
		RequestSave:    {StateSaving, StateSaved},
		RequestTurnOff: {StateStopping, StateOff},
	},
	StatePausedCritical: {
		RequestResume:  {StateResuming, StateRunning},
		RequestSave:    {StateSaving, StateSaved}, // if the storage works again
		RequestTurnOff: {StateStopping, StateOff},
	},
}
