package guesttest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/guesttest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A twin is the backup service of the system with one mistake.
type twin struct {
	guest.Requestor
	m        *guest.Machine
	snapshot func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error)
	release  func(ctx context.Context, t *twin, s *guest.Snapshot) error
	abort    func(ctx context.Context, t *twin) error
	last     *guest.Snapshot
	turn     sim.Mutex
}

func (t *twin) Snapshot(ctx context.Context, o guest.SnapshotOptions) (*guest.Snapshot, error) {
	if t.snapshot != nil {
		return t.snapshot(ctx, t, o)
	}
	return t.Requestor.Snapshot(ctx, o)
}

func (t *twin) Release(ctx context.Context, s *guest.Snapshot) error {
	if t.release != nil {
		return t.release(ctx, t, s)
	}
	return t.Requestor.Release(ctx, s)
}

func (t *twin) Abort(ctx context.Context) error {
	if t.abort != nil {
		return t.abort(ctx, t)
	}
	return t.Requestor.Abort(ctx)
}

// then changes what a successful Snapshot returns.
func then(change func(ctx context.Context, t *twin, s *guest.Snapshot) error) twin {
	return twin{snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		s, err := t.Requestor.Snapshot(ctx, o)
		if err == nil {
			err = change(ctx, t, s)
		}
		return s, err
	}}
}

// instead changes how a Snapshot fails.
func instead(change func(err error) error) twin {
	return twin{snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		s, err := t.Requestor.Snapshot(ctx, o)
		if err != nil {
			err = change(err)
		}
		return s, err
	}}
}

// again keeps the disk of a copy anew, as it is now.
func again(t *twin, c guest.Copy) error {
	d := t.m.Disks()[c.Disk].Disk
	return errors.Join(d.Drop(c.ID), d.Keep(c.ID))
}

var errGeneral = errors.New("general failure")

var twins = map[string]twin{
	"forgets the last volume": then(func(_ context.Context, t *twin, s *guest.Snapshot) error {
		c := s.Copies[len(s.Copies)-1]
		s.Copies = s.Copies[:len(s.Copies)-1]
		return t.m.Disks()[c.Disk].Disk.Drop(c.ID)
	}),
	"lists a copy twice": then(func(_ context.Context, _ *twin, s *guest.Snapshot) error {
		s.Copies = append(s.Copies, s.Copies[0])
		return nil
	}),
	"keeps a pass-through disk, too": then(func(_ context.Context, t *twin, _ *guest.Snapshot) error {
		return t.m.Disks()[3].Disk.Keep([16]byte{1})
	}),
	"says where a volume lies without its hidden sectors": then(func(_ context.Context, _ *twin, s *guest.Snapshot) error {
		s.Copies[1].Off += 512
		return nil
	}),
	"is wrong about the length": then(func(_ context.Context, _ *twin, s *guest.Snapshot) error {
		s.Copies[1].Len -= 512
		return nil
	}),
	"mixes the volumes' names up": then(func(_ context.Context, _ *twin, s *guest.Snapshot) error {
		s.Copies[0].Volume, s.Copies[1].Volume = s.Copies[1].Volume, s.Copies[0].Volume
		return nil
	}),
	"names all copies alike": then(func(_ context.Context, _ *twin, s *guest.Snapshot) error {
		for i := range s.Copies {
			s.Copies[i].ID = s.Copies[0].ID
		}
		return nil
	}),
	"forgets the ID of the set": then(func(_ context.Context, _ *twin, s *guest.Snapshot) error {
		s.Set = [16]byte{}
		return nil
	}),
	"deletes the copies when the session ends": then(func(ctx context.Context, t *twin, s *guest.Snapshot) error {
		return t.Requestor.Release(ctx, s)
	}),
	"copies one volume after the other": then(func(ctx context.Context, t *twin, s *guest.Snapshot) error {
		for _, c := range s.Copies {
			if err := sim.Sleep(ctx, 2*time.Second); err != nil {
				return err
			}
			d := t.m.Disks()[c.Disk].Disk
			if err := errors.Join(again(t, c), d.Seal(c.ID)); err != nil {
				return err
			}
		}
		return nil
	}),
	"does not seal a copy": then(func(_ context.Context, t *twin, s *guest.Snapshot) error { return again(t, s.Copies[0]) }),
	"keeps the machine's disk up to date": then(func(ctx context.Context, t *twin, s *guest.Snapshot) error {
		t.m.Actor().Go("update", func(ctx context.Context) error {
			for range 3 {
				_ = sim.Sleep(ctx, 5*time.Second)
				for _, c := range s.Copies {
					_ = again(t, c)
				}
			}
			return nil
		})
		return nil
	}),
	"returns the snapshot of before": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		if t.last != nil {
			return t.last, nil
		}
		s, err := t.Requestor.Snapshot(ctx, o)
		t.last = s
		return s, err
	}},
	"forgets to thaw": then(func(ctx context.Context, t *twin, _ *guest.Snapshot) error {
		return t.m.Drives()[0].FlushAndHold(ctx)
	}),
	"forgets to release": {release: func(context.Context, *twin, *guest.Snapshot) error { return nil }},
	"releases all that the disks keep": {release: func(_ context.Context, t *twin, _ *guest.Snapshot) error {
		for _, a := range t.m.Disks() {
			for _, id := range a.Disk.KeptIDs() {
				if err := a.Disk.Drop(id); err != nil {
					return err
				}
			}
		}
		return nil
	}},
	"releases all copies but one": {release: func(ctx context.Context, t *twin, s *guest.Snapshot) error {
		return t.Requestor.Release(ctx, &guest.Snapshot{Set: s.Set, Copies: s.Copies[1:]})
	}},
	"cannot release what is gone": {release: func(ctx context.Context, t *twin, s *guest.Snapshot) error {
		for _, c := range s.Copies {
			if !slices.Contains(t.m.Disks()[c.Disk].Disk.KeptIDs(), c.ID) {
				return guest.ErrNoShadow
			}
		}
		return t.Requestor.Release(ctx, s)
	}},
	"takes a snapshot of nothing": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		s, err := t.Requestor.Snapshot(ctx, o)
		if errors.Is(err, guest.ErrNothingToDo) {
			return &guest.Snapshot{}, nil
		}
		return s, err
	}},
	"asks no writer": {snapshot: func(_ context.Context, t *twin, _ guest.SnapshotOptions) (*guest.Snapshot, error) {
		s := &guest.Snapshot{Set: t.m.Actor().NewID("set")}
		for _, v := range t.m.Volumes() {
			if a := t.m.Disks()[v.Disk]; a.Kind == guest.VirtualHardDisk {
				c := guest.Copy{Disk: v.Disk, Off: v.Off, Len: v.Len, ID: t.m.Actor().NewID("copy"), Volume: v.Name()}
				if err := errors.Join(a.Disk.Keep(c.ID), a.Disk.Seal(c.ID)); err != nil {
					return nil, err
				}
				s.Copies = append(s.Copies, c)
			}
		}
		if s.Copies == nil {
			return nil, guest.ErrNothingToDo
		}
		return s, nil
	}, release: func(_ context.Context, t *twin, s *guest.Snapshot) error {
		for _, c := range s.Copies {
			if d := t.m.Disks()[c.Disk].Disk; slices.Contains(d.KeptIDs(), c.ID) {
				if err := d.Drop(c.ID); err != nil {
					return err
				}
			}
		}
		return nil
	}},
	"always makes a full backup": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		return t.Requestor.Snapshot(ctx, guest.SnapshotOptions{Timeout: o.Timeout})
	}},
	"finishes the writers' session late": then(func(_ context.Context, t *twin, _ *guest.Snapshot) error {
		t.m.Actor().Go("late", func(ctx context.Context) error {
			_ = sim.Sleep(ctx, 10*time.Second)
			s, err := t.Requestor.Snapshot(ctx, guest.SnapshotOptions{})
			if err != nil {
				return err
			}
			return t.Requestor.Release(ctx, s)
		})
		return nil
	}),
	"tells the writers of the release": {release: func(ctx context.Context, t *twin, s *guest.Snapshot) error {
		if two, err := t.Requestor.Snapshot(ctx, guest.SnapshotOptions{}); err == nil {
			_ = t.Requestor.Release(ctx, two)
		}
		return t.Requestor.Release(ctx, s)
	}},
	"loses the writer's code": instead(func(err error) error {
		if errors.Is(err, guest.ErrWriter) {
			return guest.ErrWriter
		}
		return err
	}),
	"takes time that it was not given": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		return t.Requestor.Snapshot(ctx, guest.SnapshotOptions{Copy: o.Copy})
	}},
	"says that a time-out was an abort": instead(func(err error) error {
		if errors.Is(err, guest.ErrTimeout) {
			return guest.ErrAborted
		}
		return err
	}),
	"does not abort": {abort: func(context.Context, *twin) error { return nil }},
	"aborts without waiting": {abort: func(_ context.Context, t *twin) error {
		t.m.Actor().Go("abort", func(ctx context.Context) error { return t.Requestor.Abort(ctx) })
		return nil
	}},
	"says that an abort was a time-out": instead(func(err error) error {
		if errors.Is(err, guest.ErrAborted) {
			return guest.ErrTimeout
		}
		return err
	}),
	"fails to abort nothing": {abort: func(ctx context.Context, t *twin) error {
		if t.m.VSS() != nil && len(t.m.VSS().Leftovers()) == 0 {
			return errGeneral
		}
		return t.Requestor.Abort(ctx)
	}},
	"aborts what is done": {
		snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
			s, err := t.Requestor.Snapshot(ctx, o)
			t.last = s
			return s, err
		},
		abort: func(ctx context.Context, t *twin) error {
			if t.last != nil {
				_ = t.Requestor.Release(ctx, t.last)
			}
			return t.Requestor.Abort(ctx)
		}},
	"lets a second caller wait": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		if err := t.turn.Lock(ctx); err != nil {
			return nil, err
		}
		defer t.turn.Unlock()
		return t.Requestor.Snapshot(ctx, o)
	}},
	"gives way to a second caller": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		s, err := t.Requestor.Snapshot(ctx, o)
		if errors.Is(err, guest.ErrBusy) {
			_ = t.Requestor.Abort(ctx)
		}
		return s, err
	}},
	"leaves a copy when it fails": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		s, err := t.Requestor.Snapshot(ctx, o)
		if err != nil {
			_ = t.m.Disks()[0].Disk.Keep([16]byte{9})
		}
		return s, err
	}},
	"goes by the host's clock": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		ctx, cancel := sim.WithTimeout(ctx, guest.DefaultTimeout)
		defer cancel()
		return t.Requestor.Snapshot(ctx, o)
	}},
	"goes on when nobody waits any more": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		var s *guest.Snapshot
		err := t.m.Actor().Go("inner", func(ctx context.Context) (err error) {
			s, err = t.Requestor.Snapshot(ctx, o)
			return err
		}).Wait(ctx)
		return s, err
	}},
	"is content with a dead machine": {snapshot: func(ctx context.Context, t *twin, o guest.SnapshotOptions) (*guest.Snapshot, error) {
		s, err := t.Requestor.Snapshot(ctx, o)
		if errors.Is(err, guest.ErrEnded) {
			return &guest.Snapshot{}, nil
		}
		return s, err
	}},
}

// Every one of them is caught.
func TestTwins(t *testing.T) {
	if len(twins) < 20 {
		t.Errorf("%d twins", len(twins))
	}
	for name, mistake := range twins {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			err := guesttest.FirstBroken(func(m *guest.Machine) guest.Requestor {
				x := mistake
				x.m, x.Requestor = m, guest.DefaultRequestor(m)
				return &x
			}, guesttest.Options{})
			var broken *guesttest.Broken
			if !errors.As(err, &broken) {
				t.Fatalf("one that %s passes: %v", name, err)
			}
			t.Log(broken)
		})
	}
}
