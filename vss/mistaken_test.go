package vss_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// TestRulesOftenMistaken has the rules that writers of backup software, and of
// simulators, get wrong most often.
func TestRulesOftenMistaken(t *testing.T) {
	for _, rule := range []struct {
		name string
		test func(t *testing.T, m *machine)
	}{
		{"freeze goes front end, back end, system, and the default is front end", mistakenOrder},
		{"stable lasts through PrepareBackup", mistakenStable},
		{"failing PrepareSnapshot or PostSnapshot raises no Abort, failing Freeze or Thaw does", mistakenAborts},
		{"the freeze window is the writer's own, from its Freeze to its Thaw", mistakenWindow},
		{"a finished DoSnapshotSet says nothing of the writers", mistakenSuccess},
		{"one provider kills the set, and hears of an abandoned one only by the next", mistakenProviders},
		{"the hold of 10 s is no part of the freeze window and has its own error", mistakenClocks},
		{"the second requester fails at once", mistakenLock},
		{"SetContext works once, the context for all creates nothing, most attributes are not the requester's", mistakenContext},
		{"without writers AddComponent, PrepareForBackup and BackupComplete are errors", mistakenNoWriters},
		{"Identify comes in the middle of a session, and a writer that fails it is in no list", mistakenIdentify},
		{"component mode decides who hears anything", mistakenParticipants},
		{"nonselectable means mandatory, or never", mistakenSelectable},
		{"AddRestoreSubcomponent narrows what was selected before", mistakenSubcomponents},
		{"what is said of a set stands at its explicit component", mistakenSets},
		{"the document closes for writers, metadata is set once, handles die", mistakenEdits},
		{"alternate path, alternate location and new target are three things", mistakenPaths},
		{"the original target is not the original location", mistakenTarget},
		{"FAILED is partial, NONE is clean, and more restores must be announced", mistakenStatus},
		{"BackupShutdown always comes, Wait says nothing, mask bits and types run crosswise", mistakenShutdown},
	} {
		t.Run(rule.name, func(t *testing.T) { rule.test(t, newMachine(t, vss.ServiceConfig{})) })
	}
}

func (m *machine) run(fn func(ctx context.Context) error) {
	m.t.Helper()
	m.must(m.as(fn))
}

func mistakenOrder(t *testing.T, m *machine) {
	if vss.LevelFrontEnd != 3 || vss.LevelBackEnd != 2 || vss.LevelSystem != 1 {
		t.Error("the numbers run the other way")
	}
	s := m.subscribe("S", vss.WriterConfig{Level: vss.LevelSystem})
	d := m.subscribe("D", vss.WriterConfig{})
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, s, m.b, d, m.f)
		return errors.Join(err, b.DoSnapshotSet(ctx), b.Release(ctx))
	})
	if got := order(m.w, "vss/freeze"); got != "F D B S" {
		t.Error(got)
	}
}

func mistakenStable(t *testing.T, m *machine) {
	m.b.on[vss.EventPrepareSnapshot] = func(ctx context.Context, _ any) error {
		if st := m.b.sub.Status().State; st != vss.StateStable {
			t.Errorf("inside PrepareSnapshot %v", st)
		}
		return nil
	}
	m.f.on[vss.EventFreeze] = func(ctx context.Context, _ any) error {
		if st := m.b.sub.Status().State; st != vss.StateWaitingForFreeze {
			t.Errorf("behind PrepareSnapshot %v", st)
		}
		return nil
	}
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		if st, _, _ := status(ctx, b, m.b); st != vss.StateStable {
			t.Errorf("behind PrepareForBackup %v", st)
		}
		return errors.Join(err, b.DoSnapshotSet(ctx), b.Release(ctx))
	})
}

func mistakenAborts(t *testing.T, _ *machine) {
	for e, want := range map[vss.Event]bool{vss.EventPrepareSnapshot: false, vss.EventFreeze: true, vss.EventThaw: true, vss.EventPostSnapshot: false} {
		m := newMachine(t, vss.ServiceConfig{})
		m.b.fails(e, retryable)
		m.run(func(ctx context.Context) error {
			b, err := m.prepared(ctx, m.f, m.b)
			return errors.Join(err, b.DoSnapshotSet(ctx), b.Release(ctx))
		})
		if got := slices.Contains(m.b.heard, "Abort"); got != want || slices.Contains(m.f.heard, "Abort") {
			t.Errorf("%v: B heard %v, F %v", e, m.b.heard, m.f.heard)
		}
	}
}

func mistakenWindow(t *testing.T, m *machine) {
	m.b.sleeps(vss.EventFreeze, 50*time.Second)
	m.b.sleeps(vss.EventThaw, 20*time.Second) // the window ends where this begins
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		st, code, e := status(ctx, b, m.b)
		if st != vss.StateWaitingForBackupComplete || code != vss.SOK {
			t.Errorf("B, frozen for 50 s and thawing for 20: %v, %v", st, code)
		}
		return errors.Join(err, e, b.Release(ctx))
	})
	slow := newMachine(t, vss.ServiceConfig{}, sim.Plan("provider/post-commit delay=15s"))
	slow.f.sleeps(vss.EventFreeze, 50*time.Second) // B is frozen behind it
	slow.run(func(ctx context.Context) error {
		b, err := slow.prepared(ctx, slow.f, slow.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		st, code, e := status(ctx, b, slow.f)
		if st != vss.StateFailedAtFreeze || code != 0x800423F2 || !slices.Contains(slow.f.heard, "Abort") || slices.Contains(slow.f.heard, "Thaw") {
			t.Errorf("F, frozen for 65 s: %v, %v, heard %v", st, code, slow.f.heard)
		}
		st, _, e2 := status(ctx, b, slow.b)
		if st != vss.StateWaitingForBackupComplete {
			t.Errorf("B, frozen for 15 s: %v", st)
		}
		return errors.Join(err, e, e2, b.Release(ctx))
	})
}

func mistakenSuccess(t *testing.T, m *machine) {
	m.b.fails(vss.EventPrepareSnapshot, retryable)
	m.f.fails(vss.EventPostSnapshot, vss.ErrWriterErrorOutOfResources)
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		a, e := b.StartDoSnapshotSet(ctx)
		err = errors.Join(err, e, a.Wait(ctx))
		if h, _ := a.QueryStatus(ctx); h != vss.AsyncFinished || len(m.s.Snapshots()) != 2 {
			t.Errorf("%v, %d copies", h, len(m.s.Snapshots()))
		}
		_, code, _ := status(ctx, b, m.b)
		_, code2, _ := status(ctx, b, m.f)
		if code != retryable || code2 != vss.ErrWriterErrorOutOfResources {
			t.Errorf("%v, %v", code, code2)
		}
		return errors.Join(err, b.Release(ctx))
	})
}

func mistakenProviders(t *testing.T, m *machine) {
	p := newPicky(`D:\`)
	m.must(m.s.RegisterProvider(p, vss.ProviderConfig{ID: guid.GUID{0x71}, Name: "picky"}))
	m.run(func(ctx context.Context) error {
		given, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, given.AbortBackup(ctx), given.Release(ctx))
		if slices.Contains(p.step, "Abort") {
			t.Errorf("an abandoned set: %v", p.step)
		}
		b, e := m.prepared(ctx, m.f, m.b)
		p.commit = func(context.Context) error { return vss.ErrProviderVeto }
		if e := b.DoSnapshotSet(ctx); !errors.Is(e, vss.ErrProviderVeto) || len(m.s.Snapshots())+len(m.c.shadows) != 0 {
			t.Errorf("%v, %d copies", e, len(m.c.shadows))
		}
		if p.step[len(p.step)-1] != "Abort" || !slices.Contains(m.f.heard, "Abort") {
			t.Errorf("%v, F heard %v", p.step, m.f.heard)
		}
		return errors.Join(err, e, b.Release(ctx))
	})
}

func mistakenClocks(t *testing.T, _ *machine) {
	m := newMachine(t, vss.ServiceConfig{Windows: map[vss.Event]time.Duration{vss.EventFreeze: time.Hour}}, sim.Plan("provider/commit delay=11s"))
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		if e := b.DoSnapshotSet(ctx); !errors.Is(e, vss.ErrHoldWritesTimeout) || sim.Now(ctx) != 10*time.Second {
			t.Errorf("%v at %v", e, sim.Now(ctx))
		}
		if st, code, _ := status(ctx, b, m.f); st != vss.StateStable || code != vss.SOK {
			t.Errorf("a writer that did nothing wrong is %v, %v", st, code)
		}
		return errors.Join(err, b.Release(ctx))
	})
}

func mistakenLock(t *testing.T, m *machine) {
	m.f.sleeps(vss.EventPostSnapshot, time.Minute)
	m.run(func(ctx context.Context) error {
		first, err := m.prepared(ctx, m.f, m.b)
		a, e := first.StartDoSnapshotSet(ctx)
		err = errors.Join(err, e, sim.Sleep(ctx, time.Second))
		second, e := m.prepared(ctx, m.f, m.b)
		if !errors.Is(e, vss.ErrSnapshotSetInProgress) || sim.Now(ctx) != time.Second {
			t.Errorf("%v at %v", e, sim.Now(ctx))
		}
		err = errors.Join(err, a.Wait(ctx))
		if _, e := second.StartSnapshotSet(ctx); e != nil {
			t.Errorf("with the first set made: %v", e)
		}
		return errors.Join(err, second.Release(ctx), first.Release(ctx))
	})
}

func mistakenContext(t *testing.T, m *machine) {
	settable := vss.SnapshotAttributes(0x2 | 0x20 | 0x80 | 0x20000 | 0x40000 | 0x800000 | 0x2000000)
	m.run(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetContext(ctx, vss.ContextAll), b.GatherWriterMetadata(ctx))
		if e := b.SetContext(ctx, vss.ContextAll); !errors.Is(e, vss.ErrBadState) {
			t.Errorf("twice: %v", e)
		}
		_, e := b.Query(ctx)
		err = errors.Join(err, e)
		if _, e := b.StartSnapshotSet(ctx); !errors.Is(e, vss.ErrBadState) {
			t.Errorf("a set: %v", e)
		}
		for bit := vss.SnapshotAttributes(0x40); bit <= 0x4000000; bit <<= 1 {
			o, e := m.s.CreateBackupComponents(ctx)
			err = errors.Join(err, e, o.InitializeForBackup(ctx, nil))
			if e := o.SetContext(ctx, vss.ContextBackup.With(bit)); (e == nil) != (settable&bit != 0) || e != nil && !errors.Is(e, vss.ErrInvalidArg) {
				t.Errorf("%v: %v", bit, e)
			}
			err = errors.Join(err, o.Release(ctx))
		}
		return errors.Join(err, b.Release(ctx))
	})
}

func mistakenNoWriters(t *testing.T, m *machine) {
	m.run(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetContext(ctx, vss.ContextNASRollback), b.GatherWriterMetadata(ctx),
			b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupCopy}))
		_, e := b.StartSnapshotSet(ctx)
		_, e2 := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
		for _, e := range []error{b.AddComponent(ctx, m.f.key()), b.PrepareForBackup(ctx)} {
			if !errors.Is(e, vss.ErrBadState) {
				t.Errorf("%v", e)
			}
		}
		err = errors.Join(err, e, e2, b.DoSnapshotSet(ctx))
		if e := b.BackupComplete(ctx); !errors.Is(e, vss.ErrBadState) {
			t.Errorf("%v", e)
		}
		return errors.Join(err, b.Release(ctx))
	})
}

func mistakenIdentify(t *testing.T, m *machine) {
	fails := false
	m.b.on[vss.EventIdentify] = func(_ context.Context, ev any) error {
		if _, can := ev.(interface {
			Fail(vss.HRESULT, string) error
		}); can {
			t.Error("a failure can be set in Identify")
		}
		if fails {
			return retryable
		}
		return nil
	}
	m.b.on[vss.EventFreeze] = func(ctx context.Context, _ any) error {
		fails = true
		other, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, other.InitializeForBackup(ctx, nil), other.GatherWriterMetadata(ctx), other.GatherWriterStatus(ctx))
		n, _ := other.GetWriterMetadataCount()
		if k, _ := other.GetWriterStatusCount(); n != 1 || k != 1 {
			t.Errorf("%d descriptions, %d statuses", n, k)
		}
		return errors.Join(err, other.Release(ctx))
	}
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		if st, code, e := status(ctx, b, m.b); st != vss.StateWaitingForBackupComplete || code != vss.SOK || e != nil {
			t.Errorf("%v, %v, %v", st, code, e)
		}
		return errors.Join(err, b.Release(ctx))
	})
}

func mistakenParticipants(t *testing.T, m *machine) {
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f)
		return errors.Join(err, b.DoSnapshotSet(ctx), b.BackupComplete(ctx), b.Release(ctx))
	})
	if got := fmt.Sprint(m.b.heard); got != "[Identify]" {
		t.Errorf("B, of which nothing was added, heard %s", got)
	}
	m.b.heard = nil
	m.b.on[vss.EventPrepareBackup] = func(_ context.Context, ev any) error {
		if e := ev.(*vss.PrepareBackupEvent); e.ComponentsSelected() || len(e.Components().All()) != 0 {
			t.Error("components without component mode")
		}
		return nil
	}
	m.run(func(ctx context.Context) error { return wholeBackup(ctx, m.s) })
	if len(m.b.heard) != 8 {
		t.Errorf("without component mode B heard %v", m.b.heard)
	}
}

func mistakenSelectable(t *testing.T, _ *machine) {
	component := func(path, name string, selectable bool) vss.ComponentInfo {
		return vss.ComponentInfo{ComponentKey: vss.ComponentKey{LogicalPath: path, Name: name}, Type: vss.ComponentFileGroup, Selectable: selectable}
	}
	tree := vss.NewComponentTree([]vss.ComponentInfo{
		component("", "program", false), component("program", "settings", false), component("", "data", true), component("data", "log", false),
		component("program", "plugins", true),
	})
	for path, want := range map[[2]string]vss.Inclusion{
		{"", "program"}: vss.MustAdd, {"program", "settings"}: vss.MustAdd, {"", "data"}: vss.MayAdd, {"data", "log"}: vss.NeverAdd,
		{"program", "plugins"}: vss.MayAdd, // a nonselectable parent makes no set
	} {
		if got, _ := tree.Inclusion(vss.ComponentKey{LogicalPath: path[0], Name: path[1]}); got != want {
			t.Errorf("%v %v, not %v", path, got, want)
		}
	}
}

func mistakenSubcomponents(t *testing.T, m *machine) {
	part, hidden := vss.ComponentKey{LogicalPath: "B", Name: "part"}, vss.ComponentKey{LogicalPath: "B", Name: "hidden"}
	m.b.extra = []vss.ComponentInfo{
		{ComponentKey: part, Type: vss.ComponentFileGroup, SelectableForRestore: true}, {ComponentKey: hidden, Type: vss.ComponentFileGroup},
	}
	xml, err := m.backup2()
	m.must(err)
	m.b.on[vss.EventPreRestore] = func(_ context.Context, ev any) error {
		r := ev.(*vss.PreRestoreEvent).Components().All()[0].Record()
		if len(r.Subcomponents) != 1 || !r.Subcomponents[0].Same(part) {
			t.Errorf("%+v", r.Subcomponents)
		}
		return nil
	}
	m.run(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForRestore(ctx, bytes.NewReader(xml)), b.GatherWriterMetadata(ctx))
		err = errors.Join(err, b.SetSelectedForRestore(ctx, m.f.key(), true)) // B is explicit although it is not selectable for restore
		if e := b.AddRestoreSubcomponent(ctx, m.b.key(), part); !errors.Is(e, vss.ErrBadState) {
			t.Errorf("before the ancestor: %v", e)
		}
		err = errors.Join(err, b.SetSelectedForRestore(ctx, m.b.key(), true), b.AddRestoreSubcomponent(ctx, m.b.key(), part))
		if e := b.AddRestoreSubcomponent(ctx, m.b.key(), hidden); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("one that cannot be selected: %v", e)
		}
		return errors.Join(err, b.PreRestore(ctx), b.PostRestore(ctx), b.Release(ctx))
	})
}

func mistakenSets(t *testing.T, m *machine) {
	part := vss.ComponentKey{LogicalPath: "B", Name: "part"}
	m.b.extra = []vss.ComponentInfo{{ComponentKey: part, Type: vss.ComponentFileGroup,
		Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\part`, Spec: "*"}}}}}
	m.b.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
		w := ev.(*vss.PostSnapshotEvent).Components()
		if len(w.All()) != 1 || w.Component(part) != nil {
			t.Errorf("the implicit component has a record of its own")
		}
		return w.All()[0].AddPartialFile(vss.PartialFile{FilePart: vss.FilePart{Path: `D:\part`, Name: "big", Ranges: "0:1"}})
	}
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		child := m.b.key()
		child.ComponentKey = part
		if e := b.SetBackupSucceeded(ctx, child, false); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("a word about the child: %v", e)
		}
		err = errors.Join(err, b.SetBackupSucceeded(ctx, m.b.key(), false)) // a file of the child failed
		w, e := b.GetWriterComponents(1)
		if r := w.Components[0]; r.BackupSucceeded || len(r.PartialFiles) != 1 {
			t.Errorf("%+v", r)
		}
		return errors.Join(err, e, b.Release(ctx))
	})
}

func mistakenEdits(t *testing.T, m *machine) {
	var kept *vss.WriterComponent
	m.b.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
		kept = ev.(*vss.PostSnapshotEvent).Components().All()[0]
		err := kept.SetBackupMetadata([]byte("once"))
		if e := kept.SetBackupMetadata([]byte("twice")); !errors.Is(e, vss.ErrObjectAlreadyExists) {
			t.Errorf("%v", e)
		}
		return err
	}
	m.b.on[vss.EventBackupComplete] = func(_ context.Context, ev any) error {
		if e := kept.SetBackupStamp("late"); !errors.Is(e, vss.ErrBadState) {
			t.Errorf("a handle of another event: %v", e)
		}
		if e := ev.(*vss.BackupCompleteEvent).Components().All()[0].SetBackupStamp("late"); !errors.Is(e, vss.ErrBadState) {
			t.Errorf("in BackupComplete: %v", e)
		}
		return nil
	}
	m.run(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		early, e := b.GetWriterComponents(1)
		err = errors.Join(err, e, b.DoSnapshotSet(ctx), b.BackupComplete(ctx))
		now, e := b.GetWriterComponents(1)
		if early.Components[0].BackupMetadata != nil || string(now.Components[0].BackupMetadata) != "once" {
			t.Errorf("%q, now %q", early.Components[0].BackupMetadata, now.Components[0].BackupMetadata)
		}
		return errors.Join(err, e, b.Release(ctx))
	})
}

func mistakenPaths(t *testing.T, m *machine) {
	spec := vss.FileSpec{Path: `D:\data`, Spec: "*.db"}
	set := vss.FileSet{FileSpec: spec, AlternatePath: `D:\spit`}
	files := fstest.MapFS{"D/spit/a.db": {}, "D/spit/b.db": {}, "D/data/a.db": {}, "D/moved/a.db": {}}
	found, err := vss.ExpandFileSet(files, "", set, vss.ExpandOptions{Excludes: []vss.FileSpec{{Path: `D:\data`, Spec: "b.*"}, {Path: `D:\spit`, Spec: "a.*"}}})
	if err != nil || len(found) != 1 || found[0].Path != `D:\data\a.db` {
		t.Errorf("a backup reads the alternate path and excludes by the original one: %+v, %v", found, err)
	}
	md := vss.NewWriterMetadata(vss.WriterIdentity{FriendlyName: "x"})
	mapping := vss.FileMapping{FileSpec: spec, Destination: `D:\moved`}
	if e := md.AddAlternateLocationMapping(mapping); !errors.Is(e, vss.ErrObjectNotFound) {
		t.Errorf("a mapping before the restore method: %v", e)
	}
	m.must(md.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfNotThere, WriterRestore: vss.WriterRestoreAlways}), md.AddAlternateLocationMapping(mapping))
	if _, ok := md.AlternateLocation(vss.FileSpec{Path: `D:\data`, Spec: "*"}); ok {
		t.Error("another file triple is mapped")
	}
	if to, ok := md.AlternateLocation(vss.FileSpec{Path: `d:\DATA\`, Spec: "*.DB"}); !ok || to != `D:\moved` {
		t.Errorf("mapped to %q", to)
	}
	m.b.schema = fullSchema
	xml, err := m.backup2()
	m.must(err)
	m.run(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForRestore(ctx, bytes.NewReader(xml)), b.GatherWriterMetadata(ctx), b.SetSelectedForRestore(ctx, m.b.key(), true))
		target := vss.FileMapping{FileSpec: vss.FileSpec{Path: `C:\B`, Spec: "*.x"}, Destination: `D:\new`}
		if e := b.AddNewTarget(ctx, m.b.key(), target); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("a new target for another file triple: %v", e)
		}
		target.Spec = "*"
		err = errors.Join(err, b.AddNewTarget(ctx, m.b.key(), target), b.PreRestore(ctx))
		if e := b.AddAlternativeLocationMapping(ctx, m.b.key(), target); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("a new target is no alternate location: %v", e)
		}
		return errors.Join(err, b.Release(ctx))
	})
}

func mistakenTarget(t *testing.T, _ *machine) {
	for target, want := range map[vss.RestoreTarget]vss.RestorePlace{
		vss.TargetUndefined: vss.PlaceAlternate, vss.TargetOriginal: vss.PlaceAlternate, vss.TargetOriginalLocation: vss.PlaceOriginal,
	} {
		all := vss.IfReplaceable | vss.IfAbsent | vss.IfMapped | vss.IfMappedFree
		if got, err := vss.DecideRestore(vss.MethodRestoreToAlternateLocation, target, all); got != want || err != nil {
			t.Errorf("%v: %v, %v", target, got, err)
		}
	}
	if got := (&vss.ComponentRecord{}).Target(); got != vss.TargetOriginal {
		t.Errorf("the default is %v", got)
	}
}

func mistakenStatus(t *testing.T, m *machine) {
	if vss.FilesNone != 1 || vss.FilesAll != 2 || vss.FilesFailed != 3 {
		t.Error("the numbers are others")
	}
	xml, err := m.backup2()
	m.must(err)
	var got []string
	m.b.on[vss.EventPostRestore] = func(_ context.Context, ev any) error {
		c := ev.(*vss.PostRestoreEvent).Components().All()[0]
		st, err := c.FileRestoreStatus()
		got = append(got, fmt.Sprint(st, c.AdditionalRestores()))
		return err
	}
	for _, more := range []bool{true, false} {
		m.run(func(ctx context.Context) error {
			b, err := m.restoring(ctx, xml)
			if more {
				err = errors.Join(err, b.SetAdditionalRestores(ctx, m.b.key(), true))
			}
			return errors.Join(err, b.PreRestore(ctx), b.SetFileRestoreStatus(ctx, m.b.key(), vss.FilesFailed), b.PostRestore(ctx), b.Release(ctx))
		})
	}
	if fmt.Sprint(got) != "[VSS_RS_FAILED true VSS_RS_FAILED false]" {
		t.Error(got)
	}
}

func mistakenShutdown(t *testing.T, m *machine) {
	truncated := false
	m.b.on[vss.EventBackupComplete] = func(context.Context, any) error { truncated = true; return nil }
	var sets []guid.GUID
	m.b.on[vss.EventBackupShutdown] = func(_ context.Context, ev any) error {
		sets = append(sets, ev.(*vss.BackupShutdownEvent).SnapshotSetID())
		return nil
	}
	m.run(func(ctx context.Context) error { return prepareOnly(ctx, m) })
	_ = m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		m.requester.Kill()
		return err
	})
	m.must(m.w.Advance(time.Second))
	if len(sets) != 2 || sets[0] != (guid.GUID{}) || sets[1] == (guid.GUID{}) || truncated {
		t.Errorf("BackupShutdown for %v, logs truncated %v", sets, truncated)
	}
	m.requester = m.s.Actor().Parent().Child("backup")
	m.run(func(ctx context.Context) error {
		m.c.flush = func(context.Context) error { return errors.New("broken") }
		b, err := m.prepared(ctx, m.f, m.b)
		a, e := b.StartDoSnapshotSet(ctx)
		err = errors.Join(err, e, a.Wait(ctx)) // nil, although the set failed
		if h, _ := a.QueryStatus(ctx); h != vss.ErrFlushWritesTimeout {
			t.Errorf("%v", h)
		}
		m.c.flush = nil
		return errors.Join(err, b.Release(ctx))
	})
	if vss.BackupIncremental != 2 || vss.BackupDifferential != 3 || !vss.FileSpecBackupType(2).BackupRequired(vss.BackupDifferential) ||
		vss.FileSpecBackupType(2).BackupRequired(vss.BackupIncremental) {
		t.Error("mask bits and backup types run alike")
	}
	if n := strings.Count(fmt.Sprint(m.b.heard), "BackupShutdown"); n != 3 {
		t.Errorf("%d times", n)
	}
}
