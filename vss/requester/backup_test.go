package requester_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// standard is a machine with two writers: a database with logs and a mail store
// whose components nest.
func standard(t *testing.T, opts ...sim.Option) (l *lab, db, mail *app) {
	l = newLab(t, opts...)
	l.write(
		`D:\db\data.mdf`, "rows", `D:\db\data.tmp`, "scratch", `E:\logs\1.log`, "one", `E:\logs\2.log`, "two",
		`C:\mail\base.cfg`, "config", `D:\mail\box\ann.pst`, "ann", `D:\mail\box\old\bob.pst`, "bob",
		`C:\mail\queue\q1`, "queued", `C:\cache\live.idx`, "index")
	l.must(l.drives["D"].MkdirAll(`\mail\box\empty`))
	l.must(l.drives["D"].Symlink(`D:\db\data.mdf`, `\mail\box\link`))
	d := group("data", `D:\db\data.mdf`)
	d.Type, d.DatabaseFiles, d.Files = vss.ComponentDatabase, d.Files, nil
	d.LogFiles = []vss.FileSet{{FileSpec: spec(`E:\logs\*.log`)}}
	db = l.add(&app{name: "db", parts: []vss.ComponentInfo{d}, excludes: []vss.FileSpec{spec(`D:\db\*.tmp`)}})
	idx := tied(group(`store\index`, `D:\mail\index\*.idx`))
	idx.Files[0].AlternatePath = `C:\cache`
	mail = l.add(&app{name: "mail", parts: []vss.ComponentInfo{
		tied(group("settings", `C:\mail\base.cfg`)),
		group("store", `D:\mail\box\...\*`), idx, group(`store\queue`, `C:\mail\queue\*`), group("spare", `C:\spare\*`),
	}})
	return l, db, mail
}

var standardFiles = []string{
	"files/C/mail/base.cfg", "files/C/mail/queue/q1", "files/D/db/data.mdf", "files/D/mail/box/ann.pst",
	"files/D/mail/box/empty/", "files/D/mail/box/link", "files/D/mail/box/old/bob.pst", "files/D/mail/index/live.idx",
	"files/E/logs/1.log", "files/E/logs/2.log",
}

func TestBackup(t *testing.T) {
	l, db, mail := standard(t)
	db.does(vss.EventThaw, func(context.Context, any) error { // what is live changes at once
		l.write(`D:\db\data.mdf`, "changed")
		l.remove(`E:\logs`, `D:\mail`)
		return nil
	})
	r := l.mustBackup()
	if diff := cmp.Diff(standardFiles, listing(t, l.target, "files")); diff != "" {
		t.Errorf("copied:\n%s", diff)
	}
	if data, err := fs.ReadFile(l.target, "files/D/db/data.mdf"); string(data) != "rows" {
		t.Errorf("the copy holds %q, %v: not the shadow copy's", data, err)
	}
	if target, err := l.target.ReadLink("files/D/mail/box/link"); target != `D:\db\data.mdf` {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	var got []string
	for _, c := range r.Components {
		got = append(got, fmt.Sprint(c.Writer, " ", c.FullPath(), " ", c.Members, " ", c.Files, " ", c.Bytes))
	}
	want := []string{"db data [] 3 10", "mail settings [] 1 6", `mail store [store\index store\queue] 6 17`, "mail spare [] 0 0"}
	if diff := cmp.Diff(want, got); diff != "" || r.Files != 10 || r.Bytes != 33 {
		t.Errorf("%d files, %d bytes of\n%s", r.Files, r.Bytes, diff)
	}
	var names []string
	for _, v := range r.Volumes {
		names = append(names, v.Name)
		if _, err := l.s.Open(v.Device); err == nil {
			t.Errorf("shadow copy %s is still there", v.Device)
		}
	}
	if !slices.Equal(names, []string{`C:\`, `D:\`, `E:\`}) || len(r.Writers) != 2 || r.Set == (guid.GUID{}) {
		t.Errorf("volumes %q, writers %v, set %v", names, r.Writers, r.Set)
	}
	if diff := cmp.Diff(map[string]bool{"settings": true, "store": true, "spare": true}, mail.saved); diff != "" {
		t.Errorf("the writer hears that files are safe:\n%s", diff)
	}
}

// calls are the requester's calls in a trace, without repetitions.
func calls(tr sim.Trace) string {
	var names []string
	for _, e := range tr {
		if name, ok := strings.CutPrefix(e.Kind, "requester/"); ok && !strings.HasSuffix(name, ".end") {
			names = append(names, name)
		}
	}
	return strings.Join(slices.Compact(names), " ")
}

func TestOrderOfCalls(t *testing.T) {
	l, _, _ := standard(t)
	l.mustBackup()
	want := "InitializeForBackup SetBackupState GatherWriterMetadata AddComponent StartSnapshotSet AddToSnapshotSet PrepareForBackup GatherWriterStatus " +
		"DoSnapshotSet GatherWriterStatus copy SetBackupSucceeded BackupComplete GatherWriterStatus Release"
	if got := calls(l.w.Trace()); got != want {
		t.Errorf("the backup calls\n%s, want\n%s", got, want)
	}
	before := len(l.w.Trace())
	l.mustRestore()
	want = "InitializeForRestore GatherWriterMetadata SetSelectedForRestore PreRestore GatherWriterStatus restore SetFileRestoreStatus PostRestore GatherWriterStatus Release"
	if got := calls(l.w.Trace()[before:]); got != want {
		t.Errorf("the restore calls\n%s, want\n%s", got, want)
	}
}

func TestDocuments(t *testing.T) {
	l, db, _ := standard(t)
	l.add(&app{name: "db2", class: db.class, instance: "second", parts: []vss.ComponentInfo{group("x", `C:\x\*`)}})
	l.mustBackup()
	f, err := l.target.Open(requester.DocumentName)
	l.must(err)
	doc, err := vss.ReadBackupComponents(f)
	l.must(err)
	if len(doc.Writers) != 3 || doc.BackupType != vss.BackupFull || !doc.Writers[0].Components[0].BackupSucceeded {
		t.Errorf("the document says %+v", doc)
	}
	entries, err := fs.ReadDir(l.target, requester.WritersName)
	l.must(err)
	names := make(map[string]string)
	for _, e := range entries {
		f, err := l.target.Open(requester.WritersName + "/" + e.Name())
		l.must(err)
		m, err := vss.ReadWriterMetadata(f)
		l.must(err)
		names[m.Identity.FriendlyName] = e.Name()
	}
	class := guid.String(db.class)
	want := map[string]string{
		"db":   class + "_" + guid.String(db.sub.InstanceID()) + ".xml",
		"db2":  class + "_" + guid.String(l.apps[2].sub.InstanceID()) + ".xml",
		"mail": guid.String(l.apps[1].class) + ".xml",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("metadata documents:\n%s", diff)
	}
}

func TestSelect(t *testing.T) {
	for _, tt := range []struct {
		wanted string
		want   string
	}{
		{"spare", "settings spare"},
		{"store", "settings store"},
		{`store\queue`, `settings store\queue`},
		{"data", "data"},
		{"nothing", ""},
	} {
		t.Run(tt.wanted, func(t *testing.T) {
			l, _, _ := standard(t)
			r, err := l.backup(func(b *requester.Backup) { b.Select = is(tt.wanted) })
			l.settled()
			if tt.want == "" {
				l.asFailed(err, "AddComponent", requester.ErrNothing)
				return
			}
			l.must(err)
			var got []string
			for _, c := range r.Components {
				got = append(got, c.FullPath())
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("chose %q, want %s", got, tt.want)
			}
		})
	}
}

// TestVetoes: a writer that refuses an event, in any way, fails the backup in the
// phase after which its status is looked at; it fails nothing that it is not in.
func TestVetoes(t *testing.T) {
	for event, phase := range map[vss.Event]string{
		vss.EventPrepareBackup:   "PrepareForBackup",
		vss.EventPrepareSnapshot: "DoSnapshotSet",
		vss.EventFreeze:          "DoSnapshotSet",
		vss.EventThaw:            "DoSnapshotSet",
		vss.EventPostSnapshot:    "DoSnapshotSet",
		vss.EventBackupComplete:  "BackupComplete",
	} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprint(event, " dies ", dies), func(t *testing.T) {
				l, db, mail := standard(t)
				code := vss.ErrWriterErrorRetryable
				db.fails(event, code)
				if dies {
					code = vss.ErrWriterNotResponding
					db.does(event, func(context.Context, any) error { db.actor.Kill(); return nil })
				}
				_, err := l.backup()
				if dies && event == vss.EventBackupComplete {
					l.asFailed(err, phase, vss.ErrUnexpectedWriterError)
				} else {
					l.asFailed(err, phase, code, "db")
				}
				l.noDocument()
				l.settled()
				if event != vss.EventBackupComplete && slices.Contains(mail.heard, "BackupComplete") {
					t.Error("the other writer hears that the backup is complete")
				}
				db.on = nil
				r := l.mustBackup()
				if alive := map[bool]int{false: 4, true: 3}[dies]; len(r.Components) != alive {
					t.Errorf("the next backup has %d components", len(r.Components))
				}
			})
		}
	}
}

func TestForeignFailureIsIgnored(t *testing.T) {
	l, db, _ := standard(t)
	db.fails(vss.EventFreeze, vss.ErrWriterErrorRetryable)
	l.mustBackup(func(b *requester.Backup) { b.Select = is("store") })
}

func TestVetoFailsSet(t *testing.T) {
	l, _, _ := standard(t, sim.Plan("provider/commit err=0x80042306"))
	_, err := l.backup()
	l.asFailed(err, "DoSnapshotSet", vss.ErrProviderVeto)
	if e := err.Error(); strings.Contains(e, "AbortBackup") {
		t.Errorf("giving up adds to the error: %s", e)
	}
	l.noDocument()
	l.settled()
}

// TestShadowCopyStays: the backup is whole, and the shadow copy that could not be
// deleted is told.
func TestShadowCopyStays(t *testing.T) {
	l, _, _ := standard(t, sim.Plan("provider/delete err=0x80042306"))
	r, err := l.backup()
	l.asFailed(err, "Release", vss.ErrProviderVeto)
	if r == nil || r.Files != 10 {
		t.Fatalf("the result is %v", r)
	}
	if _, err := fs.Stat(l.target, requester.DocumentName); err != nil || len(l.s.Leftovers()) != 1 {
		t.Errorf("document: %v; left over: %q", err, l.s.Leftovers())
	}
}

func TestUnknownVolume(t *testing.T) {
	for _, path := range []string{`X:\y\*`, `\\server\share\*`, `\y\*`, `%Nowhere%\y\*`, `\\?\Volume{00000000-0000-0000-0000-0000000000ff}\y\*`} {
		t.Run(path, func(t *testing.T) {
			l, _, _ := standard(t)
			l.add(&app{name: "lost", parts: []vss.ComponentInfo{group("far", path)}})
			_, err := l.backup()
			l.asFailed(err, "AddComponent", vss.ErrObjectNotFound)
			if e, _ := errors.AsType[*requester.Error](err); e.On != "far" {
				t.Errorf("the error is about %q", e.On)
			}
			if got := calls(l.w.Trace()); strings.Contains(got, "StartSnapshotSet") {
				t.Errorf("found out too late: %s", got)
			}
			l.settled()
		})
	}
}

// TestPathsOfOneFile: whatever a path looks like, a file is copied once and to the
// place of its drive.
func TestPathsOfOneFile(t *testing.T) {
	l := newLab(t)
	l.write(`D:\Data\a.txt`, "a", `D:\Data\Sub\b.txt`, "b", `E:\alt\c.txt`, "c")
	third := group("three", `d:\DATA\sub\*`)
	third.Files[0].AlternatePath = `E:\alt\`
	db := l.add(&app{name: "db", parts: []vss.ComponentInfo{
		group("one", `D:\Data\*`),
		group("two", `\\?\Volume`+guid.Braced(l.drives["D"].ID())+`\data\A.txt`, `%root%\data\...\*`, `\\?\d:\data\\a.txt`),
		third,
	}})
	env := map[string]string{"Root": `d:\`}
	r := l.mustBackup(func(b *requester.Backup) { b.Environment = env })
	got := listing(t, l.target, "files")
	if want := []string{"files/D/Data/Sub/b.txt", "files/D/Data/Sub/c.txt", "files/D/Data/a.txt"}; !slices.Equal(got, want) || r.Files != 3 {
		t.Errorf("%d files: %q", r.Files, got)
	}
	l.remove(`D:\Data`)
	l.mustRestore(func(r *requester.Restore) { r.Environment = env })
	l.has(`D:\Data\a.txt`, "a", `D:\Data\Sub\b.txt`, "b", `D:\Data\Sub\c.txt`, "c")
	if db.statuses["two"] != vss.FilesAll {
		t.Errorf("the writer hears %v", db.statuses)
	}
}

func TestMasks(t *testing.T) {
	l := newLab(t)
	l.write(`D:\x\full`, "f", `D:\x\log`, "l")
	c := group("x", `D:\x\full`, `D:\x\log`)
	c.Files[0].Mask = vss.FullBackupRequired | vss.FullSnapshotRequired
	c.Files[1].Mask = vss.AllBackupRequired | vss.AllSnapshotRequired
	l.add(&app{name: "x", schema: vss.SchemaIncremental | vss.SchemaLastModify, parts: []vss.ComponentInfo{c}})
	l.add(&app{name: "y", parts: []vss.ComponentInfo{group("y", `D:\x\full`)}})
	r := l.mustBackup(func(b *requester.Backup) { b.Type = vss.BackupIncremental; b.Select = is("x") })
	if got := listing(t, l.target, "files"); !slices.Equal(got, []string{"files/D/x/log"}) || r.Files != 1 {
		t.Errorf("an incremental backup holds %q", got)
	}
	l.mustRestore()
	r = l.mustBackup(func(b *requester.Backup) { b.Type = vss.BackupIncremental })
	if r.Files != 2 {
		t.Errorf("a writer without incremental backups must be backed up in full: %d files", r.Files)
	}
}

func TestMissingFile(t *testing.T) {
	l, _, _ := standard(t)
	l.remove(`D:\db\data.mdf`)
	_, err := l.backup()
	l.asFailed(err, "copy", vss.ErrObjectNotFound)
	l.noDocument()
	l.settled()
}

// TestTargetTwice: a second backup leaves nothing of the first, not even of a
// failed one, and a backup that fails early leaves the first one alone.
func TestTargetTwice(t *testing.T) {
	l, db, _ := standard(t)
	l.mustBackup()
	l.remove(`E:\logs\2.log`, `D:\mail\box\old`)
	db.fails(vss.EventFreeze, vss.ErrWriterErrorRetryable)
	if _, err := l.backup(); err == nil {
		t.Fatal("the backup succeeds")
	}
	if diff := cmp.Diff(standardFiles, listing(t, l.target, "files")); diff != "" {
		t.Errorf("a failure touched the backup before it:\n%s", diff)
	}
	db.on = nil
	l.w.Inject(sim.Fault{Point: requester.FaultCopy, Nth: 3, Outcome: sim.Outcome{Err: 0x80070070}})
	_, err := l.backup()
	l.asFailed(err, "copy", vss.HRESULT(0x80070070))
	l.noDocument()
	l.mustBackup()
	got := listing(t, l.target, "files")
	if slices.Contains(got, "files/E/logs/2.log") || slices.Contains(got, "files/D/mail/box/old/bob.pst") || len(got) != 8 {
		t.Errorf("the target holds %q", got)
	}
}

func TestForeignTarget(t *testing.T) {
	l, _, _ := standard(t)
	l.must(l.target.Mkdir("files"))
	put(t, l.target, "files/thesis.doc", "years of work")
	_, err := l.backup()
	l.asFailed(err, "save", requester.ErrNotATarget)
	l.settled()
	if got := listing(t, l.target, "files"); !slices.Equal(got, []string{"files/thesis.doc"}) {
		t.Errorf("now there is %q", got)
	}
}

func TestContexts(t *testing.T) {
	l, _, _ := standard(t)
	l.mustBackup(func(b *requester.Backup) { b.Context = vss.ContextAppRollback })
	if n := len(l.s.Snapshots()); n != 3 {
		t.Errorf("%d shadow copies persist", n)
	}
	_, err := l.backup(func(b *requester.Backup) { b.Context = vss.ContextAll })
	l.asFailed(err, "AddComponent", vss.ErrBadState) // nothing can be created in it
	_, err = l.backup(func(b *requester.Backup) { b.Context = 0x77 })
	l.asFailed(err, "Initialize", vss.ErrInvalidArg)
	l.settled()
}

// TestNotAllowed: a requester that may not even begin says so, and nothing else.
func TestNotAllowed(t *testing.T) {
	w := sim.New()
	defer func() { _ = w.Close() }()
	s := vss.NewService(w.Actor("h1"), vss.ServiceConfig{Account: func(a *sim.Actor) vss.Account {
		if strings.HasPrefix(a.Path(), "requester") {
			return vss.OrdinaryUser
		}
		return vss.Administrator
	}})
	target := &requester.Memory{}
	_, err := (&requester.Backup{Service: s, Target: target}).Run(t.Context())
	if e, ok := errors.AsType[*requester.Error](err); !ok || e.Phase != "CreateBackupComponents" || !errors.Is(err, vss.ErrAccessDenied) {
		t.Errorf("a backup: %v", err)
	}
	put(t, target, requester.DocumentName, "<x/>")
	_, err = (&requester.Restore{Service: s, Source: target, Destination: target}).Run(t.Context())
	if e, ok := errors.AsType[*requester.Error](err); !ok || e.Phase != "CreateBackupComponents" || !errors.Is(err, vss.ErrAccessDenied) {
		t.Errorf("a restore: %v", err)
	}
}

func TestOneSetAtATime(t *testing.T) {
	l, _, _ := standard(t)
	ctx := t.Context()
	b, err := l.s.CreateBackupComponents(ctx)
	l.must(err)
	l.must(errors.Join(b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx)))
	_, err = b.StartSnapshotSet(ctx)
	l.must(err)
	_, err = l.backup()
	l.asFailed(err, "StartSnapshotSet", vss.ErrSnapshotSetInProgress)
	l.must(b.Release(ctx))
	l.mustBackup()
}

// TestSparse: a terabyte with a few bytes in it is backed up and restored as what
// it is.
func TestSparse(t *testing.T) {
	l := newLab(t)
	l.add(&app{name: "db", parts: []vss.ComponentInfo{group("disk", `D:\disk`)}})
	const size = 1 << 40
	f, err := l.drives["D"].Create(`\disk`)
	l.must(err)
	_, err = f.WriteAt([]byte("middle"), size/2-3)
	l.must(errors.Join(err, f.Resize(size), f.Close()))
	r := l.mustBackup()
	if r.Bytes != size {
		t.Errorf("%d bytes were copied", r.Bytes)
	}
	l.remove(`D:\disk`)
	l.mustRestore()
	f, err = l.drives["D"].Open(`\disk`)
	l.must(err)
	defer func() { _ = f.Close() }()
	p := make([]byte, 8)
	if _, err := f.ReadAt(p, size/2-4); err != nil || string(p) != "\x00middle\x00" || f.Size() != size {
		t.Errorf("restored %d bytes, in the middle %q, %v", f.Size(), p, err)
	}
	info, err := l.drives["D"].Stat(`\disk`)
	if err != nil || info.Allocated() > 1<<20 {
		t.Errorf("it takes %d bytes, %v", info.Allocated(), err)
	}
}
