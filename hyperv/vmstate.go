package hyperv

import (
	"context"
	"errors"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// How long the worker process takes, between the two bounds. The figures are the
// model's own: nothing is published.
const (
	minStart, maxStart = 2 * time.Second, 4 * time.Second
	minSave, maxSave   = 1 * time.Second, 3 * time.Second
)

// Start boots a machine that is off, or takes up the memory of a saved one. It fails
// with an [AccessError] or a [MediaError] where the machine's account has no access
// to a file, or an ISO file is not there.
func (vm *VM) Start(ctx context.Context) error { return vm.request(ctx, RequestStart) }

// TurnOff stops the machine at once; a saved state is discarded.
func (vm *VM) TurnOff(ctx context.Context) error { return vm.request(ctx, RequestTurnOff) }

// Save writes the machine's memory beside its configuration and stops it. On
// failure it does what it did before.
func (vm *VM) Save(ctx context.Context) error { return vm.request(ctx, RequestSave) }

// Shutdown has the guest shut down in order, through its shutdown service; without
// one that runs it is [ErrNotSupported]. If the guest does not do it the machine
// goes on.
func (vm *VM) Shutdown(ctx context.Context) error { return vm.request(ctx, RequestShutDown) }

// Pause stops the machine where it stands.
func (vm *VM) Pause(ctx context.Context) error { return vm.request(ctx, RequestPause) }

// Resume lets a paused machine go on.
func (vm *VM) Resume(ctx context.Context) error { return vm.request(ctx, RequestResume) }

// Reset turns the machine off and boots it.
func (vm *VM) Reset(ctx context.Context) error { return vm.request(ctx, RequestReset) }

// request carries out a state change as [Moves] has it. If the work fails the
// machine is back in the state it came from, or off if it died.
func (vm *VM) request(ctx context.Context, r Request) error {
	return vm.call(ctx, r.String(), func(ctx context.Context) error { return vm.change(ctx, r) })
}

// restore takes a saved machine back to running or paused. Unlike Start it never
// boots a machine that is off.
func (vm *VM) restore(ctx context.Context, to State) error {
	r := RequestStart
	if to == StatePaused {
		r = RequestRestorePaused
	}
	return vm.call(ctx, "restore", func(ctx context.Context) error {
		if vm.state != StateSaved {
			return &Error{Op: "restore", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
		}
		return vm.change(ctx, r)
	})
}

func (vm *VM) change(ctx context.Context, r Request) error {
	from, stall := vm.state, vm.stall
	move, ok := moves[from][r]
	if !ok {
		return &Error{Op: r.String(), On: vm.Name(), State: from, Err: ErrInvalidState}
	}
	vm.setState(move.Via, "")
	back := func() {
		if vm.state == move.Via {
			vm.setState(vm.fallback(from), "")
		}
	}
	done := vm.whenLost(back)
	err := vm.carryOut(ctx, r, from)
	if sim.Dead(ctx) {
		return err // the host finds out what is left
	}
	done()
	if err == nil && vm.state != move.Via {
		err = errStopped
	}
	if err != nil {
		if vm.stall == nil && (vm.machine != nil || vm.frozen != nil) {
			vm.stall = stall // it waits for its storage as before
		}
		back()
		return &Error{Op: r.String(), On: vm.Name(), State: from, Err: err}
	}
	vm.setState(vm.landing(move.To), "")
	if from == StateSaved {
		vm.host.undo.forget(vm.ID(), undoSaved, undoCutOff) // whoever it was
	}
	return nil
}

// A loss is what is to be done if a worker process dies in the middle of something.
type loss struct {
	worker *sim.Actor
	do     func()
}

// whenLost has the host do something if the worker process dies before it is done.
func (vm *VM) whenLost(do func()) (done func()) {
	l := &loss{vm.actor, do}
	forget := vm.actor.OnKill(vm.host.actor, "worker of "+vm.Name()+" lost", func(context.Context) error {
		vm.settle(l)
		return nil
	})
	vm.loss = l
	return func() {
		forget()
		vm.loss = nil
	}
}

func (vm *VM) settle(l *loss) {
	if vm.loss == l {
		vm.loss = nil
		l.do()
	}
}

// settleDeaths finds out what has died of the machine, if the host has not had the
// time yet: whoever asks sees it as it is.
func (vm *VM) settleDeaths() {
	if l := vm.loss; l != nil && l.worker.Dead() {
		vm.settle(l)
	}
	if m := vm.machine; m != nil && m.Actor().Dead() {
		vm.die()
	}
}

var errStopped = errors.New("the machine stopped meanwhile")

// fallback is the state of a machine for which a request has failed: the one it
// came from, off if nothing of it executes any more, or paused-critical if its storage
// failed meanwhile.
func (vm *VM) fallback(from State) State {
	if from != StateRunning && from != StatePaused && from != StatePausedCritical {
		return from
	}
	if vm.machine == nil && vm.frozen == nil {
		vm.unreserve()
		return StateOff
	}
	return vm.landing(from)
}

func (vm *VM) carryOut(ctx context.Context, r Request, from State) error {
	switch r {
	case RequestStart:
		return vm.start(ctx, from)
	case RequestRestorePaused:
		return vm.restorePaused(ctx)
	case RequestSave:
		return vm.save(ctx, from)
	case RequestPause:
		vm.machine.Pause()
		return nil
	case RequestResume:
		return vm.resume(ctx)
	case RequestShutDown:
		return vm.shutdown(ctx)
	case RequestReset:
		vm.powerOff()
		return vm.start(ctx, StateOff)
	default: // RequestTurnOff
		vm.powerOff()
		return vm.host.removeSavedState(vm.files())
	}
}
