package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// HyperV is the cluster's view of a simulated Hyper-V host. The host does not know
// that it is part of a cluster (R59).
func HyperV(h *hyperv.Host) Host { return &hyperVHost{h} }

type hyperVHost struct{ host *hyperv.Host }

var (
	_ Host     = (*hyperVHost)(nil)
	_ Notifier = (*hyperVHost)(nil)
	_ Heart    = (*hyperVHost)(nil)
	_ Migrator = (*hyperVHost)(nil)
	_ Auditor  = (*hyperVHost)(nil)
)

// Unwrap is the host.
func (h *hyperVHost) Unwrap() *hyperv.Host { return h.host }

func (h *hyperVHost) Actor() *sim.Actor { return h.host.Actor() }

func (h *hyperVHost) vm(op string, id [16]byte) (*hyperv.VM, error) {
	if vm := h.host.VMByID(id); vm != nil {
		return vm, nil
	}
	return nil, &hyperv.Error{Op: op, On: h.host.Name(), Err: hyperv.ErrNotFound}
}

func (h *hyperVHost) State(_ context.Context, id [16]byte) (hyperv.State, error) {
	vm, err := h.vm("State", id)
	if err != nil {
		return 0, err
	}
	return vm.State(), nil
}

func (h *hyperVHost) Register(ctx context.Context, path string) ([16]byte, error) {
	for _, vm := range h.host.VMs() {
		if volume.Equal(vm.ConfigurationPath(), path) {
			return vm.ID(), nil
		}
	}
	vm, err := h.host.TakeOver(ctx, path)
	if err != nil {
		return [16]byte{}, err
	}
	return vm.ID(), nil
}

func (h *hyperVHost) Unregister(ctx context.Context, id [16]byte) error {
	vm, err := h.vm("Unregister", id)
	if err == nil {
		err = vm.Unregister(ctx)
	}
	if errors.Is(err, hyperv.ErrNotFound) {
		return nil
	}
	return err
}

func (h *hyperVHost) Start(ctx context.Context, id [16]byte) error {
	vm, err := h.vm("Start", id)
	if err != nil {
		return err
	}
	if executes(vm) {
		return nil
	}
	if err = vm.Start(ctx); errors.Is(err, hyperv.ErrInvalidState) && executes(vm) {
		return nil // somebody else was faster
	}
	return err
}

// executes tells whether a machine runs or is paused.
func executes(vm *hyperv.VM) bool {
	return vm.State() == hyperv.StateRunning || vm.State() == hyperv.StatePaused
}

func (h *hyperVHost) Stop(ctx context.Context, id [16]byte, action OfflineAction) error {
	vm, err := h.vm("Stop", id)
	if err != nil {
		return err
	}
	switch s := vm.State(); {
	case s == hyperv.StateOff || s == hyperv.StateSaved:
		return nil
	case action == Save || s == hyperv.StateSaving:
		err = vm.Save(ctx) // it waits for what is under way
	case action == TurnOff:
		err = vm.TurnOff(ctx)
	default:
		err = h.shutDown(ctx, vm, action)
	}
	if s := vm.State(); errors.Is(err, hyperv.ErrInvalidState) && (s == hyperv.StateOff || s == hyperv.StateSaved) {
		return nil
	}
	return err
}

// shutDown has the guest shut down, through its integration service. A guest that
// does not is turned off if the action says so.
func (h *hyperVHost) shutDown(ctx context.Context, vm *hyperv.VM, action OfflineAction) error {
	err := vm.Shutdown(ctx)
	if err != nil && action == ShutdownForce {
		err = vm.TurnOff(ctx)
	}
	return err
}

func (h *hyperVHost) Mount(m hyperv.Mount) error { return h.host.Mount(m) }

// Unmount ends the machines that run from the volume as a crash of their guests
// does: there is nothing left for them to run from.
func (h *hyperVHost) Unmount(v *hyperv.SharedVolume) [][16]byte {
	var ends []*guest.Machine
	for _, vm := range h.host.VMs() {
		if g := vm.Guest(); g != nil && vm.StandsOn(v) {
			ends = append(ends, g)
		}
	}
	left := h.host.Unmount(v)
	for _, g := range ends {
		g.Actor().Kill()
	}
	return left
}

func (h *hyperVHost) Mounted(v *hyperv.SharedVolume) bool { return h.host.Mounted(v) }

func (h *hyperVHost) OnStateChange(fn func(hyperv.StateChange)) (cancel func()) {
	return h.host.OnStateChange(fn)
}

// A guest beats at an interval, and may be late by the latency; its heart has stopped
// when so many beats in a row are missing (Interval, Latency and ErrorThreshold of
// Msvm_HeartbeatSettingData).
const (
	heartbeatInterval  = 2000 * time.Millisecond
	heartbeatLatency   = 1000 * time.Millisecond
	heartbeatThreshold = 2
)

// Heartbeat misses a guest that stands still while its machine runs.
func (h *hyperVHost) Heartbeat(_ context.Context, id [16]byte) bool {
	vm := h.host.VMByID(id)
	if vm == nil || vm.Guest() == nil || vm.State() != hyperv.StateRunning {
		return true
	}
	g := vm.Guest()
	return !g.System().Service(guest.HeartbeatService).Installed || g.PausedFor() < heartbeatThreshold*heartbeatInterval+heartbeatLatency
}

func (h *hyperVHost) Migrate(ctx context.Context, id [16]byte, to Host) error {
	vm, err := h.vm("Migrate", id)
	if err != nil {
		return err
	}
	there, ok := to.(interface{ Unwrap() *hyperv.Host })
	if !ok {
		return &hyperv.Error{Op: "Migrate", On: vm.Name(), Err: hyperv.ErrNotSupported}
	}
	_, err = vm.MigrateTo(ctx, there.Unwrap())
	return err
}

func (h *hyperVHost) Audit() []hyperv.Leftover { return hyperv.Audit(h.host) }
