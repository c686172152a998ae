package guesttest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/guesttest"
)

// An appliance has no writers and no file systems worth freezing: its backup
// service has the disks kept and that is all.
type appliance struct{ machine *guest.Machine }

func (a appliance) Snapshot(context.Context, guest.SnapshotOptions) (*guest.Snapshot, error) {
	m := a.machine
	if m.Ended() {
		return nil, guest.ErrEnded
	}
	s := &guest.Snapshot{Set: m.Actor().NewID("set")}
	for _, v := range m.Volumes() {
		if m.Disks()[v.Disk].Kind == guest.VirtualHardDisk {
			s.Copies = append(s.Copies, guest.Copy{Disk: v.Disk, Off: v.Off, Len: v.Len, ID: m.Actor().NewID("copy"), Volume: v.Name()})
		}
	}
	if s.Copies == nil {
		return nil, guest.ErrNothingToDo
	}
	for _, c := range s.Copies {
		if err := a.machine.Disks()[c.Disk].Disk.Keep(c.ID); err != nil {
			return nil, errors.Join(err, a.Release(context.Background(), s))
		}
	}
	return s, nil
}

func (a appliance) Release(_ context.Context, s *guest.Snapshot) error {
	for _, c := range s.Copies {
		d := a.machine.Disks()[c.Disk].Disk
		if !slices.Contains(d.KeptIDs(), c.ID) {
			continue
		}
		if err := d.Drop(c.ID); err != nil {
			return err
		}
	}
	return nil
}

func (a appliance) Abort(context.Context) error { return nil }

// A backup service of one's own is proved with the kit, which finds what was
// forgotten: here a copy could still be written.
func ExampleTestRequestor() {
	newAppliance := func(m *guest.Machine) guest.Requestor { return appliance{m} }
	fmt.Println(guesttest.TestRequestor(newAppliance, guesttest.Options{System: guest.Linux}))
	// Output:
	// a copy does not change any more: the copy of disk 0 partition 1 can be written
}
