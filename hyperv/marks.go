package hyperv

import (
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// Marks are what a host must still know about a machine after its power failed.
// They stand on the disk as empty named streams of the configuration file: they
// outlive the host, and no copy of the file's bytes takes them along.
const (
	markRunning       = "hyperv.running" // of a machine that is to be started again if it ran
	markBelongsRuns   = "hyperv.saved-by-backup.was-running"
	markBelongsPaused = "hyperv.saved-by-backup.was-paused"
)

// belongsMarks are the marks of a machine that a backup has saved, by the state it
// belongs back to.
var belongsMarks = map[State]string{StateRunning: markBelongsRuns, StatePaused: markBelongsPaused}

// mark puts marks on a machine, as far as it has none and is a machine of this
// host. One that cannot be put is not there after a crash, and nobody misses it.
func (h *Host) mark(id [16]byte, marks ...string) {
	vm := h.byID[id]
	if vm == nil {
		return
	}
	v, rest, err := h.volumeOf(vm.path)
	if err != nil {
		return
	}
	for _, m := range marks {
		if m != "" {
			_ = v.AdoptStream(rest, m, disk.NewMemory(0))
		}
	}
}

// unmark takes a mark away.
func (h *Host) unmark(id [16]byte, m string) {
	vm := h.byID[id]
	if vm == nil || m == "" {
		return
	}
	if v, rest, err := h.volumeOf(vm.path); err == nil {
		_ = v.RemoveStream(rest, m)
	}
}

// marks lists the streams of the machine's configuration file.
func (vm *VM) marks() []string {
	v, rest, err := vm.host.volumeOf(vm.path)
	if err != nil {
		return nil
	}
	marks, _ := v.Streams(rest)
	return marks
}

// markRunning notes whether a machine runs that is to be started again if it did.
func (vm *VM) markRunning(to State) {
	switch {
	case vm.config.StartAction != StartIfRunning:
	case to == StateRunning:
		vm.host.mark(vm.ID(), markRunning)
	case to == StateOff || to == StateSaved || to == StatePaused:
		vm.host.unmark(vm.ID(), markRunning)
	}
}

// belongs is where a machine belongs that a backup has saved, or 0.
func (vm *VM) belongs() State {
	marks := vm.marks()
	for _, s := range []State{StateRunning, StatePaused} {
		if slices.Contains(marks, belongsMarks[s]) {
			return s
		}
	}
	return 0
}
