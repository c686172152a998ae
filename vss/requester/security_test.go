package requester_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

const (
	admins = "D:(A;;FA;;;BA)"
	users  = "D:(A;;FR;;;BU)"
)

// secure gives files descriptors of their own: path, descriptor, …
func (l *lab) secure(list ...string) {
	l.t.Helper()
	for i := 0; i < len(list); i += 2 {
		v, rest := l.split(list[i])
		l.must(v.SetSecurity(rest, list[i+1]))
	}
}

// nothing is a handler that says nothing.
func nothing(fn func()) func(context.Context, any) error {
	return func(context.Context, any) error { fn(); return nil }
}

// secured checks descriptors: path, descriptor, …
func (l *lab) secured(list ...string) {
	l.t.Helper()
	for i := 0; i < len(list); i += 2 {
		v, rest := l.split(list[i])
		info, err := v.Stat(rest)
		l.must(err)
		if got := info.Security(); got != list[i+1] {
			l.t.Errorf("%s has %q, want %q", list[i], got, list[i+1])
		}
	}
}

// A backup keeps the descriptors of the shadow copy's files in any target, and a
// restore puts them back, to another place too; of the contents alone if it is told
// so.
func TestSecurity(t *testing.T) {
	for _, target := range []string{"memory", "directory", "volume"} {
		for _, contents := range []bool{false, true} {
			l := newLab(t)
			var to requester.Files = l.target
			switch target {
			case "directory":
				d, err := requester.OpenDirectory(t.TempDir())
				l.must(err)
				defer func() { _ = d.Close() }()
				to = d
			case "volume":
				to = volume.New(volume.Config{}).FS()
			}
			db := l.add(&app{name: "db", schema: vss.SchemaNewTarget, parts: []vss.ComponentInfo{group("db", `D:\db\...\*`)}})
			l.write(`D:\db\a`, "a", `D:\db\deep\b`, "b", `D:\db\c`, "c", `D:\db\there`, "1")
			l.secure(`D:\db\a`, admins, `D:\db\deep\b`, users, `D:\db\there`, admins)
			db.does(vss.EventBackupComplete, nothing(func() { l.secure(`D:\db\a`, users) }))
			l.mustBackup(func(b *requester.Backup) { b.Target = to })
			text, err := fs.ReadFile(to, requester.SecurityName)
			l.must(err)
			if want := "D\\db\\a\r\n" + admins + "\r\nD\\db\\there\r\n" + admins + "\r\nD\\db\\deep\\b\r\n" + users + "\r\n"; string(text) != want {
				t.Errorf("%s: %q, want %q", target, text, want)
			}
			l.remove(`D:\db\a`, `D:\db\deep`, `D:\db\c`)
			l.secure(`D:\db\there`, users)
			l.mustRestore(func(r *requester.Restore) { r.Source, r.WithoutSecurity = to, contents })
			l.has(`D:\db\a`, "a", `D:\db\deep\b`, "b", `D:\db\c`, "c")
			if contents {
				l.secured(`D:\db\a`, "", `D:\db\deep\b`, "", `D:\db\c`, "", `D:\db\there`, users)
			} else {
				l.secured(`D:\db\a`, admins, `D:\db\deep\b`, users, `D:\db\c`, "", `D:\db\there`, admins)
			}
			l.mustRestore(func(r *requester.Restore) {
				r.Source = to
				r.NewTarget = func(*vss.WriterMetadata, *vss.ComponentInfo, vss.FileSet) (string, bool) { return `E:\new`, true }
			})
			l.secured(`E:\new\a`, admins, `E:\new\deep\b`, users, `E:\new\c`, "")
		}
	}
}

// Where parts of a file are put back, it has the descriptor of the backup; one that
// gets somebody else's bytes keeps its own.
func TestSecurityOfParts(t *testing.T) {
	for _, had := range []string{"", admins} {
		l := newLab(t)
		l.write(`D:\data`, "0123456789")
		l.secure(`D:\data`, had)
		db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\data`)}})
		db.does(vss.EventPostSnapshot, component(func(c *vss.WriterComponent) error { return c.AddPartialFile(partial(`D:\data`, "2:3")) }))
		l.mustBackup()
		l.secure(`D:\data`, users)
		db.on = nil
		l.mustRestore()
		if had == "" {
			had = users
		}
		l.secured(`D:\data`, had)
	}
	l := newLab(t)
	l.write(`D:\data`, "0123456789", `D:\first`, "1", `D:\other`, "9876543210")
	l.secure(`D:\data`, admins, `D:\first`, admins, `D:\other`, users)
	db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\data`, `D:\first`)}})
	l.mustBackup()
	db.does(vss.EventPreRestore, component(func(c *vss.WriterComponent) error {
		part := func(name, ranges string) vss.FilePart { return vss.FilePart{Path: `D:`, Name: name, Ranges: ranges} }
		return errors.Join(c.SetRestoreTarget(vss.TargetDirected),
			c.AddDirectedTarget(vss.DirectedTarget{Source: part("data", "0:2"), Destination: part("other", "4:2")}))
	}))
	l.mustRestore()
	l.has(`D:\other`, "9876013210")
	l.secured(`D:\other`, users)
}

// A list that is malformed fails the restore before anybody has heard of it; a
// descriptor that none can be, the component.
func TestMalformedSecurity(t *testing.T) {
	for _, bad := range []string{"x", "\r\n", "D\\a\r\n", "D\\a\r\n\r\n", "..\\a\r\n" + admins + "\r\n", "D\\a\r\n" + admins, "\x00\xff"} {
		l := newLab(t)
		l.write(`D:\a`, "a")
		l.secure(`D:\a`, admins)
		db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\a`)}})
		l.mustBackup()
		put(t, l.target, requester.SecurityName, bad)
		db.heard = nil
		_, err := l.restore()
		l.asFailed(err, "load", fs.ErrInvalid)
		if len(db.heard) > 0 {
			t.Errorf("%q: the writer heard %q", bad, db.heard)
		}
		l.mustRestore(func(r *requester.Restore) { r.WithoutSecurity = true })
		put(t, l.target, requester.SecurityName, "D\\a\r\n\x01\r\n")
		if _, err = l.restore(); !errors.Is(err, volume.ErrInvalidSecurity) || db.statuses["db"] != vss.FilesFailed {
			t.Errorf("%v, %v", err, db.statuses)
		}
		l.mustBackup()
		l.mustRestore()
	}
}

// An earlier backup's list goes with it, and somebody else's file of that name is
// not touched.
func TestSecurityOfAnEarlierBackup(t *testing.T) {
	l := newLab(t)
	l.write(`D:\a`, "a")
	l.secure(`D:\a`, admins)
	l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\a`)}})
	l.mustBackup()
	l.secure(`D:\a`, "")
	l.mustBackup()
	if text, err := fs.ReadFile(l.target, requester.SecurityName); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q, %v", text, err)
	}
	l.target = &requester.Memory{}
	put(t, l.target, requester.SecurityName, "mine")
	if _, err := l.backup(); !errors.Is(err, requester.ErrNotATarget) {
		t.Errorf("%v", err)
	}
	l.settled()
	if text, _ := fs.ReadFile(l.target, requester.SecurityName); string(text) != "mine" {
		t.Errorf("%q", text)
	}
}

// A target that is full when the list is written fails the backup, as any file does.
func TestSecurityOnAFullTarget(t *testing.T) {
	l := newLab(t)
	v := volume.New(volume.Config{})
	l.write(`D:\a`, "a")
	l.secure(`D:\a`, admins+strings.Repeat("(A;;FA;;;BA)", 1000))
	db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\a`)}})
	db.does(vss.EventThaw, nothing(func() { v.SetCapacity(12 << 10) }))
	_, err := l.backup(func(b *requester.Backup) { b.Target = v.FS() })
	l.asFailed(err, "save", volume.ErrDiskFull)
	l.settled()
	v.SetCapacity(1 << 30)
	db.on = nil
	l.mustBackup(func(b *requester.Backup) { b.Target = v.FS() })
}
