package guesttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A bench is one machine in a world of its own, with what the kit knows of it.
// Its first disk holds the system, the second two volumes and the third one; the
// host does not see the last two.
type bench struct {
	kit     *kit
	world   *sim.World
	config  guest.Config
	machine *guest.Machine
	guest.Requestor
	witness *witness // nil in a machine without VSS
	load    *sim.Proc
}

const (
	diskSize = 16 << 20
	unseen   = 3 // the first disk that the host does not see
)

func newBench(k *kit, w *sim.World) *bench {
	b := &bench{kit: k, world: w}
	b.config = guest.Config{
		Parent: w.Actor("host").Child("vm"), Memory: 1 << 20, NewRequestor: k.newRequestor,
		Disks: guest.Disks(newDisk(), newDisk(), newDisk(), newDisk(), newDisk()),
	}
	b.config.Disks[unseen].Kind = guest.PassThrough
	b.config.Disks[unseen+1].Kind = guest.InGuestISCSI
	return b
}

func newDisk() guest.Disk { return guest.NewDisk(disk.NewMemory(diskSize)) }

// boot formats the disks and boots the machine.
func (b *bench) boot(ctx context.Context) error {
	for i, d := range b.config.Disks {
		spec := guest.DiskSpec{Scheme: guest.MBR, Signature: uint32(i + 1)}
		for range 1 + i%2 {
			spec.Partitions = append(spec.Partitions, guest.PartitionSpec{Active: i == 0, FileSystem: b.fileSystem(i), Size: 6 << 20})
		}
		if err := guest.Format(d.Disk, spec); err != nil {
			return during("formatting a disk", err)
		}
	}
	first := b.config.Disks[0].Disk
	layout, err := guest.ReadLayout(first, first.Size())
	if err != nil {
		return err
	}
	system := &guest.System{OS: b.kit.system(), ComputerName: "KIT", Services: guest.IntegrationServices(b.kit.system(), "6.1.7600.16385")}
	if err := guest.WriteSystem(guest.Volumes(layout)[0].Store(first), system); err != nil {
		return during("installing the system", err)
	}
	return b.start(ctx)
}

func (b *bench) fileSystem(serial int) guest.FileSystem {
	if b.kit.system().IsLinux() {
		return guest.FileSystem{Kind: guest.Ext4, UUID: [16]byte{byte(serial + 1)}}
	}
	return guest.FileSystem{Kind: guest.NTFS, Serial: uint64(serial + 1)}
}

// start boots the machine from its disks.
func (b *bench) start(ctx context.Context) (err error) {
	if b.machine, err = guest.Boot(ctx, b.config); err != nil {
		return during("Boot", err)
	}
	if b.Requestor, err = b.machine.Requestor(); err != nil {
		return during("the machine's Requestor", err)
	}
	b.witness = nil
	if s := b.machine.VSS(); s != nil {
		if b.witness, err = watch(b.machine); err != nil {
			return err
		}
	}
	return b.startLoad()
}

// The load writes a count to one volume and then to another, four times a second.
const (
	loadPeriod = 250 * time.Millisecond
	loadAt     = 3 << 20
)

// pair is the two volumes that the load writes to, on different disks.
func (b *bench) pair() (first, second *guest.Drive) {
	seen := b.seen()
	return seen[1], seen[len(seen)-1]
}

// seen lists the volumes on disks that the host sees.
func (b *bench) seen() (list []*guest.Drive) {
	for i, v := range b.machine.Volumes() {
		if v.Disk < unseen && !v.Exempt {
			list = append(list, b.machine.Drives()[i])
		}
	}
	return list
}

func (b *bench) startLoad() error {
	if len(b.seen()) < 3 {
		return nil
	}
	first, second := b.pair()
	b.load = b.machine.Actor().Go("load", func(ctx context.Context) error {
		for n := uint64(1); ; n++ {
			for _, d := range []*guest.Drive{first, second} {
				_, err := d.Open(ctx).WriteAt(binary.LittleEndian.AppendUint64(nil, n), loadAt)
				if errors.Is(err, sim.ErrDead) {
					return err
				}
			}
			if err := sim.Sleep(ctx, loadPeriod); err != nil {
				return err
			}
		}
	})
	return nil
}

// count reads the load's count from an image of a volume.
func count(s disk.Source) (uint64, error) {
	var b [8]byte
	_, err := s.ReadAt(b[:], loadAt)
	return binary.LittleEndian.Uint64(b[:]), err
}

// live is the volume as it is now, beneath the machine.
func (b *bench) live(d *guest.Drive) disk.Store {
	for i, v := range b.machine.Volumes() {
		if b.machine.Drives()[i] == d {
			return v.Store(b.config.Disks[v.Disk].Disk)
		}
	}
	return nil
}

// image is the copy of a volume in a snapshot.
func (b *bench) image(s *guest.Snapshot, d *guest.Drive) (disk.Store, error) {
	for i, v := range b.machine.Volumes() {
		if b.machine.Drives()[i] != d {
			continue
		}
		for _, c := range s.Copies {
			if c.Disk == v.Disk && c.Off == v.Off {
				kept, err := b.config.Disks[c.Disk].Disk.Kept(c.ID)
				if err != nil {
					return nil, fmt.Errorf("disk %d does not keep %x, the copy of %s: %w", c.Disk, c.ID, c.Volume, err)
				}
				return disk.Section(kept, c.Off, c.Len), nil
			}
		}
		return nil, fmt.Errorf("there is no copy of %s", v.Name())
	}
	return nil, errors.New("no such volume")
}

// snapshot takes one that has to succeed.
func (b *bench) snapshot(ctx context.Context) (*guest.Snapshot, error) {
	s, err := b.Snapshot(ctx, guest.SnapshotOptions{})
	if err == nil && s == nil {
		err = errors.New("neither a snapshot nor an error")
	}
	return s, during("Snapshot", err)
}

// clean checks that nothing of any backup is left in the machine: no copy, no
// volume that is held, no session of its service.
func (b *bench) clean(after string) error {
	for i, d := range b.config.Disks {
		if ids := d.Disk.KeptIDs(); len(ids) > 0 {
			return fmt.Errorf("after %s disk %d keeps %x", after, i, ids)
		}
	}
	if b.machine.Ended() {
		return nil
	}
	for _, d := range b.machine.Drives() {
		if d.Held() {
			return fmt.Errorf("after %s writes to %s are held", after, d.Path())
		}
	}
	if s := b.machine.VSS(); s != nil {
		for _, what := range s.Leftovers() {
			return fmt.Errorf("after %s there is left: %s", after, what)
		}
	}
	if b.witness != nil && b.witness.frozen && !b.witness.actor.Dead() {
		return fmt.Errorf("after %s a writer is frozen", after)
	}
	return nil
}

// goesOn checks that the machine works as before: its load moves, and a further
// snapshot succeeds.
func (b *bench) goesOn(ctx context.Context, after string) error {
	first, _ := b.pair()
	before, err := count(b.live(first))
	if err == nil {
		err = sim.Sleep(ctx, 4*loadPeriod)
	}
	if err != nil {
		return err
	}
	if now, err := count(b.live(first)); err != nil || now == before {
		return fmt.Errorf("after %s nothing is written any more (%v)", after, err)
	}
	s, err := b.snapshot(ctx)
	if err != nil {
		return fmt.Errorf("after %s: the next %w", after, err)
	}
	if err := b.Release(ctx, s); err != nil {
		return fmt.Errorf("after %s: Release of the next: %w", after, err)
	}
	return b.clean(after + " and one more backup")
}

// settled is clean and goesOn.
func (b *bench) settled(ctx context.Context, after string) error {
	if err := b.clean(after); err != nil {
		return err
	}
	return b.goesOn(ctx, after)
}
