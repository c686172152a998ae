package requester_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// lost is a machine whose files are gone; the backup of them is in its target.
func lost(t *testing.T, opts ...sim.Option) (l *lab, db, mail *app) {
	l, db, mail = standard(t, opts...)
	l.mustBackup()
	l.remove(`D:\db`, `E:\logs`, `D:\mail`, `C:\mail`, `C:\cache`)
	return l, db, mail
}

const all, none, partly = vss.FilesAll, vss.FilesNone, vss.FilesFailed

type statuses = map[string]vss.FileRestoreStatus

func (l *lab) restoredAs(r *requester.Report, want statuses) {
	l.t.Helper()
	got := make(statuses)
	for _, c := range r.Components {
		got[c.FullPath()] = c.Status
		if (c.Status == all) != (c.Err == nil) {
			l.t.Errorf("%s is %v, but its error %v", c.FullPath(), c.Status, c.Err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("the report:\n%s", diff)
	}
}

func TestRestore(t *testing.T) {
	l, db, mail := lost(t)
	l.write(`D:\db\data.mdf`, "broken, and longer than before")
	r := l.mustRestore()
	l.has(`D:\db\data.mdf`, "rows", `E:\logs\2.log`, "two", `C:\mail\base.cfg`, "config", `D:\mail\box\old\bob.pst`, "bob",
		`D:\mail\index\live.idx`, "index", `C:\cache\live.idx`, "-")
	if info, err := l.drives["D"].Stat(`\mail\box\empty`); err != nil || !info.IsDir() {
		t.Errorf("the empty directory: %v", err)
	}
	if target, err := l.drives["D"].Readlink(`\mail\box\link`); target != `D:\db\data.mdf` {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	l.restoredAs(r, statuses{"data": all, "settings": all, "store": all, "spare": all})
	if diff := cmp.Diff(statuses{"settings": all, "store": all, "spare": all}, mail.statuses); diff != "" || db.statuses["data"] != all {
		t.Errorf("the writers hear %v and\n%s", db.statuses, diff)
	}
	if r.Files != 10 || r.Bytes != 33 || len(r.Writers) != 2 {
		t.Errorf("%d files, %d bytes, writers %v", r.Files, r.Bytes, r.Writers)
	}
	l.mustRestore() // over what is there
}

// TestOneBadComponent: one component that cannot be restored does not keep the
// others from it, and its writer hears how far it came.
func TestOneBadComponent(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(l *lab)
		want vss.FileRestoreStatus
		code error
	}{
		{"lost in the backup", func(l *lab) { l.must(l.target.Remove("files/D/db/data.mdf")) }, none, fs.ErrNotExist},
		{"a directory in its place", func(l *lab) { l.must(l.drives["E"].MkdirAll(`\logs\2.log`)) }, none, fs.ErrExist},
		{"read-only", func(l *lab) {
			l.write(`E:\logs\2.log`, "x")
			l.must(l.drives["E"].SetAttributes(`\logs\2.log`, volume.ReadOnly))
		}, none, fs.ErrPermission},
		{"a file in place of a directory", func(l *lab) { l.write(`D:\db`, "x") }, none, fs.ErrExist},
		{"no room for the data", func(l *lab) { l.drives["D"].SetCapacity(1) }, partly, vss.HRESULT(0x80070070)},
		{"no room for the logs", func(l *lab) { l.drives["E"].SetCapacity(1) }, partly, vss.HRESULT(0x80070070)},
		{"no access to the second", func(l *lab) {
			l.w.Inject(sim.Fault{Point: requester.FaultRestore, Nth: 2, Outcome: sim.Outcome{Err: 0x80070005}})
		}, partly, vss.ErrAccessDenied},
		{"no access to the first", func(l *lab) {
			l.w.Inject(sim.Fault{Point: requester.FaultRestore, Nth: 1, Outcome: sim.Outcome{Err: 0x80070005}})
		}, none, vss.ErrAccessDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, db, mail := lost(t)
			tt.harm(l)
			r, err := l.restore(func(r *requester.Restore) {
				r.Select = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool {
					return c.Name == "data" || c.Name == "settings"
				}
			})
			l.asFailed(err, "restore", tt.code)
			l.restoredAs(r, statuses{"data": tt.want, "settings": all})
			if db.statuses["data"] != tt.want || mail.statuses["settings"] != all || mail.heard[len(mail.heard)-1] != "PostRestore" {
				t.Errorf("the writers hear %v, %v", db.statuses, mail.statuses)
			}
			l.has(`C:\mail\base.cfg`, "config")
			l.settled()
		})
	}
}

// TestRefusal: a writer that refuses in PreRestore keeps its files as they are.
func TestRefusal(t *testing.T) {
	l, db, _ := lost(t)
	l.write(`D:\db\data.mdf`, "in use")
	db.fails(vss.EventPreRestore, vss.ErrWriterErrorNonRetryable)
	r, err := l.restore()
	l.asFailed(err, "PreRestore", vss.ErrWriterErrorNonRetryable, "db")
	l.restoredAs(r, statuses{"data": none, "settings": all, "store": all, "spare": all})
	l.has(`D:\db\data.mdf`, "in use", `E:\logs\1.log`, "-", `C:\mail\base.cfg`, "config")
	l.settled()
}

func TestPostRestoreFails(t *testing.T) {
	l, db, _ := lost(t)
	db.fails(vss.EventPostRestore, vss.ErrWriterErrorNonRetryable)
	r, err := l.restore()
	l.asFailed(err, "PostRestore", vss.ErrWriterErrorNonRetryable, "db")
	l.restoredAs(r, statuses{"data": all, "settings": all, "store": all, "spare": all})
	l.settled()
}

func TestWriterDiesInRestore(t *testing.T) {
	for _, event := range []vss.Event{vss.EventPreRestore, vss.EventPostRestore} {
		t.Run(event.String(), func(t *testing.T) {
			l, db, _ := lost(t)
			db.does(event, func(context.Context, any) error { db.actor.Kill(); return nil })
			r, err := l.restore()
			e, ok := errors.AsType[*requester.Error](err)
			if !ok || e.Phase != event.String() || len(r.Components) != 4 {
				t.Errorf("%v; %d components", err, len(r.Components))
			}
			l.has(`C:\mail\base.cfg`, "config")
			l.settled()
		})
	}
}

// TestPlainFiles: the files of writers that do not run, or want no part in it, are
// restored all the same.
func TestPlainFiles(t *testing.T) {
	l, db, _ := standard(t)
	never := l.add(&app{name: "never", parts: []vss.ComponentInfo{group("x", `C:\never\*`)},
		restore: vss.RestorePolicy{WriterRestore: vss.WriterRestoreNever}})
	l.write(`C:\never\file`, "never")
	l.mustBackup()
	l.remove(`C:\never`, `D:\db`, `E:\logs`, `C:\mail`)
	db.actor.Kill()
	l.must(l.w.Advance(0))
	r := l.mustRestore()
	l.has(`C:\never\file`, "never", `D:\db\data.mdf`, "rows", `C:\mail\base.cfg`, "config")
	l.restoredAs(r, statuses{"data": all, "settings": all, "store": all, "spare": all, "x": all})
	if slices.Contains(never.heard, "PreRestore") {
		t.Errorf("the writer hears %q", never.heard)
	}
	for _, c := range r.Components {
		if alone := c.Writer == "never" || c.Writer == "db"; c.AsFiles != alone {
			t.Errorf("%s of %s was restored as files: %t", c.FullPath(), c.Writer, c.AsFiles)
		}
	}
	before := len(l.w.Trace())
	l.mustRestore(func(r *requester.Restore) { r.Select = is("x") })
	if got := calls(l.w.Trace()[before:]); got != "InitializeForRestore GatherWriterMetadata restore Release" {
		t.Errorf("with plain files alone the calls are %s", got)
	}
	_, err := l.restore(func(r *requester.Restore) { r.Select = is("nothing") })
	l.asFailed(err, "SetSelectedForRestore", requester.ErrNothing)
}

// TestInstances: of two instances of a class the one by the name of the stored one
// gets its files, and the refusal of one is not that of the other.
func TestInstances(t *testing.T) {
	l := newLab(t)
	l.write(`C:\one\f`, "1", `C:\two\f`, "2")
	class := guid.GUID{7}
	one := l.add(&app{name: "one", class: class, instance: "first", parts: []vss.ComponentInfo{group("one", `C:\one\*`)}})
	two := l.add(&app{name: "two", class: class, instance: "second", parts: []vss.ComponentInfo{group("two", `C:\two\*`)}})
	l.mustBackup()
	l.remove(`C:\one`, `C:\two`)
	for i, a := range []*app{two, one} { // both start anew, in another order
		a.actor.Kill()
		l.must(l.w.Advance(0))
		a.heard, a.actor = nil, l.h.Child("again")
		if i == 1 {
			a.fails(vss.EventPreRestore, vss.ErrWriterErrorRetryable)
		}
		_, err := l.s.Subscribe(a, vss.WriterConfig{Actor: a.actor, ClassID: class, Name: a.name, InstanceName: a.instance})
		l.must(err)
	}
	r, err := l.restore()
	l.asFailed(err, "PreRestore", vss.ErrWriterErrorRetryable, "one")
	l.restoredAs(r, statuses{"one": none, "two": all})
	l.has(`C:\one\f`, "-", `C:\two\f`, "2")
	if two.statuses["two"] != all {
		t.Errorf("the second hears %v", two.statuses)
	}
}

func TestIfReplaceFails(t *testing.T) {
	l := newLab(t)
	l.write(`C:\x\f`, "x")
	x := l.add(&app{name: "x", parts: []vss.ComponentInfo{group("x", `C:\x\f`)},
		restore: vss.RestorePolicy{WriterRestore: vss.WriterRestoreIfReplaceFails}})
	l.mustBackup()
	x.heard = nil
	l.mustRestore()
	if got := strings.Join(x.heard, " "); got != "Identify PreRestore" {
		t.Errorf("the writer hears %s", got)
	}
	l.must(l.drives["C"].SetAttributes(`\x\f`, volume.ReadOnly))
	_, err := l.restore()
	l.asFailed(err, "restore", fs.ErrPermission)
	if x.statuses["x"] != none {
		t.Errorf("of a failure the writer hears %v, %q", x.statuses, x.heard)
	}
	l.settled()
}

func TestNewTarget(t *testing.T) {
	elsewhere := func(r *requester.Restore) {
		r.NewTarget = func(_ *vss.WriterMetadata, c *vss.ComponentInfo, set vss.FileSet) (string, bool) {
			return `E:\new\`, c.Name == "x" && set.Recursive
		}
	}
	l := newLab(t)
	l.write(`D:\x\a`, "a", `D:\x\sub\b`, "b", `C:\x\c`, "c")
	x := l.add(&app{name: "x", schema: vss.SchemaNewTarget, parts: []vss.ComponentInfo{group("x", `D:\x\...\*`, `C:\x\*`)}})
	var targets []vss.FileMapping
	x.does(vss.EventPostRestore, func(_ context.Context, ev any) error {
		targets = ev.(*vss.PostRestoreEvent).Components().All()[0].Record().NewTargets
		return nil
	})
	l.mustBackup()
	l.remove(`D:\x`, `C:\x`)
	l.mustRestore(elsewhere)
	l.has(`E:\new\a`, "a", `E:\new\sub\b`, "b", `C:\x\c`, "c", `D:\x\a`, "-")
	if len(targets) != 1 || targets[0].Destination != `E:\new\` {
		t.Errorf("the writer hears %v", targets)
	}

	l.remove(`E:\new`)
	x.parts = nil // dropped since: its file sets stand in the backup alone
	l.mustRestore(elsewhere)
	l.has(`E:\new\a`, "a", `E:\new\sub\b`, "b")
	if len(targets) != 1 || targets[0].Destination != `E:\new\` {
		t.Errorf("of what it does not describe any more the writer hears %v", targets)
	}

	l, _, _ = standard(t)
	l.mustBackup()
	_, err := l.restore(func(r *requester.Restore) {
		r.NewTarget = func(*vss.WriterMetadata, *vss.ComponentInfo, vss.FileSet) (string, bool) { return `E:\new`, true }
	})
	l.asFailed(err, "AddNewTarget", vss.ErrInvalidArg) // the writers do not support it
	if _, err := l.drives["E"].Stat(`\new`); err == nil {
		t.Error("files went there")
	}
	l.settled()
}

// TestMethods walks the restore methods and targets of a component with one file
// and an alternate location.
func TestMethods(t *testing.T) {
	const here, there = `C:\x\f`, `C:\alt\f`
	for _, tt := range []struct {
		name    string
		method  vss.RestoreMethod
		mapped  bool
		target  vss.RestoreTarget
		present string // what stands at the original place
		want    string // where the file goes; "" is nowhere
	}{
		{"not there, free", vss.MethodRestoreIfNotThere, true, 0, "", here},
		{"not there, taken", vss.MethodRestoreIfNotThere, true, 0, "file", there},
		{"not there, taken, unmapped", vss.MethodRestoreIfNotThere, false, 0, "file", ""},
		{"replace", vss.MethodRestoreIfCanReplace, true, 0, "file", here},
		{"replace, read-only", vss.MethodRestoreIfCanReplace, true, 0, "locked", there},
		{"replace, read-only, original", vss.MethodRestoreIfCanReplace, true, vss.TargetOriginalLocation, "locked", ""},
		{"alternate", vss.MethodRestoreToAlternateLocation, true, 0, "", there},
		{"alternate, unmapped", vss.MethodRestoreToAlternateLocation, false, 0, "", ""},
		{"alternate, original", vss.MethodRestoreToAlternateLocation, true, vss.TargetOriginalLocation, "file", here},
		{"replace, alternate target", vss.MethodRestoreIfCanReplace, true, vss.TargetAlternate, "", there},
		{"directed, with nothing directed", vss.MethodRestoreIfCanReplace, true, vss.TargetDirected, "", here},
		{"custom", vss.MethodCustom, false, 0, "file", here},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.write(here, "saved")
			policy := vss.RestorePolicy{Method: tt.method}
			if tt.mapped {
				policy.AlternateLocations = []vss.FileMapping{{FileSpec: spec(here), Destination: `C:\alt`}}
			}
			x := l.add(&app{name: "x", restore: policy, parts: []vss.ComponentInfo{group("x", here)}})
			l.mustBackup()
			x.does(vss.EventPreRestore, func(_ context.Context, ev any) error {
				if tt.target == 0 {
					return nil
				}
				return ev.(*vss.PreRestoreEvent).Components().All()[0].SetRestoreTarget(tt.target)
			})
			var used []vss.FileMapping
			x.does(vss.EventPostRestore, func(_ context.Context, ev any) error {
				used = ev.(*vss.PostRestoreEvent).Components().All()[0].Record().AlternateLocations
				return nil
			})
			l.remove(here)
			if tt.present != "" {
				l.write(here, "present")
			}
			if tt.present == "locked" {
				l.must(l.drives["C"].SetAttributes(`\x\f`, volume.ReadOnly))
			}
			_, err := l.restore()
			if (err == nil) != (tt.want != "") {
				t.Errorf("the restore ends with %v", err)
			}
			if err == nil {
				l.has(tt.want, "saved")
			} else if x.statuses["x"] != none {
				t.Errorf("the writer hears %v", x.statuses)
			}
			if tt.want != here && tt.present != "" {
				l.has(here, "present")
			}
			if tt.want != there {
				l.has(there, "-")
			}
			if (len(used) == 1) != (tt.want == there) {
				t.Errorf("the document notes %v", used)
			}
			l.settled()
		})
	}
}

// TestOverALink: a file is restored in place of a link, not through it, and a link
// in place of a file.
func TestOverALink(t *testing.T) {
	l := newLab(t)
	l.write(`C:\x\file`, "saved", `C:\other`, "precious")
	l.must(l.drives["C"].Symlink(`file`, `\x\link`))
	l.add(&app{name: "x", parts: []vss.ComponentInfo{group("x", `C:\x\*`)}})
	l.mustBackup()
	l.remove(`C:\x`)
	l.write(`C:\x\link`, "was a link")
	l.must(l.drives["C"].Symlink(`C:\other`, `\x\file`))
	l.mustRestore()
	l.has(`C:\other`, "precious", `C:\x\file`, "saved", `C:\x\link`, "saved")
	if target, err := l.drives["C"].Readlink(`\x\link`); target != "file" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

// TestThroughADirectory: a backup in a directory of the computer is as good as one
// in memory, links and all.
func TestThroughADirectory(t *testing.T) {
	l, _, _ := standard(t)
	d, err := requester.OpenDirectory(t.TempDir())
	l.must(err)
	defer func() { _ = d.Close() }()
	for range 2 {
		l.mustBackup(func(b *requester.Backup) { b.Target = d })
	}
	l.remove(`D:\db`, `E:\logs`, `D:\mail`, `C:\mail`)
	l.mustRestore(func(r *requester.Restore) { r.Source = d })
	l.has(`D:\db\data.mdf`, "rows", `D:\mail\box\old\bob.pst`, "bob")
	if target, err := l.drives["D"].Readlink(`\mail\box\link`); err != nil || target != `D:\db\data.mdf` {
		t.Errorf("the link leads to %q, %v", target, err)
	}
}

func TestBadDocuments(t *testing.T) {
	write := func(name, text string) func(l *lab) {
		return func(l *lab) { put(l.t, l.target, name, text) }
	}
	metadata := func(l *lab) string {
		entries, err := fs.ReadDir(l.target, requester.WritersName)
		l.must(err)
		return requester.WritersName + "/" + entries[0].Name()
	}
	for _, tt := range []struct {
		name  string
		harm  func(l *lab)
		phase string
		code  error
	}{
		{"no document", func(l *lab) { l.must(l.target.Remove(requester.DocumentName)) }, "load", fs.ErrNotExist},
		{"bad document", write(requester.DocumentName, "<BACKUP_COMP"), "Initialize", vss.ErrInvalidXMLDocument},
		{"document of another kind", write(requester.DocumentName, "<x/>"), "Initialize", vss.ErrInvalidXMLDocument},
		{"empty document", write(requester.DocumentName, ""), "Initialize", vss.ErrInvalidXMLDocument},
		{"no metadata at all", func(l *lab) { l.must(l.target.Rename("Writers", "W")) }, "load", fs.ErrNotExist},
		{"no metadata of a writer", func(l *lab) { l.must(l.target.Remove(metadata(l))) }, "load", requester.ErrNoMetadata},
		{"bad metadata", func(l *lab) { put(l.t, l.target, metadata(l), "]]>") }, "load", vss.ErrInvalidXMLDocument},
		{"a directory for metadata", func(l *lab) { l.must(l.target.Mkdir("Writers/x.xml")) }, "load", nil},
		{"metadata without the component", func(l *lab) {
			name := metadata(l)
			data, err := fs.ReadFile(l.target, name)
			l.must(err)
			put(l.t, l.target, name, strings.NewReplacer(`componentName="data"`, `componentName="lost"`, `componentName="settings"`, `componentName="lost"`).Replace(string(data)))
		}, "load", requester.ErrNoMetadata},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, _, _ := lost(t)
			tt.harm(l)
			r, err := l.restore()
			e, ok := errors.AsType[*requester.Error](err)
			if !ok || e.Phase != tt.phase || tt.code != nil && !errors.Is(err, tt.code) {
				t.Errorf("the restore ends with %v", err)
			}
			if r == nil || r.Files != 0 {
				t.Errorf("the report is %v", r)
			}
			l.settled()
		})
	}
}
