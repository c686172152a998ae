package hyperv_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The worked example: block X of a guest's volume holds a before the backup, b
// from the guest's thaw on, c from the host's shadow copy on. Block Y holds y, and
// the guest's writer makes it y' in its own shadow copy alone.
const (
	blockX = 2 * mib
	blockY = 3 * mib
	primed = 'Y' // y'
)

// A recoverer is a program whose writer brings its data in order in the shadow
// copy, as automatic recovery does.
type recoverer struct{}

func newRecoverer(guest.Program) (guest.Application, error) { return recoverer{}, nil }

func (recoverer) Step(context.Context, *guest.Env) (time.Duration, error) { return time.Hour, nil }
func (recoverer) WriterConfig() vss.WriterConfig {
	return vss.WriterConfig{ClassID: [16]byte{0xEC}, Name: "Recoverer"}
}
func (recoverer) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	return ev.Metadata.AddComponent(vss.ComponentInfo{ComponentKey: vss.ComponentKey{Name: "data"}, Type: vss.ComponentDatabase,
		Flags: vss.FlagBackupRecovery, DatabaseFiles: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `C:\`, Spec: guest.ShadowFileName}}}})
}
func (recoverer) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }
func (recoverer) Freeze(context.Context, *vss.FreezeEvent) error                   { return nil }
func (recoverer) Thaw(context.Context, *vss.ThawEvent) error                       { return nil }
func (recoverer) Abort(context.Context, *vss.AbortEvent) error                     { return nil }
func (recoverer) PostSnapshot(_ context.Context, ev *vss.PostSnapshotEvent) error {
	device, err := ev.SnapshotDeviceName(`C:\`)
	if err != nil {
		return err
	}
	fsys, err := ev.Service().Open(device)
	if err != nil {
		return err
	}
	f, err := fsys.Open(guest.ShadowFileName)
	if err != nil {
		return err
	}
	_, err = f.(io.WriterAt).WriteAt([]byte{primed}, blockY)
	return errors.Join(err, f.Close())
}

// xy are the blocks on the first volume of a disk.
func xy(t testing.TB, d disk.Store) string {
	t.Helper()
	v := volumeIn(t, d, 0)
	return fmt.Sprintf("X=%c Y=%c", byteAt(t, v, blockX), byteAt(t, v, blockY))
}

// An example is a run of the worked example, and what was seen on the way.
type example struct {
	*lab
	vm    *hyperv.VM
	fresh string // the host's shadow copy just made
	kept  string // what the guest's shadow copy in there holds
}

const exampleVHD = `D:\VMs\vm\system.vhd`

// pauseBeforeRollback gives another writer of the host the time to look at the
// shadow copy before the machine's VHD in it is mounted.
var pauseBeforeRollback = sim.Plan("hyperv/mount delay=1s")

// newExample makes a machine with X=a and Y=y, in the given state.
func newExample(t *testing.T, state hyperv.State, mods ...mod) *example {
	catalog := guest.Catalog{ledger.Name: ledger.New, "recoverer": newRecoverer}
	l := newLabOf(t, hyperv.HostConfig{Catalog: catalog}, pauseBeforeRollback).noting()
	e := &example{lab: l, vm: l.machine("vm", append(mods, program("recoverer"))...)}
	l.must(e.vm.Start(l.ctx()))
	l.write(e.vm, "C:", blockX, 'a')
	l.write(e.vm, "C:", blockY, 'y')
	switch state {
	case hyperv.StateSaved:
		l.must(e.vm.Save(l.ctx()))
	case hyperv.StateOff:
		l.must(e.vm.TurnOff(l.ctx()))
	}
	l.after = func(string, *guest.Snapshot) { l.writeNow(e.vm, "C:", blockX, 'b') }
	l.addWriter(e.look)
	return e
}

// look is the first thing that happens after the host's shadow copy was made. A
// guest that runs writes c then.
func (e *example) look() {
	v := e.h.Volume("D")
	s, err := v.ShadowVolume(v.Shadows()[0])
	e.must(err)
	_, rest, err := volume.Split(exampleVHD)
	e.must(err)
	f, err := s.Open(rest)
	e.must(err)
	e.fresh = xy(e.t, e.open(f))
	names, err := s.Streams(rest)
	e.must(err)
	for _, name := range names {
		k, err := s.OpenStream(rest, name)
		e.must(err)
		e.kept = xy(e.t, e.open(k))
	}
	if e.vm.Guest() != nil {
		e.writeNow(e.vm, "C:", blockX, 'c')
	}
}

func (e *example) open(f *volume.File) *vhd.Image {
	e.t.Helper()
	image, err := vhd.Open(f, f.Size())
	e.must(err)
	return image
}

// live is what the machine's disk holds now.
func (e *example) live() string {
	e.t.Helper()
	f, err := e.h.Volume("D").Open(exampleVHD[2:])
	e.must(err)
	return xy(e.t, e.open(f))
}

func TestWorkedExampleOfBytes(t *testing.T) {
	for _, row := range []struct {
		method string
		state  hyperv.State
		mods   []mod
		live   string // at the end
		fresh  string // the host's shadow copy right after the commit
		kept   string // the guest's own in it
		backup string
	}{
		{"child VM snapshot", hyperv.StateRunning, nil, "X=c Y=y", "X=b Y=y", "X=a Y=Y", "X=a Y=Y"},
		{"saved state", hyperv.StateRunning, []mod{stopped}, "X=c Y=y", "X=a Y=y", "", "X=a Y=y"},
		{"offline", hyperv.StateSaved, nil, "X=a Y=y", "X=a Y=y", "", "X=a Y=y"},
		{"offline", hyperv.StateOff, nil, "X=a Y=y", "X=a Y=y", "", "X=a Y=y"},
	} {
		t.Run(row.method+"/"+row.state.String(), func(t *testing.T) {
			e := newExample(t, row.state, row.mods...)
			target := e.mustBackup()
			if row.method == "saved state" { // it runs again only when the writer is done
				e.write(e.vm, "C:", blockX, 'c')
			}
			got := []string{e.live(), e.fresh, e.kept, xy(t, e.diskIn(target, exampleVHD))}
			if want := []string{row.live, row.fresh, row.kept, row.backup}; !slices.Equal(got, want) {
				t.Errorf("live, shadow copy, guest's copy in it, backup:\n got %q\nwant %q", got, want)
			}
			if got := e.event("hyperv/decide").Get("method"); got != row.method {
				t.Errorf("the method was %s", got)
			}
			wantMemory := row.method == "saved state" || row.state == hyperv.StateSaved
			if wantMemory && !slices.Equal(e.bytesIn(target, e.vm.MemoryPath()), e.memory()) {
				t.Error("the memory is not that of the save")
			}
			e.settled()

			e.remove(e.vm) // and what was backed up is what comes back
			e.mustRestore(target)
			if got := e.live(); got != row.backup {
				t.Errorf("restored: %s", got)
			}
		})
	}
}

// memory is the memory at the end of the save.
func (e *example) memory() []byte {
	if m := e.spy.saved[e.vm.MemoryPath()]; m != nil {
		return m
	}
	return e.bytes(e.vm.MemoryPath()) // saved by the administrator
}

// The bug to detect: a copy of the VHD as the host's shadow copy has it, without
// the rollback. It is of another instant, and no guest writer had brought its data
// to rest then.
func TestNaiveCopyIsOnlyCrashConsistent(t *testing.T) {
	l := newLab(t, pauseBeforeRollback).noting()
	vm := l.running("db", withLedger("rest=10ms"))
	l.advance(10 * time.Second)
	var naive ledger.Consistency
	var report ledger.Report
	l.addWriter(func() {
		v := l.h.Volume("D")
		s, err := v.ShadowVolume(v.Shadows()[0])
		l.must(err)
		f, err := s.Open(`\VMs\db\system.vhd`)
		l.must(err)
		image, err := vhd.Open(f, f.Size())
		l.must(err)
		c := volumeIn(t, image, 0)
		naive, report = ledger.Check(c, c)
	})
	target := l.mustBackup()
	c := volumeIn(t, l.diskIn(target, `D:\VMs\db\system.vhd`), 0)
	good, rolled := ledger.Check(c, c)
	if naive != ledger.Crash || good != ledger.Application {
		t.Errorf("without the rollback %v, with it %v", naive, good)
	}
	if report.Last <= rolled.Last || report.Recovered || !rolled.Recovered {
		t.Errorf("without: %v\nwith: %v", report, rolled)
	}
	if !slices.Equal(read(t, c), l.spy.shadows["db"]["C:"]) {
		t.Error("the backup is not the guest's own copy")
	}
	live := volumeIn(t, vm.Guest().Disks()[0].Disk, 0)
	if _, now := ledger.Check(live, live); now.Last < report.Last {
		t.Errorf("the guest went back: %v", now)
	}
}

// While a machine is saved nothing can be written, and when it is back its memory
// and its disks belong together.
func TestSavedStateIsOfOneInstant(t *testing.T) {
	l := newLab(t).noting()
	web := l.running("web", stopped, withLedger("rest=10ms", "data=C:"))
	l.advance(10 * time.Second)
	target := l.mustBackup()
	l.advance(10 * time.Second)
	l.remove(web)
	l.mustRestore(target)
	back := l.h.VM("web")
	if !slices.Equal(l.bytes(back.MemoryPath()), l.spy.saved[back.MemoryPath()]) {
		t.Fatal("the memory is another")
	}
	l.must(back.Start(l.ctx()))
	l.advance(10 * time.Second)
	l.must(back.Guest().Shutdown(l.ctx()))
	l.advance(time.Second)
	f, err := l.h.Volume("D").Open(`\VMs\web\system.vhd`)
	l.must(err)
	image, err := vhd.Open(f, f.Size())
	l.must(err)
	c := volumeIn(t, image, 0)
	if got, report := ledger.Check(c, c); got != ledger.Application {
		t.Errorf("%v: %v", got, report)
	}
	if back.State() != hyperv.StateOff {
		t.Errorf("web is %v", back.State())
	}
}

// The steps of a rollback, each of which may fail: nothing stays mounted, the other
// machines are rolled back, and the failure names machine and file.
func TestStepsOfARollback(t *testing.T) {
	two := func(l *lab) {
		l.running("first")
		l.running("db", also("data.vhd", guest.NTFS), also("log.vhd", guest.NTFS, guest.NTFS))
		l.running("last")
	}
	for _, f := range []struct {
		name   string
		plan   string
		says   string
		rolled int // volumes that were rolled back
		event  int
	}{
		{"mount the first", "hyperv/mount on=h1/db err=0x80070002", "system.vhd", 2, hyperv.EventMountFailed},
		{"mount the second", "hyperv/mount on=h1/db nth=2 err=0x80070020", "data.vhd", 3, hyperv.EventMountFailed},
		{"mount the last", "hyperv/mount on=h1/db nth=3 err=0x80070020", "log.vhd", 4, hyperv.EventMountFailed},
		{"revert the first", "hyperv/revert on=h1/db err=0x8007001F", "system.vhd", 2, hyperv.EventRevertFailed},
		{"revert the last volume", "hyperv/revert on=h1/db nth=4 err=0x8007001F", "log.vhd", 5, hyperv.EventRevertFailed},
	} {
		t.Run(f.name, func(t *testing.T) {
			l := newLab(t, sim.Plan(f.plan))
			two(l)
			_, err := l.backup()
			l.failsWith(err, atPostSnapshot, retryable, "db: ", f.says)
			l.event("hyperv/event", fmt.Sprint("id=", f.event), "vm=db")
			l.event("hyperv/event", fmt.Sprint("id=", hyperv.EventRollbackFailed), "vm=db")
			if !strings.Contains(err.Error(), fmt.Sprintf("(event %d)", f.event)) {
				t.Errorf("the message has no event: %v", err)
			}
			if n := len(l.w.Trace().Select("hyperv/roll-back")); n != f.rolled {
				t.Errorf("%d volumes were rolled back, want %d", n, f.rolled)
			}
			l.recovers()
		})
	}
}

// When the writers are done the shadow copy is read-only: what the requester reads
// cannot change any more.
func TestShadowCopyIsSealedAfterTheRollback(t *testing.T) {
	l := newLab(t)
	l.running("db")
	l.note()
	checked := false
	l.must(l.as("backup", func(ctx context.Context) error {
		_, err := l.byHand(ctx, []string{`C:\`, `D:\`}, func(next string, _ *vss.BackupComponents) error {
			if next != "BackupComplete" {
				return nil
			}
			checked = true
			v := l.h.Volume("D")
			s, err := v.ShadowVolume(v.Shadows()[0])
			if err != nil {
				return err
			}
			if _, err := s.OpenFile(`\VMs\db\system.vhd`, volume.ReadWrite, volume.Exclusive); !errors.Is(err, volume.ErrWriteProtect) {
				t.Errorf("it can be opened for writing: %v", err)
			}
			if names, err := s.Streams(`\VMs\db\system.vhd`); err != nil || len(names) != 0 {
				t.Errorf("the guest's copy is still in it: %v, %v", names, err)
			}
			return nil
		})
		return err
	}))
	if !checked {
		t.Error("the set was not made")
	}
	l.settled()
}
