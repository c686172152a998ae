package requester_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// component does something with the writer's first component in an event.
func component(fn func(c *vss.WriterComponent) error) func(context.Context, any) error {
	return func(_ context.Context, ev any) error {
		e := ev.(interface{ Components() *vss.WriterComponents })
		return fn(e.Components().All()[0])
	}
}

func partial(path, ranges string) vss.PartialFile {
	f := spec(path)
	return vss.PartialFile{FilePart: vss.FilePart{Path: f.Path, Name: f.Spec, Ranges: ranges}}
}

// TestPartialFiles: exactly the ranges are backed up, and they alone are put
// back, also where a file holds the ranges, or the file is read from elsewhere.
func TestPartialFiles(t *testing.T) {
	for _, tt := range []struct {
		name, ranges string
		then, want   string
	}{
		{"list", "2:3, 0x8:1", "..........tail", "..234...8.tail"},
		{"unsorted", "8:1,2:3", "..........", "..234...8."},
		{"file", `File=E:\ranges`, "..........", "..234...8."},
		{"gone", "2:3, 8:1", "", "\x00\x00234\x00\x00\x008"},
		{"shorter", "2:3, 8:1", "....", "..234\x00\x00\x008"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			ranges := vss.AppendRangesFile(nil, []vss.Range{{Offset: 2, Length: 3}, {Offset: 8, Length: 1}})
			l.write(`E:\alt\data`, "0123456789", `E:\ranges`, string(ranges))
			c := group("db", `D:\db\...\d*`)
			c.Files[0].AlternatePath = `E:\alt`
			db := l.add(&app{name: "db", parts: []vss.ComponentInfo{c}})
			db.does(vss.EventPostSnapshot, component(func(c *vss.WriterComponent) error {
				return c.AddPartialFile(partial(`D:\db\data`, tt.ranges))
			}))
			l.mustBackup()
			if data, err := fs.ReadFile(l.target, "files/D/db/data"); string(data) != "2348" {
				t.Errorf("the backup holds %q, %v", data, err)
			}
			l.remove(`D:\db`, `E:\alt`, `E:\ranges`)
			if tt.then != "" {
				l.write(`D:\db\data`, tt.then)
			}
			db.on = nil
			l.mustRestore()
			l.has(`D:\db\data`, tt.want)
			if tt.name == "file" {
				l.has(`E:\ranges`, string(ranges))
			}
			if names := listing(t, l.files, "D/db"); len(names) > 2 || slices.Contains(names, "D/db/data.restored") {
				t.Errorf("there is %q", names)
			}
		})
	}
}

func TestRangesDirectory(t *testing.T) {
	l := newLab(t)
	l.write(`D:\data`, "0123456789", `D:\r`, string(vss.AppendRangesFile(nil, []vss.Range{{Offset: 2, Length: 3}})))
	db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\data`)}})
	db.does(vss.EventPostSnapshot, component(func(c *vss.WriterComponent) error { return c.AddPartialFile(partial(`D:\data`, `File=D:\r`)) }))
	l.mustBackup()
	l.remove(`D:\r`, `D:\data`)
	var told string
	db.on = nil
	db.does(vss.EventPostRestore, component(func(c *vss.WriterComponent) error { told = c.Record().PartialFiles[0].Ranges; return nil }))
	l.mustRestore(func(r *requester.Restore) { r.RangesDirectory = `E:\tmp\` })
	l.has(`D:\data`, "\x00\x00234", `D:\r`, "-")
	if told != `E:\tmp\r` {
		t.Errorf("the writer is told %q", told)
	}
	if _, err := l.drives["E"].ReadFile(`\tmp\r`); err != nil {
		t.Error(err)
	}
}

// TestBadRanges: what cannot be read is an error, and no file is left half done.
func TestBadRanges(t *testing.T) {
	for _, ranges := range []string{"x", "2:3, 4:1", "8:9", "0xFFFFFFFFFFFFFF00:1", `File=D:\none`, `File=E:\none`, `File=\\server\x\y`, `File=D:\data`} {
		l := newLab(t)
		l.write(`D:\data`, "0123456789")
		db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\data`)}})
		db.does(vss.EventPostSnapshot, component(func(c *vss.WriterComponent) error { return c.AddPartialFile(partial(`D:\data`, ranges)) }))
		_, err := l.backup()
		if e, ok := errors.AsType[*requester.Error](err); (!ok || e.Phase != "copy") && !(ok && len(e.Writers) > 0) {
			t.Errorf("ranges %q: %v", ranges, err)
		}
		l.noDocument()
		l.settled()
	}
}

func TestWholeFiles(t *testing.T) {
	l := newLab(t)
	db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\*`)}})
	var heard []bool
	db.does(vss.EventPrepareBackup, func(_ context.Context, ev any) error {
		heard = append(heard, ev.(*vss.PrepareBackupEvent).PartialFiles())
		return nil
	})
	l.mustBackup()
	l.mustBackup(func(b *requester.Backup) { b.WholeFiles = true })
	if !slices.Equal(heard, []bool{true, false}) {
		t.Errorf("the writer hears %v", heard)
	}
}

// TestDifferencedFiles: of a specification the files changed since a moment are
// backed up, whatever the masks say, and new ones with them.
func TestDifferencedFiles(t *testing.T) {
	l := newLab(t)
	l.write(`D:\db\old`, "1", `D:\db\new`, "2", `D:\more\x`, "3")
	since := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	l.must(l.drives["D"].Chtimes(`\db\new`, volume.Times{Modified: since.Add(time.Second)}))
	l.must(l.drives["D"].Chtimes(`\db\old`, volume.Times{Modified: since}))
	c := group("db", `D:\db\*`)
	c.Files[0].Mask = vss.FullBackupRequired
	db := l.add(&app{name: "db", schema: vss.SchemaIncremental | vss.SchemaLastModify, parts: []vss.ComponentInfo{c}})
	db.does(vss.EventPostSnapshot, component(func(c *vss.WriterComponent) error {
		return errors.Join(c.AddDifferencedFiles(spec(`D:\db\*`), since), c.AddDifferencedFiles(spec(`D:\more\*`), time.Time{}))
	}))
	l.mustBackup(func(b *requester.Backup) { b.Type = vss.BackupIncremental })
	if diff := cmp.Diff([]string{"files/D/db/new", "files/D/more/x"}, listing(t, l.target, "files")); diff != "" {
		t.Error(diff)
	}
	l.remove(`D:\db`, `D:\more`)
	l.mustRestore()
	l.has(`D:\db\new`, "2", `D:\db\old`, "-", `D:\more\x`, "3")
}

// TestDirectedTargets: parts of a file go to parts of others.
func TestDirectedTargets(t *testing.T) {
	part := func(path, ranges string) vss.FilePart {
		f := spec(path)
		return vss.FilePart{Path: f.Path, Name: f.Spec, Ranges: ranges}
	}
	for _, tt := range []struct {
		from, to vss.FilePart
		want     string // "" is an error
	}{
		{part(`D:\a`, "1:2, 5:1"), part(`E:\b`, "0:2, 7:1"), "12.....5.."},
		{part(`D:\a`, "1:2, 5:1"), part(`E:\b`, "7:2, 0:1"), "5......12."},
		{part(`D:\a`, "1:2"), part(`E:\b`, "0:3"), ""},
		{part(`D:\a`, "1:2"), part(`E:\b`, "0:2, 3:1"), ""},
		{part(`D:\a`, "1:2, 5:2"), part(`E:\b`, "0:2, 1:2"), ""},
		{part(`D:\none`, "1:2"), part(`E:\b`, "0:2"), ""},
		{part(`D:\a`, "1:x"), part(`E:\b`, "0:2"), ""},
	} {
		l := newLab(t)
		l.write(`D:\a`, "0123456789", `D:\other`, "o")
		db := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\*`)}})
		l.mustBackup()
		l.remove(`D:\a`, `D:\other`)
		l.write(`E:\b`, "..........")
		db.does(vss.EventPreRestore, component(func(c *vss.WriterComponent) error {
			return errors.Join(c.SetRestoreTarget(vss.TargetDirected), c.AddDirectedTarget(vss.DirectedTarget{Source: tt.from, Destination: tt.to}))
		}))
		_, err := l.restore()
		if (err == nil) != (tt.want != "") {
			t.Errorf("%v to %v: %v", tt.from, tt.to, err)
		}
		if err == nil {
			l.has(`E:\b`, tt.want, `D:\a`, "-", `D:\other`, "o")
		} else if db.statuses["db"] != vss.FilesNone {
			t.Errorf("the writer hears %v", db.statuses)
		}
	}
}

// TestFileMetadata: times and attributes survive, and a read-only file in the
// target gives way to the next backup.
func TestFileMetadata(t *testing.T) {
	l := newLab(t)
	l.write(`D:\a`, "x")
	v := l.drives["D"]
	times := volume.Times{Created: time.Unix(1e9, 0).UTC(), Modified: time.Unix(2e9, 0).UTC()}
	l.must(errors.Join(v.Chtimes(`\a`, times), v.SetAttributes(`\a`, volume.ReadOnly|volume.Hidden)))
	l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\*`)}})
	for range 2 {
		b := &requester.Backup{Service: l.s, Target: l.drives["E"].FS()}
		_, err := b.Run(t.Context())
		l.must(err)
	}
	l.must(v.SetAttributes(`\a`, 0))
	l.remove(`D:\a`)
	l.mustRestore(func(r *requester.Restore) { r.Source = l.drives["E"].FS() })
	info, err := v.Stat(`\a`)
	if err != nil || info.Attributes() != volume.ReadOnly|volume.Hidden || info.Times() != times {
		t.Errorf("the file has %v, %v, %v", info.Attributes(), info.Times(), err)
	}
}

// TestFileInUse: a component with a file that somebody uses is left alone as a
// whole, or goes to its alternate location.
func TestFileInUse(t *testing.T) {
	for _, mapped := range []bool{false, true} {
		l := newLab(t)
		l.write(`D:\a`, "saved", `D:\b`, "saved")
		p := vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace}
		if mapped {
			p.AlternateLocations = []vss.FileMapping{{FileSpec: spec(`D:\*`), Destination: `E:\alt`}}
		}
		db := l.add(&app{name: "db", restore: p, parts: []vss.ComponentInfo{group("db", `D:\*`)}})
		l.mustBackup()
		l.write(`D:\a`, "now", `D:\b`, "now")
		f, err := l.drives["D"].OpenFile(`\b`, volume.Write, volume.Exclusive)
		l.must(err)
		_, err = l.restore()
		l.must(f.Close())
		l.has(`D:\a`, "now", `D:\b`, "now")
		if mapped {
			l.must(err)
			l.has(`E:\alt\a`, "saved", `E:\alt\b`, "saved")
		} else if !errors.Is(err, volume.ErrSharingViolation) || db.statuses["db"] != vss.FilesNone {
			t.Errorf("the restore ends with %v, the writer hears %v", err, db.statuses)
		}
	}
}
