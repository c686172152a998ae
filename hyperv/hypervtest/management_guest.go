package hypervtest

import (
	"fmt"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
)

// snapshot has the guest of the running machine take its snapshots; skipped where
// there is no guest that could.
func (k *try) snapshot() (*guest.Snapshot, error) {
	m, err := k.Machine(k.ctx, k.Running)
	if err != nil {
		return nil, ok("Machine", err)
	}
	if g := m.Facts.Guest; g == nil || !g.Installed || !g.Running {
		return nil, skip("has no guest that takes snapshots")
	}
	r, err := k.Requestor(k.ctx, k.Running)
	if err != nil {
		return nil, ok("Requestor", err)
	}
	s, err := r.Snapshot(k.ctx, guest.SnapshotOptions{})
	if err != nil {
		return nil, ok("Snapshot", err)
	}
	return s, nil
}

// keeps checks how many snapshots are in the live disks of the running machine.
func (k *try) keeps(want int) func() error {
	return func() error {
		if k.Snapshots == nil {
			return nil
		}
		if n := k.Snapshots(k.Running); n != want {
			return fmt.Errorf("%d snapshots are in the live disks, want %d", n, want)
		}
		return nil
	}
}

func (k *try) drop(copies []guest.Copy) func() error {
	return func() error { return ok("DropSnapshots", k.DropSnapshots(k.ctx, k.Running, copies)) }
}

var guestCases = []managementCase{
	{"Requestor is refused for a machine that does not run", func(k *try) error {
		var list []func() error
		for _, id := range [][16]byte{k.Off, k.Paused, k.Saved} {
			list = append(list, k.refused("Requestor", hyperv.ErrInvalidState, func() error { _, err := k.Requestor(k.ctx, id); return err }))
		}
		return steps(list...)
	}},
	{"Requestor has the guest take snapshots, which stay until they are dropped", func(k *try) error {
		s, err := k.snapshot()
		if err != nil {
			return err
		}
		if len(s.Copies) == 0 {
			return fmt.Errorf("the guest took no snapshot")
		}
		return steps(k.keeps(len(s.Copies)), k.drop(s.Copies), k.keeps(0), k.stays(k.Running, hyperv.StateRunning))
	}},
	{"Requestor works again after a machine was saved and restored", func(k *try) error {
		if err := steps(k.save(k.Running), k.restore(k.Running, hyperv.StateRunning)); err != nil {
			return err
		}
		s, err := k.snapshot()
		if err != nil {
			return err
		}
		return steps(k.drop(s.Copies), k.keeps(0))
	}},
	{"DropSnapshots does not mind snapshots that are gone already", func(k *try) error {
		s, err := k.snapshot()
		if err != nil {
			return err
		}
		return steps(k.drop(s.Copies), k.drop(s.Copies), k.keeps(0))
	}},
	{"DropSnapshots without any deletes nothing of a guest that runs", func(k *try) error {
		s, err := k.snapshot()
		if err != nil {
			return err
		}
		return steps(k.drop(nil), k.keeps(len(s.Copies)), k.drop(s.Copies))
	}},
	{"DropSnapshots deletes what a guest left that does not run any more", func(k *try) error {
		s, err := k.snapshot()
		if err != nil {
			return err
		}
		return steps(k.turnOff(k.Running), k.drop(nil), k.keeps(0), k.drop(s.Copies), k.stays(k.Running, hyperv.StateOff))
	}},
}
