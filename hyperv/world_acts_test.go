package hyperv_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// An act is what happens to a host in the middle of a backup without any fault: an
// administrator is at work, a disk is full for a while, a cable is pulled and put back.
type act struct {
	what string
	vm   int // the machine, for those that are done to one
	at   time.Duration
	rest time.Duration // until it is taken back
}

// The acts, and how each is done and taken back. An act that is refused just then is
// no act.
var acts = map[string][2]func(ctx context.Context, w *world, vm *hyperv.VM) error{
	"backup not offered": {
		func(ctx context.Context, _ *world, vm *hyperv.VM) error { return vm.OfferBackup(ctx, false) },
		func(ctx context.Context, _ *world, vm *hyperv.VM) error { return vm.OfferBackup(ctx, true) },
	},
	"checkpoint made": { // and taken away again; of one that is off the oracle has noted the disks already
		func(ctx context.Context, _ *world, vm *hyperv.VM) error {
			if vm.State() != hyperv.StateRunning {
				return hyperv.ErrInvalidState
			}
			_, err := vm.Checkpoint(ctx, "in the middle")
			return err
		},
		func(ctx context.Context, _ *world, vm *hyperv.VM) error {
			list, err := vm.Checkpoints()
			for _, c := range list {
				if err == nil && c.Name == "in the middle" {
					err = vm.DeleteCheckpoint(ctx, c.ID)
				}
			}
			return err
		},
	},
	"service stopped": {
		func(ctx context.Context, _ *world, vm *hyperv.VM) error {
			if m := vm.Guest(); m != nil {
				return m.StopService(ctx, string(guest.BackupService))
			}
			return nil
		},
		func(ctx context.Context, _ *world, vm *hyperv.VM) error {
			if m := vm.Guest(); m != nil {
				return m.StartService(ctx, string(guest.BackupService))
			}
			return nil
		},
	},
	"volume full": {
		func(_ context.Context, w *world, _ *hyperv.VM) error {
			v := w.host.Volume("D")
			v.SetCapacity(v.Capacity() - v.Free())
			return nil
		},
		func(_ context.Context, w *world, _ *hyperv.VM) error {
			w.host.Volume("D").SetCapacity(1 << 50)
			return nil
		},
	},
	"volume offline": {
		func(_ context.Context, w *world, _ *hyperv.VM) error { return w.host.TakeOffline("D") },
		func(_ context.Context, w *world, _ *hyperv.VM) error { return w.host.BringOnline("D") },
	},
}

func drawAct(machines int) *rapid.Generator[act] {
	return rapid.Custom(func(t *rapid.T) act {
		return act{
			what: rapid.SampledFrom([]string{"backup not offered", "service stopped", "checkpoint made", "volume full", "volume offline"}).Draw(t, "what"),
			vm:   rapid.IntRange(0, machines-1).Draw(t, "to"),
			at:   time.Duration(rapid.IntRange(0, 25_000).Draw(t, "at")) * time.Millisecond,
			rest: time.Duration(rapid.IntRange(0, 20_000).Draw(t, "for")) * time.Millisecond,
		}
	})
}

// begin has an act happen, counted from now.
func (a act) begin(w *world) {
	w.Actor("somebody").Background(a.what, func(ctx context.Context) error {
		if err := sim.Sleep(ctx, a.at); err != nil {
			return err
		}
		vm := w.host.VM(fmt.Sprintf("vm%d", a.vm))
		if acts[a.what][0](ctx, w, vm) != nil {
			return nil
		}
		if err := sim.Sleep(ctx, a.rest); err != nil {
			return err
		}
		_ = acts[a.what][1](ctx, w, vm) // what is refused is done in the end
		return nil
	})
}

// takeBack puts right what acts have left: whatever was taken away is there again, and
// machines go on that waited for their storage, or were saved and could not be started.
func (w *world) takeBack(ctx context.Context, t *rapid.T, s worldSpec, done []act) {
	for _, a := range done {
		if strings.HasPrefix(a.what, "volume") {
			if err := acts[a.what][1](ctx, w, nil); err != nil {
				t.Errorf("taking back %s: %v", a.what, err)
			}
		}
	}
	for _, vm := range w.host.VMs() {
		var err error
		switch want := w.prior[vm.Name()]; {
		case want != hyperv.StateRunning && want != hyperv.StatePaused:
			continue
		case vm.State().Critical():
			err = vm.Resume(ctx)
		case vm.State() == hyperv.StateSaved:
			err = vm.Start(ctx)
		}
		if err == nil && w.prior[vm.Name()] == hyperv.StatePaused && vm.State() == hyperv.StateRunning {
			err = vm.Pause(ctx)
		}
		if err != nil {
			t.Errorf("bringing %s back: %v", vm.Name(), err)
		}
	}
	if slices.ContainsFunc(done, func(a act) bool { return strings.HasPrefix(a.what, "volume") }) && w.host.ManagementRunning() {
		// What the writer could not undo without storage it undoes when its service starts again.
		if err := w.host.StopManagement(ctx); err != nil {
			t.Errorf("stopping the management service: %v", err)
		}
		if err := w.host.StartManagement(ctx); err != nil {
			t.Errorf("starting the management service: %v", err)
		}
	}
	for _, a := range done {
		v := s.vms[a.vm]
		if a.what == "checkpoint made" || a.what == "backup not offered" && v.offered || a.what == "service stopped" && v.service && v.os != guest.Windows2000Server {
			if err := acts[a.what][1](ctx, w, w.host.VM(fmt.Sprintf("vm%d", a.vm))); err != nil {
				t.Errorf("taking back %s: %v", a.what, err)
			}
		}
	}
}
