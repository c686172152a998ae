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
)

// stamped is a writer that gives stamps s1, s2 … and notes what it hears.
func stamped(l *lab) (db *app, previous, more *[]string) {
	previous, more = new([]string), new([]string)
	n := 0
	db = &app{
		name: "db", schema: vss.SchemaIncremental | vss.SchemaDifferential | vss.SchemaTimestamped,
		parts: []vss.ComponentInfo{group("db", `D:\db\*`)},
	}
	db.does(vss.EventPostSnapshot, component(func(c *vss.WriterComponent) error {
		n++
		*previous = append(*previous, c.Record().PreviousBackupStamp)
		return c.SetBackupStamp(fmt.Sprint("s", n))
	}))
	db.does(vss.EventPostRestore, component(func(c *vss.WriterComponent) error {
		*more = append(*more, fmt.Sprint(c.AdditionalRestores()))
		return nil
	}))
	return l.add(db), previous, more
}

func TestChain(t *testing.T) {
	l := newLab(t)
	_, previous, more := stamped(l)
	targets := []fs.FS{}
	backup := func(typ vss.BackupType, previous fs.FS) {
		t.Helper()
		target := &requester.Memory{}
		l.mustBackup(func(b *requester.Backup) { b.Target, b.Type, b.Previous = target, typ, previous })
		targets = append(targets, target)
	}
	l.write(`D:\db\a`, "1", `D:\db\b`, "1")
	backup(vss.BackupFull, nil)
	l.write(`D:\db\a`, "2")
	backup(vss.BackupIncremental, targets[0])
	l.write(`D:\db\b`, "3")
	backup(vss.BackupIncremental, targets[1])
	backup(vss.BackupDifferential, targets[0])
	if diff := cmp.Diff([]string{"", "s1", "s2", "s1"}, *previous); diff != "" {
		t.Errorf("previous stamps:\n%s", diff)
	}
	l.remove(`D:\db`)
	r := &requester.Restore{Service: l.s, Destination: l.files}
	reports, err := r.RunChain(t.Context(), targets[:3]...)
	l.must(err)
	l.has(`D:\db\a`, "2", `D:\db\b`, "3")
	if !slices.Equal(*more, []string{"true", "true", "false"}) || len(reports) != 3 {
		t.Errorf("%d reports; more restores: %v", len(reports), *more)
	}
	before := len(l.w.Trace())
	for _, wrong := range [][]int{{1}, {0, 0}, {0, 2}, {2, 1, 0}, {0, 3, 1}, {0, 1, 3}, {3}} {
		var chain []fs.FS
		for _, i := range wrong {
			chain = append(chain, targets[i])
		}
		if _, err := r.RunChain(t.Context(), chain...); !errors.Is(err, requester.ErrNotAChain) {
			t.Errorf("chain %v: %v", wrong, err)
		}
	}
	if got := calls(l.w.Trace()[before:]); got != "" {
		t.Errorf("what is no chain leads to %s", got)
	}
	if err := requester.CheckChain(targets[0], targets[3]); err != nil {
		t.Error(err)
	}
}

func TestSelectionFile(t *testing.T) {
	l, db, mail := standard(t)
	text := fmt.Sprintf(`<?xml version="1.0"?><BETest xmlns="x-schema:#BETest">
		<Writer writerid="{%s}"/> <Writer writerid="%s"><Component logicalPath="store" componentName="Queue" x="y"/><Odd/></Writer><More/></BETest>`,
		guid.String(db.class), guid.Upper(mail.class))
	s, err := requester.ReadSelection(strings.NewReader(text))
	l.must(err)
	if len(s.Unknown) != 2 || len(s.Writers) != 2 {
		t.Errorf("read %+v", s)
	}
	r := l.mustBackup(func(b *requester.Backup) { b.Selection = s })
	var got []string
	for _, c := range r.Components {
		got = append(got, c.FullPath())
	}
	if diff := cmp.Diff([]string{"data", "settings", `store\queue`}, got); diff != "" {
		t.Error(diff)
	}
	s.Writers[1].Components[0].Name = "none"
	_, err = l.backup(func(b *requester.Backup) { b.Selection = s })
	l.asFailed(err, "AddComponent", vss.ErrObjectNotFound)
	l.settled()
}

func TestSelectionFileErrors(t *testing.T) {
	for _, text := range []string{
		"", "<BETest>", "<Other/>", `<BETest><Writer/></BETest>`, `<BETest><Writer writerid="x"/></BETest>`,
		`<BETest><Writer writerid="66841cd4-6ded-4f4b-8f17-fd23f8ddc3de"><Component/></Writer></BETest>`,
	} {
		_, err := requester.ReadSelection(strings.NewReader(text))
		if e, ok := errors.AsType[*requester.SelectionError](err); !ok || e.Error() == "" || !strings.HasPrefix(e.Error(), "component selection: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzReadSelection(f *testing.F) {
	f.Add(`<BETest><Writer writerid="66841cd4-6ded-4f4b-8f17-fd23f8ddc3de"><Component logicalPath="a\b" componentName="c"/></Writer></BETest>`)
	f.Add(`<BETest xmlns="x"><Writer writerid="{66841CD4-6ded-4f4b-8f17-fd23f8ddc3de}"/><!-- no --></BETest>`)
	f.Add("\xff\xfe<\x00B\x00")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := requester.ReadSelection(strings.NewReader(text))
		if (err == nil) == (s == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if _, ok := errors.AsType[*requester.SelectionError](err); err != nil && !ok {
			t.Fatalf("an error of another type: %v", err)
		}
		if s == nil {
			return
		}
		for _, w := range s.Writers {
			for _, c := range w.Components {
				if c.Name == "" || len(c.Name) > len(text) {
					t.Fatalf("component %q", c)
				}
			}
		}
	})
}

// TestDependencies: what a component needs comes along, whichever writer has it,
// in the backup and in the restore; what is not there is an error.
func TestDependencies(t *testing.T) {
	setup := func() (*lab, *app) {
		l := newLab(t)
		l.write(`D:\web\index`, "w", `D:\db\rows`, "d", `D:\db\logs`, "l", `E:\other`, "o")
		db := l.add(&app{name: "db", parts: []vss.ComponentInfo{
			group("base", `D:\db\rows`), tied(group(`base\logs`, `D:\db\logs`)), group("other", `E:\other`),
		}})
		web := group("site", `D:\web\*`)
		web.Dependencies = []vss.Dependency{
			{WriterID: db.class, ComponentKey: vss.ComponentKey{LogicalPath: "base", Name: "logs"}},
			{WriterID: db.class, ComponentKey: vss.ComponentKey{LogicalPath: `\\far\x`, Name: "y"}},
		}
		l.add(&app{name: "web", parts: []vss.ComponentInfo{web}})
		return l, db
	}
	l, db := setup()
	r := l.mustBackup(func(b *requester.Backup) { b.Select = is("site") })
	var got []string
	for _, c := range r.Components {
		got = append(got, c.FullPath())
	}
	if diff := cmp.Diff([]string{"base", "site"}, got); diff != "" {
		t.Error(diff)
	}
	l.remove(`D:\web`, `D:\db`)
	l.mustRestore(func(r *requester.Restore) { r.Select = is("site") })
	l.has(`D:\web\index`, "w", `D:\db\rows`, "d", `D:\db\logs`, "l")
	if db.statuses["base"] != vss.FilesAll {
		t.Errorf("the writer hears %v", db.statuses)
	}
	l, db = setup()
	db.fails(vss.EventIdentify, vss.ErrWriterErrorRetryable)
	_, err := l.backup()
	l.asFailed(err, "AddComponent", requester.ErrDependency)
	l.settled()
}

// TestSubcomponents: a component that came along is restored by itself.
func TestSubcomponents(t *testing.T) {
	for _, bySelection := range []bool{false, true} {
		l := newLab(t)
		l.write(`D:\s\a`, "a", `D:\s\q`, "q", `D:\s\p`, "p")
		q := tied(group(`store\queue`, `D:\s\q`))
		q.SelectableForRestore = true
		mail := l.add(&app{name: "mail", parts: []vss.ComponentInfo{
			group("store", `D:\s\a`), q, tied(group(`store\queue\part`, `D:\s\p`)), tied(group(`store\rest`, `D:\s\a*`)),
		}})
		var subs []vss.RestoreSubcomponent
		mail.does(vss.EventPreRestore, component(func(c *vss.WriterComponent) error { subs = c.Record().Subcomponents; return nil }))
		l.mustBackup()
		l.remove(`D:\s`)
		l.mustRestore(func(r *requester.Restore) {
			if bySelection {
				r.Selection = &requester.Selection{Writers: []requester.SelectedWriter{{WriterID: mail.class, Components: []vss.ComponentKey{q.ComponentKey}}}}
				return
			}
			r.Subcomponents = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool { return c.Name == "queue" }
		})
		l.has(`D:\s\a`, "-", `D:\s\q`, "q", `D:\s\p`, "p")
		if len(subs) != 1 || subs[0].Name != "queue" {
			t.Errorf("the writer sees %v", subs)
		}
	}
}

// TestOptions: what the requester has to say reaches the writer.
func TestOptions(t *testing.T) {
	l := newLab(t)
	l.write(`D:\a`, "a")
	db := l.add(&app{
		name: "db", schema: vss.SchemaAuthoritativeRestore | vss.SchemaRollForwardRestore | vss.SchemaRestoreRename | vss.SchemaRestoreWithMove,
		parts: []vss.ComponentInfo{group("db", `D:\*`)},
	})
	var got []string
	note := component(func(c *vss.WriterComponent) error {
		r := c.Record()
		got = append(got, fmt.Sprint(r.BackupOptions, r.RestoreOptions, r.AuthoritativeRestore, r.RollForward, r.RollForwardPoint, r.RestoreName, r.SelectedInstance == db.sub.InstanceID()))
		return nil
	})
	db.does(vss.EventPrepareBackup, note)
	db.does(vss.EventPreRestore, func(ctx context.Context, ev any) error {
		if typ := ev.(*vss.PreRestoreEvent).RestoreType(); typ != vss.RestoreOther {
			t.Errorf("the restore is %v", typ)
		}
		return note(ctx, ev)
	})
	l.mustBackup(func(b *requester.Backup) {
		b.Options = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) string { return "fast " + c.Name }
	})
	l.mustRestore(func(r *requester.Restore) {
		r.Type = vss.RestoreOther
		r.Options = func(*vss.WriterMetadata, *vss.ComponentInfo) requester.ComponentOptions {
			return requester.ComponentOptions{
				Options: "o", Authoritative: true, RollForward: vss.RollForwardPartial, RollForwardPoint: "noon", Name: "new", Instance: db.sub.InstanceID(),
			}
		}
	})
	want := []string{"fast db" + "false VSS_RF_UNDEFINEDfalse", "fast db" + "otrue VSS_RF_PARTIALnoonnewtrue"}
	for i := range got {
		got[i], want[i] = strings.ReplaceAll(got[i], " ", ""), strings.ReplaceAll(want[i], " ", "")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPartOfABackup: what the writers hear of shadow copies alone, of BackupComplete
// alone, and of a backup that is left incomplete.
func TestPartOfABackup(t *testing.T) {
	l, db, _ := standard(t)
	l.mustBackup(func(b *requester.Backup) { b.SnapshotOnly, b.Target = true, nil })
	if db.saved["data"] || !slices.Contains(db.heard, "BackupComplete") {
		t.Errorf("the writer hears %v, %v", db.saved, db.heard)
	}
	db.heard, db.saved = nil, make(map[string]bool)
	result := l.mustBackup(func(b *requester.Backup) { b.CompleteOnly, b.Target = true, nil })
	if want := []string{"Identify", "PrepareBackup", "BackupComplete", "BackupShutdown"}; !slices.Equal(db.heard, want) || db.saved["data"] {
		t.Errorf("the writer hears %v, %v", db.heard, db.saved)
	}
	if len(result.Volumes) != 0 || len(result.Components) == 0 || len(l.s.Snapshots()) != 0 {
		t.Errorf("the result is %+v", result)
	}
	db.heard = nil
	l.mustBackup(func(b *requester.Backup) { b.LeaveIncomplete = true })
	if slices.Contains(db.heard, "BackupComplete") || !slices.Contains(db.heard, "BackupShutdown") {
		t.Errorf("the writer hears %v", db.heard)
	}
	l.mustRestore()
}
