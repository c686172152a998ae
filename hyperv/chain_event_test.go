package hyperv_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// broken are the entries of the event log about chains that are broken.
func (l *lab) broken() []vss.LogEntry {
	var out []vss.LogEntry
	for _, e := range vss.EventLog(l.w.Trace()) {
		if e.Source == "VHDMP" {
			out = append(out, e)
		}
	}
	return out
}

// Whoever opens a chain whose parent is another disk finds an entry of the event log
// that names both files, and the machine stays as it is. A parent that is missing or
// no VHD at all is something else.
func TestEventOfABrokenChain(t *testing.T) {
	const parent = `D:\Base\base.vhd`
	for name, row := range map[string]struct {
		damage  func(l *lab)
		entries int
		want    error
	}{
		"whole":      {func(*lab) {}, 0, nil},
		"another":    {func(l *lab) { l.must(l.h.Volume("D").Remove(parent[2:])); l.base(parent) }, 1, vhd.ErrParentID},
		"is gone":    {func(l *lab) { l.must(l.h.Volume("D").Remove(parent[2:])) }, 0, vhd.ErrParentNotFound},
		"is no VHD":  {func(l *lab) { l.must(l.h.Volume("D").WriteFile(parent[2:], []byte("x"))) }, 0, vhd.ErrFooterMissing},
		"later time": {func(l *lab) { l.restamp(parent) }, 1, vhd.ErrParentTime},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			db := l.machine("db", child(l.base(parent)))
			row.damage(l)
			if len(l.broken()) != 0 {
				t.Fatalf("%v", l.broken())
			}
			if err := db.Start(l.ctx()); !errors.Is(err, row.want) {
				t.Errorf("the start says %v", err)
			}
			list := l.broken()
			if len(list) != row.entries {
				t.Fatalf("%v", list)
			}
			if row.entries == 0 {
				return
			}
			e := list[0]
			if e.ID != hyperv.EventChainBroken || e.Level != vss.LogError || e.Log == "" || !strings.Contains(e.Text, `D:\VMs\db\system.vhd`) || !strings.Contains(e.Text, parent) {
				t.Errorf("%+v", e)
			}
			_, err := l.h.OpenVHD(`D:\VMs\db\system.vhd`)
			var c *hyperv.ChainError
			if !errors.As(err, &c) || c.Child != `D:\VMs\db\system.vhd` || c.Parent != parent || len(l.broken()) != 2 {
				t.Errorf("%v, %v", err, l.broken())
			}
			if db.State() != hyperv.StateOff {
				t.Errorf("db is %v", db.State())
			}
			l.settledNow()
			l.mustBackup() // of what is there
		})
	}
}

// restamp gives a VHD file another time stamp, as one has that was made or written
// later.
func (l *lab) restamp(path string) {
	l.t.Helper()
	file := l.bytes(path)
	at := len(file) - vhd.FooterSize
	footer := file[at:]
	footer[27]++ // of four bytes from 24 on, in seconds
	sum := uint32(0)
	copy(footer[64:68], make([]byte, 4))
	for _, b := range footer {
		sum += uint32(b)
	}
	sum = ^sum
	copy(footer[64:68], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	copy(file, footer) // and its copy in front
	l.must(l.h.Volume(path[:1]).WriteFile(path[2:], file))
}

// A restore that puts another disk in the place of a parent fails with the entry, and
// one with the right disk succeeds after it.
func TestRestoreOfABrokenChain(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", child(l.base(`D:\Base\base.vhd`)))
	target := l.mustBackup()
	other := l.base(`D:\Base\other.vhd`)
	bad := &requester.Memory{}
	l.must(copyAll(bad, target))
	l.must(put(bad, requester.FilesName+"/D/Base/base.vhd", l.bytes(other)))
	moved := func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			return `D:\Moved`, set.Spec == "base.vhd"
		}
	}
	report, err := l.restore(bad, moved)
	st := report.Writers[0]
	if err == nil || st.State != vss.StateFailedAtPostRestore || !strings.Contains(st.Message, guid.Upper(vm.ID())) || !strings.Contains(st.Message, `D:\Moved\base.vhd`) {
		t.Errorf("%+v, %v", st, err)
	}
	if list := l.broken(); len(list) != 1 || !strings.Contains(list[0].Text, `D:\Moved\base.vhd`) {
		t.Errorf("%v", list)
	}
	l.settledNow()
	l.must(func() error { _, err := fs.Stat(l.h.Files(), "D/Moved/base.vhd"); return err }())
	l.mustRestore(target, moved)
	l.must(l.h.VM("db").Start(l.ctx()))
	if len(l.broken()) != 1 {
		t.Errorf("%v", l.broken())
	}
}
