package guest

import (
	"context"
	"fmt"
	"io"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Points at which reads and writes of a mounted volume may fail or be slow. They
// are asked for the volume: on=h1/sql01/guest/D:
const (
	PointRead  sim.Point = "disk/read"
	PointWrite sim.Point = "disk/write"
)

// A Drive is a volume that a running machine has mounted. It is a [vss.Volume]
// of the machine's own service.
//
// All access goes through a [File], which belongs to the process that opened it:
// it waits while writes are held, it suffers the faults planned for the volume,
// and the death of the process ends it.
type Drive struct {
	volume Volume
	id     [16]byte
	disk   Disk
	store  disk.Store // the volume's range of the disk
	actor  *sim.Actor
	path   string
	hold   sim.Gate
	holds  int                // counts the ends and beginnings of holds
	forgo  context.CancelFunc // ends the kernel's wait for the end of a hold
	rules  Rules              // what its operating system can snapshot
	os     OS

	shadows shadowList
	traffic Traffic
}

// Traffic is what went through a drive since the run began.
type Traffic struct {
	Reads, Writes         int64
	BytesRead, BytesWrote int64
}

func newDrive(a *sim.Actor, v Volume, id [16]byte, d Disk) *Drive {
	path := a.Path() + "/" + v.point()
	return &Drive{
		volume: v,
		id:     id,
		disk:   d,
		store:  v.Store(d),
		actor:  a,
		path:   path,
		hold:   sim.Gate{Name: "writes to " + path},
	}
}

// Volume tells where the drive lies and what it holds.
func (d *Drive) Volume() Volume { return d.volume }

// ID is the volume's GUID. It follows from the identity of the disk and the
// place on it, so it is the same in every run.
func (d *Drive) ID() [16]byte { return d.id }

// Name is the root path: `C:\`, or \\?\Volume{GUID}\ without a letter.
func (d *Drive) Name() string {
	if d.volume.Letter == 0 {
		return `\\?\Volume` + guid.Braced(d.id) + `\`
	}
	return d.volume.Name() + `\`
}

// FileSystem is the name of the file system, or "RAW".
func (d *Drive) FileSystem() string {
	switch k := d.volume.FileSystem.Kind; k {
	case NoFileSystem, UnknownFileSystem:
		return "RAW"
	default:
		return k.String()
	}
}

// Path is the name by which fault plans and traces know the drive:
// "h1/sql01/guest/D:", or "h1/sql01/guest/disk0.2" without a letter.
func (d *Drive) Path() string { return d.path }

// Traffic returns what went through the drive so far.
func (d *Drive) Traffic() Traffic { return d.traffic }

// FlushAndHold keeps every write waiting until Release, or for
// [vss.HoldTimeout]: then the kernel lets them go on by itself. There is nothing
// to flush: what a program wrote is on the disk.
func (d *Drive) FlushAndHold(context.Context) error {
	this := d.freeze()
	d.actor.Background("hold on "+d.volume.Name(), func(ctx context.Context) error {
		if d.holds != this {
			return nil
		}
		ctx, d.forgo = sim.WithCancel(ctx)
		defer d.forgo()
		if err := sim.Sleep(ctx, vss.HoldTimeout); err != nil {
			return err
		}
		d.Release()
		return nil
	})
	return nil
}

// freeze keeps writes waiting until Release, and numbers the hold.
func (d *Drive) freeze() int {
	d.hold.Shut()
	d.holds++
	return d.holds
}

// Release lets writes go on.
func (d *Drive) Release() {
	d.holds++
	d.hold.Open()
	if d.forgo != nil {
		d.forgo()
		d.forgo = nil
	}
}

// Held tells whether writes wait.
func (d *Drive) Held() bool { return d.hold.IsShut() }

// Open gives access to the drive for the process that ctx belongs to.
func (d *Drive) Open(ctx context.Context) *File { return &File{ctx: ctx, drive: d} }

// A File is a drive as one process sees it: a [disk.Store] of the volume's size.
type File struct {
	ctx   context.Context
	drive *Drive
}

// Size returns the volume's size in bytes.
func (f *File) Size() int64 { return f.drive.store.Size() }

// Drive returns the drive that was opened.
func (f *File) Drive() *Drive { return f.drive }

// ReadAt reads as io.ReaderAt demands.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	d := f.drive
	if err := sim.AtOn(f.ctx, PointRead, d.path); err != nil {
		return 0, d.fail("ReadAt", err)
	}
	n, err := d.store.ReadAt(p, off)
	d.traffic.Reads++
	d.traffic.BytesRead += int64(n)
	d.traceIO(f.ctx, "disk/read", off, n)
	if err != nil && err != io.EOF {
		err = d.fail("ReadAt", err)
	}
	return n, err
}

// WriteAt waits while writes are held and then writes all of p at one instant,
// or fails.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	d := f.drive
	if err := sim.AtOn(f.ctx, PointWrite, d.path); err != nil {
		return 0, d.fail("WriteAt", err)
	}
	if err := d.hold.Pass(f.ctx); err != nil {
		return 0, d.fail("WriteAt", err)
	}
	n, err := d.store.WriteAt(p, off)
	d.traffic.Writes++
	d.traffic.BytesWrote += int64(n)
	d.traceIO(f.ctx, "disk/write", off, n)
	d.makeRoom(int64(n))
	if err != nil {
		err = d.fail("WriteAt", err)
	}
	return n, err
}

func (d *Drive) traceIO(ctx context.Context, kind string, off int64, n int) {
	if d.actor.World().TracesIO() {
		sim.Emit(ctx, kind, "", sim.S("volume", d.volume.Name()), sim.N("off", off), sim.N("len", n))
	}
}

// point is the volume's name without blanks.
func (v Volume) point() string {
	if v.Letter == 0 {
		return fmt.Sprintf("disk%d.%d", v.Disk, v.Partition)
	}
	return v.Name()
}

func (d *Drive) fail(op string, cause error) error {
	return &Error{Op: op, On: d.path, Err: cause}
}

// String prints the path and what the drive holds.
func (d *Drive) String() string { return fmt.Sprintf("%s (%v)", d.path, d.volume.FileSystem) }
