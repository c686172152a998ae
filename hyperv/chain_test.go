package hyperv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// base makes a VHD file with a volume and something on it, which other VHDs can
// stand on.
func (l *lab) base(path string) string {
	l.t.Helper()
	vm, err := l.h.CreateVM(l.ctx(), hyperv.VMConfig{Name: "golden", MemoryMB: 4, Disks: []hyperv.DiskConfig{vhdOf(path)},
		Guest: &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", Services: integration()}})
	l.must(err)
	l.must(vm.Start(l.ctx()))
	l.write(vm, "C:", dataOff, 'B')
	l.write(vm, "C:", dataOff+mib, 'B')
	l.must(vm.TurnOff(l.ctx()))
	l.must(vm.Delete(l.ctx()))
	return path
}

// child makes a machine's disk a differencing one.
func child(parent string) mod {
	return func(c *hyperv.VMConfig) { c.Disks[0] = hyperv.DiskConfig{Path: c.Disks[0].Path, Parent: parent} }
}

// onChain gives a machine a disk with n parents, the lowest of which is base, and
// returns the paths of the parents, the nearest first.
func (l *lab) onChain(base string, n int, name string) (mod, []string) {
	l.t.Helper()
	paths := []string{base}
	for i := 1; i < n; i++ {
		path := fmt.Sprintf(`D:\Base\%s%d.vhd`, name, i)
		vm, err := l.h.CreateVM(l.ctx(), hyperv.VMConfig{Name: "layer", MemoryMB: 4, Disks: []hyperv.DiskConfig{{Path: path, Parent: paths[0]}}})
		l.must(err)
		l.must(vm.Start(l.ctx()))
		l.write(vm, "C:", dataOff+int64(i)*4096, byte('0'+i))
		l.must(vm.TurnOff(l.ctx()))
		l.must(vm.Delete(l.ctx()))
		paths = slices.Insert(paths, 0, path)
	}
	return child(paths[0]), paths
}

// A machine with differencing disks is backed up with everything that they stand
// on, by each method, and comes back with the bytes that its backup had to hold,
// also where nothing of it is left.
func TestDifferencingDisks(t *testing.T) {
	for depth := 1; depth <= 3; depth++ {
		for name, how := range map[string]mod{"inside": func(*hyperv.VMConfig) {}, "saved": stopped} {
			t.Run(fmt.Sprint(depth, " ", name), func(t *testing.T) {
				oracle := hypervtest.NewOracle()
				l := newLabOf(t, hyperv.HostConfig{Manage: oracle.Watch})
				on, parents := l.onChain(l.base(`D:\Base\base.vhd`), depth, "layer")
				vm := l.running("db", on, how, withLedger("rest=5s"))
				l.machine("cold", child(parents[0]))
				l.write(vm, "C:", 2*mib, 'x')
				before := make(map[string][]byte)
				for _, p := range parents {
					before[p] = l.bytes(p)
				}
				l.must(oracle.Begin(l.h))
				target := l.mustBackup()
				l.settled()
				for _, p := range parents {
					if !slices.Equal(before[p], l.bytes(p)) || !slices.Equal(before[p], l.bytesIn(target, p)) {
						t.Errorf("%s was changed, or is another in the backup", p)
					}
				}
				if n := len(l.w.Trace().Select("hyperv/roll-back")); n != map[string]int{"inside": 1}[name] {
					t.Errorf("%d files were rolled back", n)
				}
				l.remove(vm, l.h.VM("cold"))
				for _, p := range parents {
					l.must(l.h.Volume("D").Remove(p[2:]))
				}
				l.mustRestore(target)
				for _, f := range oracle.Check(l.h) {
					if f.Err != nil {
						t.Error(f)
					}
				}
				back := l.h.VM("db")
				l.must(back.Start(l.ctx()))
				var b [1]byte
				for off, want := range map[int64]byte{dataOff + mib: 'B', 2 * mib: 'x'} {
					if l.must(back.Guest().ReadAt(l.ctx(), "C:", off, b[:])); b[0] != want {
						t.Errorf("at %d the guest reads %q, want %q", off, b, want)
					}
				}
				for i := 1; i < depth; i++ {
					if l.must(back.Guest().ReadAt(l.ctx(), "C:", dataOff+int64(i)*4096, b[:])); b[0] != byte('0'+i) {
						t.Errorf("of layer %d the guest reads %q", i, b)
					}
				}
				l.mustBackup()
				l.settledNow()
			})
		}
	}
}

// The component of a machine lists the whole chain, each file once.
func TestComponentOfAChain(t *testing.T) {
	l := newLab(t)
	on, parents := l.onChain(l.base(`D:\Base\base.vhd`), 3, "layer")
	vm := l.machine("db", on, func(c *hyperv.VMConfig) {
		c.Disks = append(c.Disks, hyperv.DiskConfig{Path: c.Root + `\second.vhd`, Parent: parents[2]})
	})
	m, err := l.h.Management().Machine(l.ctx(), vm.ID())
	l.must(err)
	if !slices.Equal(m.Parents, parents) {
		t.Errorf("it stands on %q", m.Parents)
	}
	l.must(vm.Start(l.ctx()))
	if m, err = l.h.Management().Machine(l.ctx(), vm.ID()); err != nil || !slices.Equal(m.Parents, parents) {
		t.Errorf("while it runs, it stands on %q, %v", m.Parents, err)
	}
	var got []string
	l.must(l.as("backup", l.components(func(c *vss.ComponentInfo) {
		if c.Name == guid.Upper(vm.ID()) {
			for _, f := range c.Files {
				got = append(got, volume.Join(f.Path, f.Spec))
			}
		}
	})))
	want := append([]string{`D:\VMs\db\system.vhd`, `D:\VMs\db\second.vhd`}, parents...)
	if !slices.Equal(got[2:], want) {
		t.Errorf("the component lists %q", got)
	}
}

// A parent on another volume than the child: the snapshot location is on one of
// them at most, so the machine is saved; and the set needs both volumes.
func TestChainOverTwoVolumes(t *testing.T) {
	l := newLab(t)
	db := l.running("db", child(l.base(`C:\Base\base.vhd`)))
	l.decides(db, hyperv.MethodSavedState, hyperv.ReasonSnapshotLocation)
	var st vss.WriterStatus
	l.note()
	l.must(l.as("backup", l.by(&st, `D:\`)))
	if st.Code != inconsistent || !strings.Contains(st.Message, "lacks C:") {
		t.Errorf("%+v", st)
	}
	target := l.mustBackup()
	if !slices.Equal(l.bytesIn(target, `C:\Base\base.vhd`), l.bytes(`C:\Base\base.vhd`)) {
		t.Error("the parent is not in the backup")
	}
	l.recovers()
}

// What a machine stands on can be shared, and cannot be written meanwhile.
func TestParentsAreHeld(t *testing.T) {
	l := newLab(t)
	base := l.base(`D:\Base\base.vhd`)
	direct := l.machine("direct", func(c *hyperv.VMConfig) { c.Disks[0], c.Guest = hyperv.DiskConfig{Path: base}, nil })
	one, two := l.running("one", child(base)), l.running("two", child(base))
	l.write(one, "C:", dataOff, '1')
	var b [1]byte
	if l.must(two.Guest().ReadAt(l.ctx(), "C:", dataOff, b[:])); b[0] != 'B' {
		t.Errorf("the other machine reads %q", b)
	}
	if err := direct.Start(l.ctx()); !errors.Is(err, volume.ErrSharingViolation) {
		t.Errorf("a machine on the parent itself starts: %v", err)
	}
	target := l.mustBackup(only("one"))
	if _, err := l.restore(target, onlyRestore("one")); !errors.Is(err, volume.ErrSharingViolation) || two.State() != hyperv.StateRunning {
		t.Errorf("the parent of a machine that runs is restored: %v", err)
	}
	l.must(two.TurnOff(l.ctx()))
	l.mustRestore(target, onlyRestore("one"))
	l.must(two.Start(l.ctx()))
	l.must(l.h.VM("one").Start(l.ctx()))
	l.must(two.TurnOff(l.ctx()))
	l.must(l.h.VM("one").TurnOff(l.ctx()))
	l.must(direct.Start(l.ctx()))
	if err := two.Start(l.ctx()); !errors.Is(err, volume.ErrSharingViolation) || two.State() != hyperv.StateOff {
		t.Errorf("a machine starts while its parent is written: %v", err)
	}
}

// A chain that is broken is found when the machine starts, and by the backup.
func TestBrokenChains(t *testing.T) {
	for name, row := range map[string]struct {
		damage func(l *lab, base string)
		want   error
		backup bool // it succeeds: the files are there
	}{
		"the parent is gone":    {func(l *lab, base string) { l.must(l.h.Volume("D").Remove(base[2:])) }, vhd.ErrParentNotFound, false},
		"the parent is another": {func(l *lab, base string) { l.must(l.h.Volume("D").Remove(base[2:])); l.base(base) }, vhd.ErrParentID, true},
		"the parent is no VHD":  {func(l *lab, base string) { l.must(l.h.Volume("D").WriteFile(base[2:], []byte("x"))) }, vhd.ErrFooterMissing, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			base := l.base(`D:\Base\base.vhd`)
			db := l.machine("db", child(base))
			row.damage(l, base)
			var e *hyperv.Error
			if err := db.Start(l.ctx()); !errors.Is(err, row.want) || !errors.As(err, &e) || !strings.Contains(err.Error(), base) {
				t.Errorf("the start says %v", err)
			}
			l.works(db)
			_, err := l.backup()
			if (err == nil) != row.backup || err != nil && !strings.Contains(err.Error(), "base.vhd") {
				t.Errorf("the backup says %v", err)
			}
			l.settled()
		})
	}
}

// Where the files of a chain are restored to, together or apart, the machine finds
// what was restored, and not what lies at the old place still.
func TestRestoreOfAMovedChain(t *testing.T) {
	only := func(name, to string) func(*requester.Restore) {
		return func(r *requester.Restore) {
			r.NewTarget = func(_ *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
				return to, set.Spec == name
			}
		}
	}
	for name, row := range map[string]struct {
		move    func(*requester.Restore)
		relinks int
		parents []string
	}{
		"all into one folder":  {moveTo(`C:\Moved`), 1, []string{`C:\Moved\layer1.vhd`, `C:\Moved\base.vhd`}},
		"the leaf alone":       {only("system.vhd", `C:\Moved`), 0, []string{`D:\Base\layer1.vhd`, `D:\Base\base.vhd`}},
		"the one in between":   {only("layer1.vhd", `C:\Moved`), 1, []string{`C:\Moved\layer1.vhd`, `D:\Base\base.vhd`}},
		"the lowest":           {only("base.vhd", `C:\Moved`), 1, []string{`D:\Base\layer1.vhd`, `C:\Moved\base.vhd`}},
		"nothing":              {func(*requester.Restore) {}, 0, []string{`D:\Base\layer1.vhd`, `D:\Base\base.vhd`}},
		"in other letters":     {only("base.vhd", `d:\BASE`), 0, []string{`D:\Base\layer1.vhd`, `D:\Base\base.vhd`}},
		"to the other's place": {only("base.vhd", `D:\VMs\db`), 1, []string{`D:\Base\layer1.vhd`, `D:\VMs\db\base.vhd`}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			on, _ := l.onChain(l.base(`D:\Base\base.vhd`), 2, "layer")
			db := l.running("db", on)
			l.write(db, "C:", 2*mib, 'x')
			l.must(db.TurnOff(l.ctx()))
			target := l.mustBackup()
			want, err := l.h.OpenVHD(`D:\VMs\db\system.vhd`)
			l.must(err)
			digest, err := disk.Digest(want)
			l.must(err)
			l.mustRestore(target, row.move)
			back := l.h.VM("db")
			m, err := l.h.Management().Machine(l.ctx(), back.ID())
			l.must(err)
			if !slices.EqualFunc(m.Parents, row.parents, volume.Equal) {
				t.Errorf("it stands on %q", m.Parents)
			}
			list := l.w.Trace().Select("hyperv/relink-vhd")
			if len(list) != row.relinks || len(list) > 0 && list[0].Rule != "R55" {
				t.Errorf("relinked: %v", list)
			}
			image, err := l.h.OpenVHD(back.Configuration().VHDPaths()[0])
			l.must(err)
			if got, err := disk.Digest(image); err != nil || got != digest {
				t.Errorf("the disk is another: %v", err)
			}
			l.must(back.Start(l.ctx()))
			l.mustBackup()
			l.settledNow()
		})
	}
}

// Faults of the rollback of a chain leave nothing open.
func TestRollbackOfAChainFails(t *testing.T) {
	for _, plan := range []string{"hyperv/mount on=h1/db err=0x80070020", "hyperv/revert on=h1/db err=0x8007001F"} {
		l := newLab(t, sim.Plan(plan))
		l.running("db", child(l.base(`D:\Base\base.vhd`)))
		_, err := l.backup()
		l.failsWith(err, atPostSnapshot, retryable, "db: ", "system.vhd")
		l.recovers()
	}
}

// components calls see for every component of the writer.
func (l *lab) components(see func(c *vss.ComponentInfo)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		b, err := l.h.VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = b.Release(ctx) }()
		if err := errors.Join(b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx)); err != nil {
			return err
		}
		m, err := b.GetWriterMetadata(0)
		if err != nil {
			return err
		}
		for i := range m.Components {
			see(&m.Components[i])
		}
		return nil
	}
}

// by is byHand with volumes, into st.
func (l *lab) by(st *vss.WriterStatus, volumes ...string) func(ctx context.Context) error {
	return func(ctx context.Context) (err error) {
		*st, err = l.byHand(ctx, volumes, nil)
		return err
	}
}
