package vss_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// TestPartialFileRules: a partial file is one file without wildcards, at or below a
// path of the component set, with ranges or a ranges file; what is not, is
// E_INVALIDARG and does not get into the document.
func TestPartialFileRules(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.extra = []vss.ComponentInfo{{ComponentKey: vss.ComponentKey{LogicalPath: "B", Name: "part"}, Type: vss.ComponentFileGroup,
		Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\part\`, Spec: "*"}}}}}
	rows := []struct {
		path, name, ranges string
		good               bool
	}{
		{`C:\B`, "log", "0:10", true},
		{`c:\b\`, "log", "0x10:0x20, 100:1", true},
		{`C:\B\deeper\still`, "log", "0:10", true},
		{`D:\part`, "log", "0:10", true}, // of a component that came along
		{`C:\B`, "log", `File=D:\ranges`, true},
		{`C:\B`, "log", `D:\ranges`, true},
		{`C:\Bother`, "log", "0:10", false},
		{`C:\`, "log", "0:10", false},
		{`C:\B`, "*.log", "0:10", false},
		{`C:\B\?`, "log", "0:10", false},
		{`C:\B`, `deeper\log`, "0:10", false},
		{`C:\B`, "", "0:10", false},
		{``, "log", "0:10", false},
		{`C:\B`, "log", "", false},
		{`C:\B`, "log", "10", false},
		{`C:\B`, "log", "0:10;20:30", false},
		{`C:\B`, "log", "18446744073709551615:2", false},
	}
	want := 0
	m.b.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
		c := ev.(*vss.PostSnapshotEvent).Components().All()[0]
		for _, r := range rows {
			err := c.AddPartialFile(vss.PartialFile{FilePart: vss.FilePart{Path: r.path, Name: r.name, Ranges: r.ranges}})
			if (err == nil) != r.good || err != nil && !errors.Is(err, vss.ErrInvalidArg) {
				t.Errorf("%+v: %v", r, err)
			}
			if r.good {
				want++
			}
		}
		if got := len(c.Record().PartialFiles); got != want {
			t.Errorf("%d partial files", got)
		}
		return nil
	}
	_, err := m.backup2()
	m.must(err)
	if want == 0 {
		t.Error("PostSnapshot did not come")
	}
}

// TestDirectedTargetRules: source and destination are files without wildcards, may
// be the same, and their ranges match pairwise in number and length.
func TestDirectedTargetRules(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	part := func(path, name, ranges string) vss.FilePart {
		return vss.FilePart{Path: path, Name: name, Ranges: ranges}
	}
	rows := []struct {
		from, to vss.FilePart
		good     bool
	}{
		{part(`C:\B`, "db", "0:10"), part(`D:\new`, "db2", "50:10"), true},
		{part(`C:\B`, "db", "0:10,20:5"), part(`C:\B`, "db", "20:10, 0:5"), true},
		{part(`C:\B`, "db", `C:\B\ranges`), part(`D:\new`, "db", "0:5"), true}, // not to be compared
		{part(`C:\B`, "db", "0:10"), part(`D:\new`, "db", "0:11"), false},
		{part(`C:\B`, "db", "0:10,20:5"), part(`D:\new`, "db", "0:15"), false},
		{part(`C:\B`, "db", "0:10,20:5"), part(`D:\new`, "db", "0:5,20:10"), false},
		{part(`C:\B`, "*", "0:10"), part(`D:\new`, "db", "0:10"), false},
		{part(`C:\B`, "db", "0:10"), part(`D:\new*`, "db", "0:10"), false},
		{part(`C:\B`, "db", ""), part(`D:\new`, "db", ""), false},
	}
	tried := 0
	m.b.on[vss.EventPreRestore] = func(_ context.Context, ev any) error {
		c := ev.(*vss.PreRestoreEvent).Components().All()[0]
		for _, r := range rows {
			tried++
			err := c.AddDirectedTarget(vss.DirectedTarget{Source: r.from, Destination: r.to})
			if (err == nil) != r.good || err != nil && !errors.Is(err, vss.ErrInvalidArg) {
				t.Errorf("%+v: %v", r, err)
			}
		}
		if got := len(c.Record().DirectedTargets); got != 3 {
			t.Errorf("%d directed targets", got)
		}
		return nil
	}
	m.must(m.cycle())
	if tried != len(rows) {
		t.Errorf("%d tried", tried)
	}
}

// TestVolumeNames: a volume is named by its root, a mounted folder, its GUID, or as
// a share, always with a backslash at the end. Another name is E_INVALIDARG, a good
// one of no volume OBJECT_NOT_FOUND.
func TestVolumeNames(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	mount := newDisk(`C:\mount`)
	m.must(m.s.AddVolume(mount))
	id := guid.Braced(m.d.id)
	m.must(m.as(func(ctx context.Context) error {
		for name, want := range map[string]vss.HRESULT{
			`D:\`: vss.SOK, `d:\`: vss.SOK, `C:\Mount\`: vss.SOK, `\\?\Volume` + id + `\`: vss.SOK, `\\?\volume` + id + `\`: vss.SOK,
			`X:\`: vss.ErrObjectNotFound, `C:\nothing\`: vss.ErrObjectNotFound, `\\server\share\`: vss.ErrObjectNotFound,
			`\\?\Volume{00000000-0000-0000-0000-000000000001}\`: vss.ErrObjectNotFound,
			`D:`: vss.ErrInvalidArg, `D`: vss.ErrInvalidArg, ``: vss.ErrInvalidArg, `\`: vss.ErrInvalidArg, `C:\mount`: vss.ErrInvalidArg,
			`\\?\Volume` + id: vss.ErrInvalidArg, `\\?\Volume{nonsense}\`: vss.ErrInvalidArg, `\\server\`: vss.ErrInvalidArg, `\\\share\`: vss.ErrInvalidArg,
			`1:\`: vss.ErrInvalidArg, `C:mount\`: vss.ErrInvalidArg, `C:\mou*nt\`: vss.ErrInvalidArg, `/dev/sda\`: vss.ErrInvalidArg,
		} {
			b, err := m.started(ctx, vss.ContextFileShareBackup)
			supported, got := b.IsVolumeSupported(ctx, name, guid.GUID{})
			_, got2 := b.AddToSnapshotSet(ctx, name, guid.GUID{})
			if vss.HRESULTOf(got) != want || vss.HRESULTOf(got2) != want || supported != (want == vss.SOK) {
				t.Errorf("%s: %v, %v", name, got, got2)
			}
			if err := errors.Join(err, b.Release(ctx)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestNestedVolumesAreNotSupported: IsVolumeSupported says what AddToSnapshotSet
// will say of virtual disks.
func TestNestedVolumesAreNotSupported(t *testing.T) {
	for _, inSet := range []bool{false, true} {
		m := newMachine(t, vss.ServiceConfig{})
		m.d.below = &m.c.id
		m.must(m.as(func(ctx context.Context) error {
			b, err := m.started(ctx, vss.ContextFileShareBackup)
			if inSet {
				_, e := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
				err = errors.Join(err, e)
			}
			ok, got := b.IsVolumeSupported(ctx, `D:\`, guid.GUID{})
			if errors.Is(got, vss.ErrNestedVolumeLimit) != inSet || ok == inSet {
				t.Errorf("with the outer volume in the set %v: %v, %v", inSet, ok, got)
			}
			return errors.Join(err, b.Release(ctx))
		}))
	}
}

// A writer names the moment of a backup, and the next one builds on it.
func ExampleWriterComponent_SetBackupStamp() {
	m := newMachine(exampleTB{}, vss.ServiceConfig{})
	defer func() { _ = m.w.Close() }()
	m.b.schema = vss.SchemaIncremental | vss.SchemaTimestamped
	m.b.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
		e := ev.(*vss.PostSnapshotEvent)
		c := e.Components().All()[0]
		base := c.Record().PreviousBackupStamp
		fmt.Printf("%v on %q\n", e.BackupType(), base)
		return c.SetBackupStamp(base + "+1")
	}
	stamp := ""
	for _, kind := range []vss.BackupType{vss.BackupFull, vss.BackupIncremental, vss.BackupIncremental} {
		err := m.as(func(ctx context.Context) (err error) {
			stamp, err = chained(ctx, m, kind, stamp)
			return err
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("the newest stamp:", stamp)
	// Output:
	// VSS_BT_FULL on ""
	// VSS_BT_INCREMENTAL on "+1"
	// VSS_BT_INCREMENTAL on "+1+1"
	// the newest stamp: +1+1+1
}

// An exampleTB lets an example use what tests use.
type exampleTB struct{ testing.TB }

func (exampleTB) Helper()           {}
func (exampleTB) Cleanup(func())    {}
func (exampleTB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// chained makes a backup of B that builds on a stamp, and returns its own.
func chained(ctx context.Context, m *machine, kind vss.BackupType, base string) (stamp string, err error) {
	b, err := m.s.CreateBackupComponents(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.Release(ctx)) }()
	err = steps(
		func() error { return b.InitializeForBackup(ctx, nil) },
		func() error { return b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: kind}) },
		func() error { return b.GatherWriterMetadata(ctx) },
		func() error { return b.AddComponent(ctx, m.b.key()) },
		func() error { _, err := b.StartSnapshotSet(ctx); return err },
		func() error { _, err := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{}); return err },
		func() error {
			if base == "" {
				return nil
			}
			return b.SetPreviousBackupStamp(ctx, m.b.key(), base)
		},
		func() error { return b.PrepareForBackup(ctx) },
		func() error { return b.DoSnapshotSet(ctx) },
		func() error { return b.SetBackupSucceeded(ctx, m.b.key(), true) },
		func() error { return b.BackupComplete(ctx) },
	)
	if err != nil {
		return "", err
	}
	w, err := b.GetWriterComponents(0)
	if err != nil {
		return "", err
	}
	return w.Components[0].BackupStamp, nil
}
