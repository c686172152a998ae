package clustertest_test

import (
	"context"
	"errors"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var errPlain = errors.New("it did not work")

// later runs fn as a process of the host and does not wait for it.
func later(h full, name string, fn func(ctx context.Context) error) error {
	h.Actor().Go(name, fn)
	return nil
}

// twins are the ways in which hosts go wrong, and what the kit has to say of each.
var twins = map[string]struct {
	finds string
	twin  twin
}{
	"the actor is another each time": {"Actor: it is the same", twin{actor: func(h full) *sim.Actor { return h.Actor().Child("service") }}},
	"the actor is everybody's": {"Actor: two hosts have two", twin{actor: func(h full) *sim.Actor {
		if a := h.Actor().World().Find("everybody"); a != nil {
			return a
		}
		return h.Actor().World().Actor("everybody")
	}}},
	"State knows everybody": {"State: a machine that is not registered", twin{state: func(ctx context.Context, h full, id [16]byte) (hyperv.State, error) {
		if s, err := h.State(ctx, id); err == nil {
			return s, nil
		}
		return hyperv.StateOff, nil
	}}},
	"State has an error of its own": {"State: a machine that is not registered", twin{state: func(ctx context.Context, h full, id [16]byte) (hyperv.State, error) {
		s, err := h.State(ctx, id)
		if err != nil {
			err = errPlain
		}
		return s, err
	}}},
	"State waits": {"State does not give way", twin{state: func(ctx context.Context, h full, id [16]byte) (hyperv.State, error) {
		_ = sim.Sleep(ctx, time.Millisecond)
		return h.State(ctx, id)
	}}},
	"Register returns nobody": {"Register: it returns the identity in the file", twin{register: func(ctx context.Context, h full, path string) ([16]byte, error) {
		_, err := h.Register(ctx, path)
		return [16]byte{}, err
	}}},
	"Register does it once": {"Register: a machine that is registered from the file already is no error", twin{register: func(ctx context.Context, h full, path string) ([16]byte, error) {
		vm, err := h.Unwrap().TakeOver(ctx, path)
		if err != nil {
			return [16]byte{}, err
		}
		return vm.ID(), nil
	}}},
	"Register starts the machine": {"Register: a machine without a saved state is off", twin{register: func(ctx context.Context, h full, path string) ([16]byte, error) {
		id, err := h.Register(ctx, path)
		if err == nil {
			err = h.Start(ctx, id)
		}
		return id, err
	}}},
	"Register does not mind a missing file": {"Register: a path without a file is an error", twin{register: func(ctx context.Context, h full, path string) ([16]byte, error) {
		id, _ := h.Register(ctx, path)
		return id, nil
	}}},
	"Register discards the saved state": {"it leaves the saved state", twin{register: func(ctx context.Context, h full, path string) ([16]byte, error) {
		id, err := h.Register(ctx, path)
		if vm := h.Unwrap().VMByID(id); err == nil && vm.State() == hyperv.StateSaved {
			err = vm.TurnOff(ctx)
		}
		return id, err
	}}},
	"Register stops a machine": {"Register: a machine that is registered already stays as it is", twin{register: func(ctx context.Context, h full, path string) ([16]byte, error) {
		id, err := h.Register(ctx, path)
		if vm := h.Unwrap().VMByID(id); err == nil && vm.State() == hyperv.StateRunning {
			err = vm.TurnOff(ctx)
		}
		return id, err
	}}},
	"Unregister misses a machine": {"Unregister: a machine that is not registered is no error", twin{unregister: func(ctx context.Context, h full, id [16]byte) error {
		if h.Unwrap().VMByID(id) == nil {
			return hyperv.ErrNotFound
		}
		return h.Unregister(ctx, id)
	}}},
	"Unregister does nothing": {"Unregister: the machine is not registered any more", twin{unregister: func(context.Context, full, [16]byte) error { return nil }}},
	"Unregister stops the machine": {"Unregister: a machine that runs is refused", twin{unregister: func(ctx context.Context, h full, id [16]byte) error {
		if vm := h.Unwrap().VMByID(id); vm != nil && vm.State() == hyperv.StateRunning {
			_ = vm.TurnOff(ctx)
		}
		return h.Unregister(ctx, id)
	}}},
	"Unregister has an error of its own": {"Unregister: a machine that runs is refused for its state", twin{unregister: func(ctx context.Context, h full, id [16]byte) error {
		if err := h.Unregister(ctx, id); err != nil {
			return errPlain
		}
		return nil
	}}},
	"Unregister deletes the files": {"Register: ", twin{unregister: func(ctx context.Context, h full, id [16]byte) error {
		if vm := h.Unwrap().VMByID(id); vm != nil && vm.State() == hyperv.StateOff {
			return vm.Delete(ctx)
		}
		return h.Unregister(ctx, id)
	}}},
	"Unregister discards the saved state": {"Unregister: it leaves the saved state", twin{unregister: func(ctx context.Context, h full, id [16]byte) error {
		if vm := h.Unwrap().VMByID(id); vm != nil && vm.State() == hyperv.StateSaved {
			_ = vm.TurnOff(ctx)
		}
		return h.Unregister(ctx, id)
	}}},
	"Start does nothing": {"Start: the machine runs when the call is over", twin{start: func(ctx context.Context, h full, id [16]byte) error {
		_, err := h.State(ctx, id)
		return err
	}}},
	"Start does not wait": {"Start: the machine runs when the call is over", twin{start: func(ctx context.Context, h full, id [16]byte) error {
		if _, err := h.State(ctx, id); err != nil {
			return err
		}
		return later(h, "start", func(ctx context.Context) error { return h.Start(ctx, id) })
	}}},
	"Start knows everybody": {"Start: a machine that is not registered is not found", twin{start: func(ctx context.Context, h full, id [16]byte) error {
		if err := h.Start(ctx, id); !errors.Is(err, hyperv.ErrNotFound) {
			return err
		}
		return nil
	}}},
	"Start minds a running machine": {"Start: a machine that runs is no error", twin{start: func(ctx context.Context, h full, id [16]byte) error {
		vm := h.Unwrap().VMByID(id)
		if vm == nil {
			return hyperv.ErrNotFound
		}
		return vm.Start(ctx)
	}}},
	"Start minds a rival": {"Start: it does no harm to start a machine from two sides", twin{start: func(ctx context.Context, h full, id [16]byte) error {
		vm := h.Unwrap().VMByID(id)
		switch {
		case vm == nil:
			return hyperv.ErrNotFound
		case vm.State() == hyperv.StateRunning:
			return nil
		}
		return vm.Start(ctx)
	}}},
	"Start does not take up": {"Start: a saved machine", twin{start: func(ctx context.Context, h full, id [16]byte) error {
		if s, err := h.State(ctx, id); err != nil || s == hyperv.StateSaved {
			return err
		}
		return h.Start(ctx, id)
	}}},
	"Stop does nothing": {"Stop: the machine is stopped in the way of", twin{stop: func(ctx context.Context, h full, id [16]byte, _ cluster.OfflineAction) error {
		_, err := h.State(ctx, id)
		return err
	}}},
	"Stop does not wait": {"Stop: the machine is stopped in the way of", twin{stop: func(ctx context.Context, h full, id [16]byte, a cluster.OfflineAction) error {
		if _, err := h.State(ctx, id); err != nil {
			return err
		}
		return later(h, "stop", func(ctx context.Context) error { return h.Stop(ctx, id, a) })
	}}},
	"Stop knows everybody": {"Stop: a machine that is not registered is not found", twin{stop: func(ctx context.Context, h full, id [16]byte, a cluster.OfflineAction) error {
		if err := h.Stop(ctx, id, a); !errors.Is(err, hyperv.ErrNotFound) {
			return err
		}
		return nil
	}}},
	"Stop minds a machine that is off": {"Stop: a machine that is off is no error", twin{stop: func(ctx context.Context, h full, id [16]byte, a cluster.OfflineAction) error {
		if s, err := h.State(ctx, id); err == nil && s == hyperv.StateOff {
			return hyperv.ErrInvalidState
		}
		return h.Stop(ctx, id, a)
	}}},
	"Stop always saves": {"VmOfflineActionTurnOff", twin{stop: func(ctx context.Context, h full, id [16]byte, _ cluster.OfflineAction) error {
		return h.Stop(ctx, id, cluster.Save)
	}}},
	"Stop never saves": {"VmOfflineActionSave", twin{stop: func(ctx context.Context, h full, id [16]byte, _ cluster.OfflineAction) error {
		return h.Stop(ctx, id, cluster.TurnOff)
	}}},
	"Stop discards a saved state": {"Stop: a saved state is never discarded", twin{stop: func(ctx context.Context, h full, id [16]byte, a cluster.OfflineAction) error {
		if vm := h.Unwrap().VMByID(id); vm != nil && vm.State() == hyperv.StateSaved && a == cluster.TurnOff {
			return vm.TurnOff(ctx)
		}
		return h.Stop(ctx, id, a)
	}}},
	"Stop shuts down by saving": {"Stop: a machine that was shut down is off", twin{stop: func(ctx context.Context, h full, id [16]byte, a cluster.OfflineAction) error {
		if a == cluster.Shutdown {
			a = cluster.Save
		}
		return h.Stop(ctx, id, a)
	}}},
	"Mount does nothing": {"can be made", twin{mount: func(full, hyperv.Mount) error { return nil }}},
	"Mount knows letters alone": {"Mount: the machine has the same path on the other host", twin{mount: func(h full, m hyperv.Mount) error {
		m.Folder = ""
		return h.Mount(m)
	}}},
	"Mount refuses folders": {"Mount: a volume can be mounted in a folder", twin{mount: func(h full, m hyperv.Mount) error {
		if m.Folder != "" {
			return cluster.ErrNotSupported
		}
		return h.Mount(m)
	}}},
	"Mount has a folder for each host": {"Mount: the machine has the same path on the other host", twin{mount: func(h full, m hyperv.Mount) error {
		if m.Folder != "" && h.Unwrap().Name() == "h2" {
			m.Folder += "h2"
		}
		return h.Mount(m)
	}}},
	"Unmount forgets machines below folders": {"Unmount: a machine that runs below the folder ends at once", twin{unmount: func(h full, v *hyperv.SharedVolume) [][16]byte {
		if _, err := h.Unwrap().Files().Stat("C/ClusterStorage/Volume1"); err == nil {
			return h.Unwrap().Unmount(v)
		}
		return h.Unmount(v)
	}}},
	"Mount does it once": {"Mount: a volume that it has already is no error", twin{mount: func(h full, m hyperv.Mount) error {
		if h.Mounted(m.Volume) {
			return errPlain
		}
		return h.Mount(m)
	}}},
	"Mount allows every shadow copy": {"Mount: no shadow copy is taken that is not allowed", twin{mount: func(h full, m hyperv.Mount) error {
		m.AllowShadow = nil
		return h.Mount(m)
	}}},
	"Mounted is always true":  {"Mounted: a volume that was not mounted is not", twin{mounted: func(full, *hyperv.SharedVolume) bool { return true }}},
	"Mounted is always false": {"Mount: the host has the volume", twin{mounted: func(full, *hyperv.SharedVolume) bool { return false }}},
	"Unmount does nothing":    {"Unmount: the host does not have the volume any more", twin{unmount: func(full, *hyperv.SharedVolume) [][16]byte { return nil }}},
	"Unmount is for the living": {"Unmount: it works on a host that is dead", twin{unmount: func(h full, v *hyperv.SharedVolume) [][16]byte {
		if h.Actor().Dead() {
			return nil
		}
		return h.Unmount(v)
	}}},
	"Unmount only pretends": {"Start: nothing of the machine is held", twin{
		unmount: func(h full, v *hyperv.SharedVolume) [][16]byte {
			if len(h.Unwrap().VMs()) > 0 {
				return nil // its machines keep their disks
			}
			return h.Unmount(v)
		},
		mounted: func(h full, v *hyperv.SharedVolume) bool { return false },
	}},
	"Unmount leaves the machines running": {"Unmount: a machine that runs from the volume ends at once", twin{unmount: func(h full, v *hyperv.SharedVolume) [][16]byte {
		return h.Unwrap().Unmount(v)
	}}},
	"Unmount ends the machines later": {"Unmount: a machine that runs from the volume ends at once", twin{unmount: func(h full, v *hyperv.SharedVolume) [][16]byte {
		for _, vm := range h.Unwrap().VMs() {
			if h.Actor().Dead() {
				break
			}
			_ = later(h, "stop", func(ctx context.Context) error { return errors.Join(sim.Sleep(ctx, time.Minute), vm.TurnOff(ctx)) })
		}
		return h.Unwrap().Unmount(v)
	}}},
	"Unmount forgets shadow copies": {"Unmount: it tells of the shadow copies that are left", twin{unmount: func(h full, v *hyperv.SharedVolume) [][16]byte {
		h.Unmount(v)
		return nil
	}}},
	"Unmount tells of what never was": {"Unmount: it tells of no shadow copy where none was taken", twin{unmount: func(h full, v *hyperv.SharedVolume) [][16]byte {
		return append(h.Unmount(v), [16]byte{1})
	}}},
	"nothing is told": {"OnStateChange: Start ends with", twin{notices: func(full, func(hyperv.StateChange)) func() { return func() {} }}},
	"everything is told twice": {"OnStateChange: a change begins where the last one ended", twin{notices: func(h full, fn func(hyperv.StateChange)) func() {
		return h.OnStateChange(func(c hyperv.StateChange) { fn(c); fn(c) })
	}}},
	"it is told too late": {"OnStateChange: it tells as it happens", twin{notices: func(h full, fn func(hyperv.StateChange)) func() {
		var last *hyperv.StateChange
		return h.OnStateChange(func(c hyperv.StateChange) {
			if last != nil {
				fn(*last)
			}
			last = &c
		})
	}}},
	"it is told for ever": {"OnStateChange: when the order is taken back", twin{notices: func(h full, fn func(hyperv.StateChange)) func() {
		h.OnStateChange(fn)
		return func() {}
	}}},
	"no heart beats": {"Heartbeat: a guest that runs has one", twin{beat: func(full, [16]byte) bool { return false }}},
	"Migrate does nothing": {"Migrate: the machine runs there", twin{migrate: func(ctx context.Context, h full, id [16]byte, _ cluster.Host) error {
		_, err := h.State(ctx, id)
		return err
	}}},
	"Migrate stops the machine": {"Migrate: the machine runs there", twin{migrate: func(ctx context.Context, h full, id [16]byte, to cluster.Host) error {
		if err := h.Migrate(ctx, id, to); err != nil {
			return err
		}
		return to.Stop(ctx, id, cluster.Save)
	}}},
	"Migrate leaves nothing behind": {"Migrate: a machine that could not go runs on", twin{migrate: func(ctx context.Context, h full, id [16]byte, to cluster.Host) error {
		err := h.Migrate(ctx, id, to)
		if vm := h.Unwrap().VMByID(id); err != nil && vm != nil && vm.State() == hyperv.StateRunning {
			err = errors.Join(err, vm.TurnOff(ctx))
		}
		return err
	}}},
	"Migrate starts a machine": {"Migrate: a machine that does not run is refused", twin{migrate: func(ctx context.Context, h full, id [16]byte, to cluster.Host) error {
		if s, err := h.State(ctx, id); err == nil && s == hyperv.StateOff {
			if err := h.Start(ctx, id); err != nil {
				return err
			}
		}
		return h.Migrate(ctx, id, to)
	}}},
	"Migrate goes with strangers": {"Migrate: a host of another kind is refused", twin{migrate: func(ctx context.Context, h full, id [16]byte, to cluster.Host) error {
		if _, ok := to.(interface{ Unwrap() *hyperv.Host }); !ok {
			return nil
		}
		return h.Migrate(ctx, id, to)
	}}},
	"it panics": {"a call comes to an end, without a panic", twin{start: func(context.Context, full, [16]byte) error {
		panic("start")
	}}},
	"it never comes back": {"a call comes to an end, without a panic", twin{stop: func(ctx context.Context, _ full, _ [16]byte, _ cluster.OfflineAction) error {
		return (&sim.Signal{Name: "the end"}).Wait(ctx)
	}}},
}
