package hyperv

import "slices"

// A StateChange is what a host tells about a machine. Zero stands for a machine
// that is not registered: From when it was just registered, To when it was deleted
// or went to another host.
type StateChange struct {
	ID       [16]byte
	Name     string
	From, To State
}

type stateWatcher struct{ fn func(StateChange) }

// OnStateChange has fn called after every change of the state of any machine. It
// must neither give way nor change anything of the host. The returned function
// takes the order back.
func (h *Host) OnStateChange(fn func(StateChange)) (cancel func()) {
	w := &stateWatcher{fn}
	h.watchers = append(h.watchers, w)
	return func() {
		h.watchers = slices.DeleteFunc(slices.Clone(h.watchers), func(o *stateWatcher) bool { return o == w })
	}
}

func (vm *VM) notify(from, to State) {
	for _, w := range vm.host.watchers {
		w.fn(StateChange{ID: vm.ID(), Name: vm.Name(), From: from, To: to})
	}
}
