package hyperv

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// shutdownLimit is how long a guest may take to shut down before its machine is
// turned off. The figure is the model's own.
const shutdownLimit = 5 * time.Minute

// Shutdown ends the host in order. The management service stops first; what a
// backup was at is undone, so that machines which it had saved run again. Then every
// machine that executes is stopped as its stop action says, all of them at the same
// time, and turned off if that does not work. At last the power goes; what ran is
// known to the next [Host.Boot].
//
// The error tells what did not work; the host is off all the same. If ctx ends
// before, the rest of the way is a [Host.PowerOff].
func (h *Host) Shutdown(ctx context.Context) error {
	if !h.Running() {
		return &Error{Op: "Shutdown", On: h.name, Err: ErrInvalidState}
	}
	err := h.call(ctx, "shutdown", func(ctx context.Context) error {
		h.actor.Emit("host/shutdown", "", sim.S("host", h.name))
		err := errors.Join(h.vmms.stop(ctx), h.undo.unwind(ctx, h.managed()))
		var stops []*sim.Proc
		for _, vm := range slices.Clone(h.vms) {
			stops = append(stops, sim.Go(ctx, "stop "+vm.Name(), vm.stopWithHost))
		}
		return errors.Join(err, sim.Join(ctx, stops...))
	})
	h.PowerOff()
	return err
}

// stopWithHost carries out the stop action, and keeps in mind whether the machine
// ran.
func (vm *VM) stopWithHost(ctx context.Context) error {
	return vm.call(ctx, "stop", func(ctx context.Context) error {
		if vm.state == StateOff || vm.state == StateSaved {
			return nil
		}
		marks := vm.marks()
		vm.emit("vm/stop-action", "", sim.S("action", vm.config.StopAction.String()))
		err := vm.stopAs(ctx, vm.config.StopAction)
		if err != nil && vm.state != StateOff {
			vm.emit("vm/stop-failed", "", sim.S("because", err.Error()))
			err = errors.Join(err, vm.change(ctx, RequestTurnOff))
		}
		if slices.Contains(marks, markRunning) {
			vm.host.mark(vm.ID(), markRunning)
		}
		return err
	})
}

func (vm *VM) stopAs(ctx context.Context, a StopAction) error {
	switch a {
	case StopSave:
		return vm.change(ctx, RequestSave)
	case StopShutDown:
		ctx, cancel := sim.WithTimeout(ctx, shutdownLimit)
		defer cancel()
		return vm.change(ctx, RequestShutDown)
	}
	return vm.change(ctx, RequestTurnOff)
}
