package guest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// quiet is a machine without programs.
func quiet(t testing.TB, opts ...sim.Option) (*rig, *guest.Machine) {
	b := newEmptyRig(t, opts...)
	b.size = 3 << 20
	b.addDisk(1, guest.NTFS)
	b.addDisk(2, guest.NTFS)
	b.install(&guest.System{OS: guest.WindowsServer2008, ComputerName: "QUIET",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")})
	return b, b.boot()
}

func drive(t testing.TB, m *guest.Machine, name string) *guest.Drive {
	t.Helper()
	d, err := m.Drive(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// as runs fn in a process of the machine.
func (b *rig) as(m *guest.Machine, fn func(ctx context.Context) error) error {
	return m.Actor().Call(b.t.Context(), "test", fn)
}

func TestDriveNames(t *testing.T) {
	_, m := quiet(t)
	for _, name := range []string{"D:", `D:\`, "d:"} {
		if d := drive(t, m, name); d.Name() != `D:\` || d.FileSystem() != "NTFS" || d.Path() != "h1/sql01/guest/D:" {
			t.Errorf("%s is %v: %s %s", name, d, d.Name(), d.FileSystem())
		}
	}
	_, err := m.Drive("Q:")
	wantReason(t, err, guest.ErrNoVolume)
	if c, d := drive(t, m, "C:"), drive(t, m, "D:"); c.ID() == d.ID() {
		t.Errorf("two volumes are %x", c.ID())
	}
}

func TestWritesWaitForTheHold(t *testing.T) {
	b, m := quiet(t)
	d := drive(t, m, "D:")
	var wrote, released time.Duration
	err := b.as(m, func(ctx context.Context) error {
		if err := d.FlushAndHold(ctx); err != nil {
			return err
		}
		w := sim.Go(ctx, "writer", func(ctx context.Context) error {
			_, err := d.Open(ctx).WriteAt([]byte("held"), guest.DataOffset)
			wrote = sim.Now(ctx)
			return err
		})
		if err := sim.Sleep(ctx, 3*time.Second); err != nil {
			return err
		}
		p := make([]byte, 4)
		if _, err := d.Open(ctx).ReadAt(p, guest.DataOffset); err != nil || string(p) == "held" {
			t.Errorf("during the hold: %q, %v", p, err)
		}
		released = sim.Now(ctx)
		d.Release()
		return w.Wait(ctx)
	})
	if err != nil || wrote != released {
		t.Errorf("released at %v, written at %v: %v", released, wrote, err)
	}
}

// A service that dies with writes held does not stop the machine for good.
func TestTheKernelEndsAHold(t *testing.T) {
	b, m := quiet(t)
	d := drive(t, m, "D:")
	b.must(b.as(m, d.FlushAndHold))
	start := b.world.Now()
	b.must(m.WriteAt(t.Context(), "D:", guest.DataOffset, []byte("x")))
	if held := b.world.Now() - start; held != vss.HoldTimeout {
		t.Errorf("held for %v, want %v", held, vss.HoldTimeout)
	}

	// The timer of a hold that was released does not end the next one.
	b.must(b.as(m, d.FlushAndHold))
	b.advance(6 * time.Second)
	d.Release()
	b.must(b.as(m, d.FlushAndHold))
	b.advance(6 * time.Second)
	if !d.Held() {
		t.Error("the first hold's timer ended the second hold")
	}
	d.Release()

	// Not even if the first one was so short that its timer never began.
	b.must(b.as(m, func(ctx context.Context) error {
		if err := d.FlushAndHold(ctx); err != nil {
			return err
		}
		d.Release()
		if err := sim.Sleep(ctx, 6*time.Second); err != nil {
			return err
		}
		return d.FlushAndHold(ctx)
	}))
	b.advance(6 * time.Second)
	if !d.Held() {
		t.Error("a hold that was over at once ended the next one")
	}
}

func TestDriveFaults(t *testing.T) {
	b, m := quiet(t, sim.Plan(
		"disk/write on=h1/sql01/guest/D: nth=2 err=0x80070070",
		"disk/read on=h1/sql01/guest/D: nth=2 delay=5s",
	))
	b.must(m.WriteAt(t.Context(), "D:", 300<<10, []byte("one")))
	var fault *sim.FaultError
	if err := m.WriteAt(t.Context(), "D:", 300<<10, []byte("two")); !errors.As(err, &fault) || fault.HRESULT() != 0x80070070 {
		t.Errorf("second write: %v", err)
	}
	p := make([]byte, 3)
	b.must(m.ReadAt(t.Context(), "D:", 300<<10, p))
	start := b.world.Now()
	b.must(m.ReadAt(t.Context(), "D:", 300<<10, p))
	if string(p) != "one" || b.world.Now()-start != 5*time.Second {
		t.Errorf("second read: %q after %v", p, b.world.Now()-start)
	}
	if left := b.world.Unreached(); len(left) > 0 {
		t.Errorf("not reached: %v", left)
	}
	if got := drive(t, m, "D:").Traffic(); got.Writes != 1 || got.BytesWrote != 3 || got.Reads != 2 || got.BytesRead != 6 {
		t.Errorf("traffic %+v", got)
	}
}

func TestAccessOutsideOfTheVolume(t *testing.T) {
	_, m := quiet(t)
	size := drive(t, m, "D:").Volume().Len
	if err := m.WriteAt(t.Context(), "D:", size-1, []byte("xy")); !errors.Is(err, disk.ErrRange) {
		t.Errorf("write over the end: %v", err)
	}
	if err := m.ReadAt(t.Context(), "D:", size-1, make([]byte, 2)); !errors.Is(err, io.EOF) {
		t.Errorf("read over the end: %v", err)
	}
}

func TestTraceIO(t *testing.T) {
	for _, traced := range []bool{false, true} {
		var opts []sim.Option
		if traced {
			opts = append(opts, sim.TraceIO())
		}
		b, m := quiet(t, opts...)
		b.must(m.WriteAt(t.Context(), "D:", 300<<10, []byte("one")))
		if got := len(b.world.Trace().Select("disk/write")); got > 0 != traced {
			t.Errorf("traced %v: %d writes in the trace", traced, got)
		}
	}
}

// shadow makes a shadow copy of D: by hand.
func shadow(b *rig, d *guest.Drive, id byte) [16]byte {
	b.t.Helper()
	g := [16]byte{id}
	b.must(d.CreateShadow(b.t.Context(), g))
	return g
}

func TestShadowIsAFileSystemOfOneFile(t *testing.T) {
	b, m := quiet(t)
	d := drive(t, m, "D:")
	b.must(m.WriteAt(t.Context(), "D:", guest.DataOffset, []byte("before")))
	id := shadow(b, d, 1)
	b.must(m.WriteAt(t.Context(), "D:", guest.DataOffset, []byte("after!")))

	fsys, err := d.OpenShadow(id)
	b.must(err)
	if err := fstest.TestFS(fsys, guest.ShadowFileName); err != nil {
		t.Error(err)
	}
	f, err := fsys.Open(guest.ShadowFileName)
	b.must(err)
	defer func() { _ = f.Close() }()
	at := f.(interface {
		io.ReaderAt
		io.WriterAt
	})
	p := make([]byte, 6)
	if _, err := at.ReadAt(p, guest.DataOffset); err != nil || string(p) != "before" {
		t.Errorf("in the copy: %q, %v", p, err)
	}
	if _, err := at.WriteAt([]byte("BEFORE"), guest.DataOffset); err != nil {
		t.Errorf("write before the seal: %v", err)
	}
	b.must(d.SealShadow(t.Context(), id))
	fsys, err = d.OpenShadow(id)
	b.must(err)
	all, err := fs.ReadFile(fsys, guest.ShadowFileName)
	b.must(err)
	if int64(len(all)) != d.Volume().Len || !bytes.HasPrefix(all[guest.DataOffset:], []byte("BEFORE")) {
		t.Errorf("%d bytes, %q", len(all), all[guest.DataOffset:][:6])
	}
	f, err = fsys.Open(guest.ShadowFileName)
	b.must(err)
	if _, err := f.(io.WriterAt).WriteAt([]byte("x"), 0); !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("write behind the seal: %v", err)
	}
	b.must(d.DeleteShadow(t.Context(), id))
	_, err = d.OpenShadow(id)
	wantReason(t, err, guest.ErrNoShadow)
	wantReason(t, d.SealShadow(t.Context(), id), guest.ErrNoShadow)
	wantReason(t, d.DeleteShadow(t.Context(), id), guest.ErrNoShadow)
}

// Volumes of one disk keep it under ids of their own.
func TestShadowsOfTwoVolumesOnOneDisk(t *testing.T) {
	b := newEmptyRig(t)
	d := guest.NewDisk(disk.NewMemory(32 << 20))
	ntfs := guest.FileSystem{Kind: guest.NTFS, Serial: 1}
	b.must(guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: 1, Partitions: []guest.PartitionSpec{
		{Size: 16 << 20, Active: true, FileSystem: ntfs}, {FileSystem: ntfs},
	}}))
	b.Disks = guest.Disks(d)
	b.install(&guest.System{OS: guest.WindowsServer2008, ComputerName: "TWO",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")})
	m := b.boot()
	s := b.snapshot(m)
	if len(s.Copies) != 2 || s.Copies[0].ID == s.Copies[1].ID || len(d.KeptIDs()) != 2 {
		t.Fatalf("copies %+v, kept %x", s.Copies, d.KeptIDs())
	}
	for i, c := range s.Copies {
		v := m.Volumes()[i]
		if c.Disk != 0 || c.Off != v.Off || c.Len != v.Len || c.Volume != v.Name() {
			t.Errorf("copy %+v of %v", c, v)
		}
		if got := m.Drives()[i].Shadows(); len(got) != 1 || got[0] != c.ID {
			t.Errorf("%v has %x, want %x", v, got, c.ID)
		}
	}
}

func TestDiffArea(t *testing.T) {
	b, m := quiet(t)
	d := drive(t, m, "D:")
	page := bytes.Repeat([]byte{1}, 64<<10)
	write := func(i int) {
		t.Helper()
		b.must(m.WriteAt(t.Context(), "D:", guest.DataOffset+int64(i)*int64(len(page)), page))
	}
	usage := func(want int64) {
		t.Helper()
		if used, _ := d.DiffArea(); used != want {
			t.Errorf("diff area holds %d bytes, want %d", used, want)
		}
	}
	write(0)
	usage(0)
	first := shadow(b, d, 1)
	usage(0)
	write(1)
	usage(64 << 10)
	write(1)
	usage(64 << 10)
	second := shadow(b, d, 2)
	write(1)
	usage(128 << 10)

	d.SetDiffArea(200 << 10)
	if n := len(d.Shadows()); n != 2 {
		t.Fatalf("%d copies are left", n)
	}
	write(2)
	if got := d.Shadows(); len(got) != 2 {
		t.Fatalf("with %d bytes of room used: %x", 192<<10, got)
	}
	write(3)
	if got := d.Shadows(); len(got) != 1 || got[0] != second {
		t.Errorf("left: %x, want the second alone", got)
	}
	if ids := b.Disks[1].Disk.KeptIDs(); len(ids) != 1 || ids[0] == first {
		t.Errorf("the disk keeps %x", ids)
	}
	if lost := b.world.Trace().Select("guest/shadow-lost"); len(lost) != 1 || lost[0].Get("volume") != "D:" {
		t.Errorf("lost: %v", lost)
	}
	d.SetDiffArea(100 << 10)
	if got := d.Shadows(); len(got) != 0 {
		t.Errorf("%x is left where there is no room", got)
	}

	// A copy that is deleted does not make the others' share forgotten.
	d.SetDiffArea(0)
	third, fourth := shadow(b, d, 3), shadow(b, d, 4)
	d.SetDiffArea(130 << 10)
	write(1)
	write(2)
	b.must(d.DeleteShadow(t.Context(), third))
	write(3)
	if got := d.Shadows(); len(got) != 0 {
		t.Errorf("%x is left, of %x", got, fourth)
	}
	d.SetDiffArea(64 << 10)
	shadow(b, d, 5)
	write(1)
	if err := d.CreateShadow(t.Context(), [16]byte{6}); vss.HRESULTOf(err) != vss.ErrInsufficientStorage {
		t.Errorf("no room: %v", err)
	}
	d.SetDiffArea(0)
	if err := d.CreateShadow(t.Context(), [16]byte{6}); err != nil {
		t.Errorf("without a limit: %v", err)
	}
}

// What somebody removed from the disk is gone for the drive and the service too.
func TestShadowsThatTheDiskLost(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	s := b.snapshot(m)
	for _, c := range s.Copies {
		b.must(b.Disks[c.Disk].Disk.Drop(c.ID))
	}
	for _, d := range m.Drives() {
		if ids := d.Shadows(); len(ids) > 0 {
			t.Errorf("%v has %x", d, ids)
		}
	}
	b.must(b.requestor(m).Release(t.Context(), s))
	if n := len(m.VSS().Snapshots()); n > 0 {
		t.Errorf("the service lists %d copies", n)
	}
	b.snapshot(m)
}

func TestTooManyShadows(t *testing.T) {
	b, m := quiet(t)
	d := drive(t, m, "D:")
	for i := range guest.MaxShadows {
		b.must(d.CreateShadow(t.Context(), [16]byte{1, byte(i), byte(i >> 8)}))
	}
	if err := d.CreateShadow(t.Context(), [16]byte{2}); vss.HRESULTOf(err) != vss.ErrMaximumNumberOfSnapshotsReached {
		t.Errorf("one more: %v", err)
	}
}

func TestOnlyCapableFileSystemsHaveShadows(t *testing.T) {
	for _, tt := range []struct {
		os   guest.OS
		kind guest.FileSystemKind
		can  bool
	}{
		{guest.WindowsServer2008, guest.NTFS, true},
		{guest.WindowsServer2008, guest.FAT32, false},
		{guest.WindowsServer2008, guest.ReFS, false},
		{guest.WindowsServer2012, guest.ReFS, true},
		{guest.WindowsServer2012, guest.ExFAT, false},
	} {
		b := newEmptyRig(t)
		b.addDisk(1, guest.NTFS)
		d := guest.NewDisk(disk.NewMemory(64 << 20))
		b.must(guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: 2,
			Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: tt.kind, Serial: 2}}}}))
		b.Disks = append(b.Disks, guest.Attachment{Disk: d})
		b.install(&guest.System{OS: tt.os, ComputerName: "FS"})
		err := drive(t, b.boot(), "D:").CreateShadow(t.Context(), [16]byte{1})
		if tt.can != (err == nil) || err != nil && !errors.Is(err, vss.ErrVolumeNotSupported) {
			t.Errorf("%v on %v: %v", tt.kind, tt.os, err)
		}
	}
}
