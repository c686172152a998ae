package vss_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

var expressClass = guid.GUID{0xE5}

func newExpress(t *testing.T) *vss.ExpressWriter {
	t.Helper()
	w, err := vss.NewExpressWriter(vss.WriterIdentity{WriterID: expressClass, FriendlyName: "Templates"})
	err = errors.Join(err,
		w.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreNever}),
		w.SetBackupSchema(vss.SchemaCopy|vss.SchemaIndependentSystemState),
		w.AddComponent(vss.ComponentInfo{ComponentKey: vss.ComponentKey{Name: "all"}, Type: vss.ComponentFileGroup, Selectable: true}),
		w.AddFilesToFileGroup(vss.ComponentKey{Name: "all"}, vss.FileSet{FileSpec: vss.FileSpec{Path: `C:\Templates`, Spec: "*", Recursive: true}}),
		w.AddExcludeFiles(vss.FileSpec{Path: `C:\Templates`, Spec: "*.tmp"}),
		w.AddComponentDependency(vss.ComponentKey{Name: "all"}, vss.Dependency{WriterID: guid.GUID{1}, ComponentKey: vss.ComponentKey{Name: "F"}}))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestExpressWriterLimits: what an express writer may not say is NOT_SUPPORTED,
// whether it is said or read.
func TestExpressWriterLimits(t *testing.T) {
	key := vss.ComponentKey{Name: "all"}
	files := vss.FileSpec{Path: `C:\x`, Spec: "*"}
	for bit := vss.BackupSchema(1); bit <= 0x8000; bit <<= 1 {
		want := error(vss.ErrNotSupported)
		if bit == vss.SchemaCopy || bit == vss.SchemaIndependentSystemState {
			want = nil
		}
		if err := newExpress(t).SetBackupSchema(bit); !errors.Is(err, want) {
			t.Errorf("%v: %v", bit, err)
		}
	}
	for name, do := range map[string]func(w *vss.ExpressWriter) error{
		"a part in the restore": func(w *vss.ExpressWriter) error {
			return w.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways})
		},
		"a database": func(w *vss.ExpressWriter) error {
			return w.AddComponent(vss.ComponentInfo{ComponentKey: vss.ComponentKey{Name: "db"}, Type: vss.ComponentDatabase})
		},
		"an alternate path": func(w *vss.ExpressWriter) error {
			return w.AddFilesToFileGroup(key, vss.FileSet{FileSpec: files, AlternatePath: `C:\y`})
		},
		"a mask": func(w *vss.ExpressWriter) error {
			return w.AddFilesToFileGroup(key, vss.FileSet{FileSpec: files, Mask: vss.FileSpecBackupType(1)})
		},
		"a mask within a component": func(w *vss.ExpressWriter) error {
			return w.AddComponent(vss.ComponentInfo{ComponentKey: vss.ComponentKey{Name: "x"}, Type: vss.ComponentFileGroup, Files: []vss.FileSet{{FileSpec: files, Mask: 1}}})
		},
	} {
		if err := do(newExpress(t)); !errors.Is(err, vss.ErrNotSupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good, err := newExpress(t).SaveAsXML()
	if err != nil {
		t.Fatal(err)
	}
	for old, replacement := range map[string]string{
		`writerRestore="never"`:      `writerRestore="always"`,
		`backupSchema="1040"`:        `backupSchema="1041"`,
		`filespecBackupType="3855"`:  `filespecBackupType="1"`,
		`recursive="yes" filespecBa`: `recursive="yes" alternatePath="C:\y" filespecBa`,
	} {
		bad := strings.Replace(string(good), old, replacement, 1)
		if bad == string(good) {
			t.Fatalf("%s is not in %s", old, good)
		}
		if _, err := vss.LoadExpressWriter(strings.NewReader(bad)); !errors.Is(err, vss.ErrNotSupported) {
			t.Errorf("%s: %v", replacement, err)
		}
	}
	if _, err := vss.LoadExpressWriter(strings.NewReader("<x")); !errors.Is(err, vss.ErrInvalidXMLDocument) {
		t.Error(err)
	}
	if _, err := vss.NewExpressWriter(vss.WriterIdentity{FriendlyName: "x"}); !errors.Is(err, vss.ErrInvalidArg) {
		t.Error(err)
	}
}

// TestExpressWriter: its components are in the metadata and in the backup's
// document; it has no status, and a restore does without it.
func TestExpressWriter(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	saved, err := newExpress(t).SaveAsXML()
	m.must(err)
	w, err := vss.LoadExpressWriter(bytes.NewReader(saved))
	m.must(err, m.s.RegisterExpressWriter(w))
	if err := m.s.RegisterExpressWriter(w); !errors.Is(err, vss.ErrObjectAlreadyExists) {
		t.Errorf("twice: %v", err)
	}
	all := vss.ComponentChoice{WriterID: expressClass, ComponentKey: vss.ComponentKey{Name: "all"}}
	var xml []byte
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}),
			b.GatherWriterMetadata(ctx), addAll(ctx, b, []*app{m.f, m.b}), b.AddComponent(ctx, all))
		n, e := b.GetWriterMetadataCount()
		md, e2 := b.GetWriterMetadata(n - 1)
		if n != 3 || md.Identity.FriendlyName != "Templates" || md.Restore.WriterRestore != vss.WriterRestoreNever || len(md.Components[0].Files) != 1 {
			t.Errorf("%d writers, the last %+v", n, md.Identity)
		}
		_, e3 := b.StartSnapshotSet(ctx)
		_, e4 := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
		err = errors.Join(err, e, e2, e3, e4, b.PrepareForBackup(ctx), b.DoSnapshotSet(ctx), b.GatherWriterStatus(ctx))
		if n, _ := b.GetWriterStatusCount(); n != 2 {
			t.Errorf("%d statuses", n)
		}
		err = errors.Join(err, b.SetBackupSucceeded(ctx, all, true), b.BackupComplete(ctx))
		xml, e = b.SaveAsXML()
		return errors.Join(err, e, b.Release(ctx))
	}))
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.s.CreateBackupComponents(ctx)
		err = errors.Join(err, b.InitializeForRestore(ctx, bytes.NewReader(xml)), b.GatherWriterMetadata(ctx))
		if e := b.SetSelectedForRestore(ctx, all, true); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("selected for restore: %v", e)
		}
		return errors.Join(err, b.SetSelectedForRestore(ctx, m.f.key(), true), b.PreRestore(ctx), b.SetFileRestoreStatus(ctx, m.f.key(), vss.FilesAll),
			b.PostRestore(ctx), b.Release(ctx))
	}))
	m.must(m.as(func(ctx context.Context) error {
		names, err := m.gather(ctx, func(b *vss.BackupComponents) error { return b.DisableWriterClasses(ctx, expressClass) })
		if len(names) != 2 {
			t.Errorf("disabled, but %v", names)
		}
		return err
	}))
	m.must(m.s.UnregisterExpressWriter(expressClass))
	if err := m.s.UnregisterExpressWriter(expressClass); !errors.Is(err, vss.ErrObjectNotFound) {
		t.Errorf("unregistered twice: %v", err)
	}
	m.settled()
}
