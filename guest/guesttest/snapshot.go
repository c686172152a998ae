package guesttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// snapshotCases are about what a snapshot holds, and how it goes away.
var snapshotCases = []requestorCase{
	{"a Snapshot copies every volume on a disk that the host sees, once, and no other", coversVolumes},
	{"a copy says where its volume lies, and its disk keeps it under its ID", describesCopies},
	{"the copies are of one instant between call and return", oneInstant},
	{"a copy does not change any more", copyStays},
	{"Snapshot leaves no volume held and nothing unfinished", nothingHeld},
	{"Release deletes the copies of its snapshot and no others", releasesOwn},
	{"Release of copies that are gone is no error", releasesTwice},
	{"one Snapshot can follow another", oneAfterAnother},
	{"a machine without a volume that the host sees is ErrNothingToDo", nothingToDo},
}

func coversVolumes(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		for _, d := range b.seen() {
			if _, err := b.image(s, d); err != nil {
				return err
			}
		}
		if len(s.Copies) != len(b.seen()) {
			return fmt.Errorf("a Snapshot returned %d copies of %d volumes", len(s.Copies), len(b.seen()))
		}
		for i, d := range b.config.Disks[unseen:] {
			if len(d.Disk.KeptIDs()) > 0 {
				return fmt.Errorf("a Snapshot kept disk %d, which is %v", unseen+i, d.Kind)
			}
		}
		return nil
	})
}

func describesCopies(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		ids := make(map[[16]byte]bool)
		if s.Set == [16]byte{} {
			return errors.New("the set has no ID")
		}
		for _, c := range s.Copies {
			if c.ID == [16]byte{} || ids[c.ID] {
				return fmt.Errorf("the ID %x of the copy of %s is no name for it alone", c.ID, c.Volume)
			}
			ids[c.ID] = true
			if err := b.describes(c); err != nil {
				return err
			}
		}
		return nil
	})
}

// describes checks one copy against the volume it is named after.
func (b *bench) describes(c guest.Copy) error {
	for _, v := range b.machine.Volumes() {
		if v.Name() != c.Volume {
			continue
		}
		if v.Disk != c.Disk || v.Off != c.Off || v.Len != c.Len {
			return fmt.Errorf("%s is %d bytes at %d of disk %d, but its copy is said to be %d bytes at %d of disk %d",
				c.Volume, v.Len, v.Off, v.Disk, c.Len, c.Off, c.Disk)
		}
		_, err := b.config.Disks[c.Disk].Disk.Kept(c.ID)
		return during("looking for the copy of "+c.Volume+" on its disk", err)
	}
	return fmt.Errorf("there is no volume %q", c.Volume)
}

func oneInstant(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		if err := sim.Sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		first, second := b.pair()
		before, err := count(b.live(first))
		if err != nil {
			return err
		}
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		after, err := count(b.live(first))
		if err == nil {
			err = sim.Sleep(ctx, 4*loadPeriod)
		}
		if err != nil {
			return err
		}
		return b.sameInstant(s, first, second, before, after)
	})
}

// sameInstant checks the load's counts in the copies of the two volumes it writes.
func (b *bench) sameInstant(s *guest.Snapshot, first, second *guest.Drive, before, after uint64) error {
	var n [2]uint64
	for i, d := range []*guest.Drive{first, second} {
		image, err := b.image(s, d)
		if err == nil {
			n[i], err = count(image)
		}
		if err != nil {
			return err
		}
	}
	if n[0] < before || n[0] > after {
		return fmt.Errorf("the copy of %s holds write %d; %d was the last before the call and %d the last before its return", first.Path(), n[0], before, after)
	}
	if n[0] != n[1] && n[0] != n[1]+1 {
		return fmt.Errorf("a program writes to %s and then to %s, but the copies hold its writes %d and %d", first.Path(), second.Path(), n[0], n[1])
	}
	return nil
}

func copyStays(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		var digests [][32]byte
		for range 2 {
			for _, d := range b.seen() {
				image, err := b.image(s, d)
				if err != nil {
					return err
				}
				digest, err := disk.Digest(image)
				if err != nil {
					return err
				}
				digests = append(digests, digest)
			}
			if err := sim.Sleep(ctx, time.Minute); err != nil {
				return err
			}
		}
		for i, d := range b.seen() {
			if digests[i] != digests[i+len(digests)/2] {
				return fmt.Errorf("the copy of %s changed while the machine went on writing", d.Path())
			}
		}
		for _, c := range s.Copies {
			if kept, err := b.config.Disks[c.Disk].Disk.Kept(c.ID); err == nil {
				if _, err := kept.WriteAt([]byte{1}, c.Off+loadAt); err == nil {
					return fmt.Errorf("the copy of %s can be written", c.Volume)
				}
			}
		}
		return nil
	})
}

func nothingHeld(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		for _, d := range b.machine.Drives() {
			if d.Held() {
				return fmt.Errorf("after Snapshot writes to %s are held", d.Path())
			}
		}
		if err := b.Release(ctx, s); err != nil {
			return during("Release", err)
		}
		return b.settled(ctx, "Snapshot and Release")
	})
}

func releasesOwn(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		one, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		two, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		if err := b.Release(ctx, one); err != nil {
			return during("Release of the first of two", err)
		}
		for _, d := range b.seen() {
			if _, err := b.image(one, d); err == nil {
				return fmt.Errorf("a Release left the copy of %s", d.Path())
			}
			if _, err := b.image(two, d); err != nil {
				return fmt.Errorf("a Release of one snapshot took a copy of another: %w", err)
			}
		}
		if err := b.Release(ctx, two); err != nil {
			return during("Release of the second of two", err)
		}
		return b.clean("Release")
	})
}

func releasesTwice(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		for i, c := range s.Copies {
			if i > 0 {
				break // the others are still there
			}
			if err := b.config.Disks[c.Disk].Disk.Drop(c.ID); err != nil {
				return during("taking a copy away", err)
			}
		}
		for _, call := range []string{"Release when one copy is gone", "Release a second time"} {
			if err := b.Release(ctx, s); err != nil {
				return during(call, err)
			}
			if err := b.clean(call); err != nil {
				return err
			}
		}
		return nil
	})
}

func oneAfterAnother(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		seen := make(map[[16]byte]bool)
		for range 3 {
			s, err := b.snapshot(ctx)
			if err != nil {
				return err
			}
			for _, c := range s.Copies {
				if seen[c.ID] {
					return fmt.Errorf("two snapshots have a copy %x", c.ID)
				}
				seen[c.ID] = true
			}
			if err := during("Release", b.Release(ctx, s)); err != nil {
				return err
			}
		}
		return b.settled(ctx, "three backups")
	})
}

func nothingToDo(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		b.machine.PowerOff()
		for i := range b.config.Disks {
			b.config.Disks[i].Kind = guest.PassThrough
		}
		if err := b.start(ctx); err != nil {
			return err
		}
		_, err := b.Snapshot(ctx, guest.SnapshotOptions{})
		if err := wants("Snapshot", err, guest.ErrNothingToDo); err != nil {
			return err
		}
		return b.clean("Snapshot")
	})
}
