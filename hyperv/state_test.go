package hyperv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The states with the numbers of the virtualization provider before Windows
// Server 2012.
func TestStatesHaveTheirNumbers(t *testing.T) {
	for s, want := range map[hyperv.State]struct {
		number uint16
		name   string
		stable bool
	}{
		hyperv.StateRunning:        {2, "running", true},
		hyperv.StateOff:            {3, "off", true},
		hyperv.StatePaused:         {32768, "paused", true},
		hyperv.StateSaved:          {32769, "saved", true},
		hyperv.StateStarting:       {32770, "starting", false},
		hyperv.StateSnapshotting:   {32771, "snapshotting", false},
		hyperv.StateSaving:         {32773, "saving", false},
		hyperv.StateStopping:       {32774, "stopping", false},
		hyperv.StatePausing:        {32776, "pausing", false},
		hyperv.StateResuming:       {32777, "resuming", false},
		hyperv.StatePausedCritical: {32787, "paused-critical", false},
		32781:                      {32781, "critical (32781)", false},
		32792:                      {32792, "critical (32792)", false},
		32780:                      {32780, "state 32780", false},
		32793:                      {32793, "state 32793", false},
	} {
		if uint16(s) != want.number || s.String() != want.name || s.Stable() != want.stable {
			t.Errorf("%d prints as %q, stable: %v", uint16(s), s, s.Stable())
		}
		if s.Critical() != (want.number >= 32781 && want.number <= 32792) {
			t.Errorf("%v is critical: %v", s, s.Critical())
		}
	}
}

// moves is the published diagram of states, with turning off a paused machine,
// bringing a saved one back paused and the guest's own way to stop beside it.
var moves = []struct {
	from hyperv.State
	ask  hyperv.Request
	via  hyperv.State
	to   hyperv.State
}{
	{hyperv.StateOff, hyperv.RequestStart, hyperv.StateStarting, hyperv.StateRunning},
	{hyperv.StateSaved, hyperv.RequestStart, hyperv.StateStarting, hyperv.StateRunning},
	{hyperv.StateSaved, hyperv.RequestTurnOff, hyperv.StateStopping, hyperv.StateOff},
	{hyperv.StateSaved, hyperv.RequestRestorePaused, hyperv.StateStarting, hyperv.StatePaused},
	{hyperv.StateRunning, hyperv.RequestSave, hyperv.StateSaving, hyperv.StateSaved},
	{hyperv.StateRunning, hyperv.RequestTurnOff, hyperv.StateStopping, hyperv.StateOff},
	{hyperv.StateRunning, hyperv.RequestReset, hyperv.StateStopping, hyperv.StateRunning},
	{hyperv.StateRunning, hyperv.RequestPause, hyperv.StatePausing, hyperv.StatePaused},
	{hyperv.StateRunning, hyperv.RequestShutDown, hyperv.StateStopping, hyperv.StateOff},
	{hyperv.StatePaused, hyperv.RequestResume, hyperv.StateResuming, hyperv.StateRunning},
	{hyperv.StatePaused, hyperv.RequestSave, hyperv.StateSaving, hyperv.StateSaved},
	{hyperv.StatePaused, hyperv.RequestTurnOff, hyperv.StateStopping, hyperv.StateOff},
	{hyperv.StatePausedCritical, hyperv.RequestResume, hyperv.StateResuming, hyperv.StateRunning},
	{hyperv.StatePausedCritical, hyperv.RequestSave, hyperv.StateSaving, hyperv.StateSaved},
	{hyperv.StatePausedCritical, hyperv.RequestTurnOff, hyperv.StateStopping, hyperv.StateOff},
}

func TestMovesAreTheDiagram(t *testing.T) {
	got, n := hyperv.Moves(), 0
	for _, m := range moves {
		if g := got[m.from][m.ask]; g.Via != m.via || g.To != m.to {
			t.Errorf("%v, %v: %v by %v", m.from, m.ask, g.To, g.Via)
		}
	}
	for _, row := range got {
		n += len(row)
	}
	if n != len(moves) {
		t.Errorf("%d moves, want %d", n, len(moves))
	}
	delete(got, hyperv.StateOff)
	if len(hyperv.Moves()[hyperv.StateOff]) == 0 {
		t.Error("the table is shared")
	}
}

// into brings a machine that is off into a state.
func (l *lab) into(vm *hyperv.VM, s hyperv.State) {
	l.t.Helper()
	if s != hyperv.StateOff {
		l.must(vm.Start(l.ctx()))
	}
	switch s {
	case hyperv.StatePaused:
		l.must(vm.Pause(l.ctx()))
	case hyperv.StateSaved:
		l.must(vm.Save(l.ctx()))
	case hyperv.StatePausedCritical:
		l.must(l.h.TakeOffline("D:"))
		l.advance(time.Minute)
		l.must(l.h.BringOnline("D:"))
	}
}

// Every stable state with every request: what the diagram has is done by the way
// it has, and everything else is refused and changes nothing.
func TestEveryStateWithEveryRequest(t *testing.T) {
	requests := []hyperv.Request{hyperv.RequestStart, hyperv.RequestTurnOff, hyperv.RequestSave, hyperv.RequestPause,
		hyperv.RequestResume, hyperv.RequestReset, hyperv.RequestRestorePaused, hyperv.RequestShutDown}
	for _, from := range []hyperv.State{hyperv.StateOff, hyperv.StateSaved, hyperv.StateRunning, hyperv.StatePaused, hyperv.StatePausedCritical} {
		for _, ask := range requests {
			t.Run(fmt.Sprintf("%v/%v", from, ask), func(t *testing.T) {
				l := newLab(t)
				vm := l.machine("vm", withLedger())
				l.into(vm, from)
				began := len(l.w.Trace())
				err := map[hyperv.Request]func(context.Context) error{
					hyperv.RequestStart: vm.Start, hyperv.RequestTurnOff: vm.TurnOff, hyperv.RequestSave: vm.Save, hyperv.RequestPause: vm.Pause,
					hyperv.RequestResume: vm.Resume, hyperv.RequestReset: vm.Reset,
					hyperv.RequestShutDown: vm.Shutdown,
					hyperv.RequestRestorePaused: func(ctx context.Context) error {
						return l.h.Management().Restore(ctx, vm.ID(), hyperv.StatePaused)
					},
				}[ask](l.ctx())
				var states []string
				for _, e := range l.w.Trace()[began:] {
					if e.Kind == "vm/state" {
						states = append(states, e.Get("to"))
					}
				}
				move, allowed := hyperv.Moves()[from][ask]
				if !allowed {
					var e *hyperv.Error
					if !errors.Is(err, hyperv.ErrInvalidState) || !errors.As(err, &e) || e.State != from || e.On != "vm" || vm.State() != from || len(states) > 0 {
						t.Errorf("refused with %v, is %v by %v", err, vm.State(), states)
					}
					return
				}
				if want := []string{move.Via.String(), move.To.String()}; err != nil || vm.State() != move.To || !slices.Equal(states, want) {
					t.Errorf("%v: is %v by %v, want %v", err, vm.State(), states, want)
				}
				l.works(vm)
			})
		}
	}
}

// works checks that what a machine says it does is what it does.
func (l *lab) works(vm *hyperv.VM) {
	l.t.Helper()
	g := vm.Guest()
	executes := vm.State() == hyperv.StateRunning
	if (g != nil) != executes || g != nil && (g.Ended() || g.Paused()) {
		l.t.Errorf("%s is %v, its guest is %v", vm.Name(), vm.State(), g)
	}
	if l.exists(vm.MemoryPath()) != (vm.State() == hyperv.StateSaved) {
		l.t.Errorf("%s is %v, its memory file is there: %v", vm.Name(), vm.State(), l.exists(vm.MemoryPath()))
	}
	f, err := l.h.Volume("D:").OpenFile(`\VMs\`+vm.Name()+`\system.vhd`, 3, 0)
	free := err == nil
	if free {
		l.must(f.Close())
	}
	if held := executes || vm.State() == hyperv.StatePaused || vm.State() == hyperv.StatePausedCritical; free == held {
		l.t.Errorf("%s is %v, its disk can be opened: %v", vm.Name(), vm.State(), free)
	}
}

// Requests take turns: one that comes while another is carried out waits, and then
// goes by the state that it finds.
func TestRequestsTakeTurns(t *testing.T) {
	l := newLab(t)
	vm := l.machine("vm")
	l.must(l.w.Do(l.ctx(), func(ctx context.Context) error {
		start := sim.Go(ctx, "start", vm.Start)
		if err := sim.Sleep(ctx, time.Second); err != nil {
			return err
		}
		if vm.State() != hyperv.StateStarting {
			t.Errorf("the machine is %v", vm.State())
		}
		save, again := sim.Go(ctx, "save", vm.Save), sim.Go(ctx, "start again", vm.Start)
		if err := errors.Join(start.Wait(ctx), save.Wait(ctx), again.Wait(ctx)); err != nil {
			return err
		}
		return nil
	}))
	var states []string
	for _, e := range l.w.Trace().Select("vm/state") {
		states = append(states, e.Get("to"))
	}
	if want := []string{"starting", "running", "saving", "saved", "starting", "running"}; !slices.Equal(states, want) {
		t.Errorf("%v", states)
	}
	l.works(vm)
}

// What was deleted cannot be asked for anything, whoever still has it.
func TestDeletedMachineRefusesEverything(t *testing.T) {
	l := newLab(t)
	vm := l.machine("vm", onSwitch(l.lan))
	l.must(vm.Delete(l.ctx()))
	for name, err := range map[string]error{
		"start": vm.Start(l.ctx()), "turn off": vm.TurnOff(l.ctx()), "save": vm.Save(l.ctx()), "delete": vm.Delete(l.ctx()),
		"configure": vm.Configure(l.ctx(), vm.Configuration()), "connect": vm.Connect(l.ctx(), 0, l.lan.ID),
	} {
		if !errors.Is(err, hyperv.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(l.lan.Ports()) != 0 || l.h.VM("vm") != nil {
		t.Errorf("ports %v", l.lan.Ports())
	}
	again := l.machine("vm")
	if again.ID() == vm.ID() {
		t.Error("the new machine has the old one's identity")
	}
	if l.w.Find("h1/vm") == nil || l.w.Find("h1/vm#2") != nil {
		t.Error("the new machine has not the free name")
	}
}

// Management as a table: each call on a machine that is not there.
func TestManagementOfAMissingMachine(t *testing.T) {
	l := newLab(t)
	m, id, ctx := l.h.Management(), [16]byte{1}, l.ctx()
	_, machine := m.Machine(ctx, id)
	_, requestor := m.Requestor(ctx, id)
	for name, err := range map[string]error{
		"Machine": machine, "Lock": m.Lock(ctx, id, "x"), "Save": m.Save(ctx, id), "Restore": m.Restore(ctx, id, hyperv.StateRunning),
		"TurnOff": m.TurnOff(ctx, id), "Requestor": requestor, "DropSnapshots": m.DropSnapshots(ctx, id, nil), "Delete": m.Delete(ctx, id),
		"Configure": m.Configure(ctx, id, &hyperv.Configuration{}), "Connect": m.Connect(ctx, id, 0, id),
	} {
		if !errors.Is(err, hyperv.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := m.Unlock(ctx, id); err != nil {
		t.Errorf("Unlock: %v", err)
	}
	if _, err := m.Register(ctx, `D:\none.xml`); !errors.Is(err, hyperv.ErrFileNotFound) {
		t.Errorf("Register: %v", err)
	}
}

func TestManagementRefusals(t *testing.T) {
	l := newLab(t)
	m, ctx := l.h.Management(), l.ctx()
	vm := l.running("vm", onSwitch(l.lan))
	_, requestor := m.Requestor(ctx, l.machine("off").ID())
	other := vm.Configuration()
	other.ID = [16]byte{9}
	off := l.machine("conf")
	for name, c := range map[string]struct {
		err  error
		code hyperv.Code
	}{
		"Requestor of a machine that is off":   {requestor, hyperv.ErrInvalidState},
		"Delete of a machine that runs":        {m.Delete(ctx, vm.ID()), hyperv.ErrInvalidState},
		"Configure a machine that runs":        {m.Configure(ctx, vm.ID(), vm.Configuration()), hyperv.ErrInvalidState},
		"Configure with another identity":      {m.Configure(ctx, off.ID(), other), hyperv.ErrParameter},
		"Restore a machine that runs":          {m.Restore(ctx, vm.ID(), hyperv.StateRunning), hyperv.ErrInvalidState},
		"Restore a machine that is off":        {m.Restore(ctx, off.ID(), hyperv.StateRunning), hyperv.ErrInvalidState},
		"Connect an adapter that is not there": {m.Connect(ctx, vm.ID(), 1, l.lan.ID), hyperv.ErrNotFound},
		"Connect to a switch that is not":      {m.Connect(ctx, vm.ID(), 0, [16]byte{7}), hyperv.ErrNotFound},
	} {
		if !errors.Is(c.err, c.code) {
			t.Errorf("%s: %v, want %v", name, c.err, c.code)
		}
	}
	if err := m.TurnOff(ctx, off.ID()); err != nil || off.State() != hyperv.StateOff {
		t.Errorf("turning off what is off: %v", err)
	}
	l.must(off.Lock("export"))
	if err := m.Configure(ctx, off.ID(), off.Configuration()); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("configuring a machine that is exported: %v", err)
	}
	off.Unlock()
	l.must(vm.Lock("export"))
	if err := m.Lock(ctx, vm.ID(), "backup"); !errors.Is(err, hyperv.ErrInUse) || vm.LockedBy() != "export" {
		t.Errorf("a second lock: %v, held by %q", err, vm.LockedBy())
	}
	vm.Unlock()
	vm.Unlock()
	l.must(m.Lock(ctx, vm.ID(), "backup"))
}

// An adapter that is disconnected leaves no port, and one that is connected again
// has one.
func TestConnectAndDisconnect(t *testing.T) {
	l := newLab(t)
	vm := l.running("vm", onSwitch(l.lan))
	dmz := l.h.AddSwitch("DMZ")
	ports := func(want ...int) {
		t.Helper()
		if got := []int{len(l.lan.Ports()), len(dmz.Ports())}; !slices.Equal(got, want) {
			t.Errorf("%v ports, want %v", got, want)
		}
	}
	ports(1, 0)
	l.must(vm.Connect(l.ctx(), 0, dmz.ID))
	ports(0, 1)
	l.must(vm.Connect(l.ctx(), 0, [16]byte{}))
	ports(0, 0)
	l.must(vm.Lock("backup"))
	if err := vm.Connect(l.ctx(), 0, l.lan.ID); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("connecting in a backup: %v", err)
	}
	ports(0, 0)
	vm.Unlock()
	if a := vm.Configuration().Adapters[0]; a.Connected() || a.Port != [16]byte{} {
		t.Errorf("%+v", a)
	}
	l.must(vm.Connect(l.ctx(), 0, l.lan.ID))
	l.must(vm.Connect(l.ctx(), 0, l.lan.ID))
	ports(1, 0)
}
