package vss_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss"
)

// A withComponents is an event in which a writer sees its components.
type withComponents interface{ Components() *vss.WriterComponents }

// The document is open for a writer in PrepareBackup, PostSnapshot and PreRestore;
// in PostRestore only for failures; otherwise it is read-only.
func TestWriterEditWindows(t *testing.T) {
	const backup, restore, failable = 1, 2, 4
	windows := map[vss.Event]int{
		vss.EventPrepareBackup: backup | failable, vss.EventPostSnapshot: backup | failable, vss.EventBackupComplete: 0,
		vss.EventPreRestore: restore | failable, vss.EventPostRestore: failable,
	}
	m := newMachine(t, vss.ServiceConfig{})
	heard := 0
	for e, open := range windows {
		m.b.on[e] = func(_ context.Context, ev any) error {
			heard++
			w := ev.(withComponents).Components()
			c := w.Component(m.b.key().ComponentKey)
			if c == nil || len(w.All()) != 1 || w.WriterID() != m.b.class {
				t.Fatalf("%v: B sees %v", e, w.All())
			}
			for _, try := range []struct {
				name  string
				needs int
				err   error
			}{
				{"SetBackupStamp", backup, c.SetBackupStamp("now")},
				{"AddDifferencedFiles", backup, c.AddDifferencedFiles(vss.FileSpec{Path: `C:\B`, Spec: "*"}, time.Time{})},
				{"AddPartialFile", backup, c.AddPartialFile(vss.PartialFile{FilePart: vss.FilePart{Path: `C:\B`, Name: "log", Ranges: "0:10"}})},
				{"SetRestoreMetadata", backup | restore, c.SetRestoreMetadata([]byte("r"))},
				{"SetRestoreTarget", restore, c.SetRestoreTarget(vss.TargetOriginalLocation)},
				{"AddDirectedTarget", restore, c.AddDirectedTarget(vss.DirectedTarget{
					Source:      vss.FilePart{Path: `C:\B`, Name: "log", Ranges: "0:10"},
					Destination: vss.FilePart{Path: `D:\B`, Name: "log", Ranges: "20:10"},
				})},
				{"SetFailure", failable, c.SetFailure(vss.ComponentFailure{Code: vss.SOK})},
			} {
				if ok := try.needs&open != 0; ok != (try.err == nil) || !ok && !errors.Is(try.err, vss.ErrBadState) {
					t.Errorf("%s in %v: %v", try.name, e, try.err)
				}
			}
			for only, err := range map[vss.Event]error{
				vss.EventPrepareBackup: c.SetPrepareForBackupFailureMsg("p"), vss.EventPostSnapshot: c.SetPostSnapshotFailureMsg("s"),
				vss.EventPreRestore: c.SetPreRestoreFailureMsg("r"), vss.EventPostRestore: c.SetPostRestoreFailureMsg("o"),
			} {
				if (only == e) != (err == nil) {
					t.Errorf("the message of %v in %v: %v", only, e, err)
				}
			}
			t.Cleanup(func() {
				if err := c.SetBackupStamp("late"); !errors.Is(err, vss.ErrBadState) {
					t.Errorf("after %v: %v", e, err)
				}
			})
			return nil
		}
	}
	m.must(m.cycle())
	if heard != len(windows) {
		t.Errorf("%d events", heard)
	}
	for _, ev := range []any{&vss.IdentifyEvent{}, &vss.PrepareSnapshotEvent{}, &vss.FreezeEvent{}, &vss.ThawEvent{}, &vss.AbortEvent{}, &vss.BackupShutdownEvent{}} {
		if _, ok := ev.(withComponents); ok {
			t.Errorf("%T brings components", ev)
		}
	}
}

// What a writer notes in a backup reaches it again in the restore, through the
// document as it was stored.
func TestMetadataReachesTheRestore(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
		c := ev.(withComponents).Components().All()[0]
		err := c.SetBackupMetadata([]byte{1, 2, 0, 255})
		if e := c.SetBackupMetadata(nil); !errors.Is(e, vss.ErrObjectAlreadyExists) {
			t.Errorf("a second time: %v", e)
		}
		return err
	}
	var got []byte
	var st vss.FileRestoreStatus
	m.b.on[vss.EventPostRestore] = func(_ context.Context, ev any) (err error) {
		c := ev.(withComponents).Components().All()[0]
		got = c.BackupMetadata()
		st, err = c.FileRestoreStatus()
		if !c.SelectedForRestore() || !c.BackupSucceeded() {
			t.Error("neither selected nor succeeded")
		}
		return err
	}
	m.must(m.cycle())
	if string(got) != "\x01\x02\x00\xff" || st != vss.FilesAll {
		t.Errorf("%v, %v", got, st)
	}
}

// In PostSnapshot a writer finds the copies of the set's volumes; the context says
// whether a component asked for recovery.
func TestPostSnapshotDevices(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.b.flags = vss.FlagBackupRecovery
	var kept *vss.PostSnapshotEvent
	m.b.on[vss.EventPrepareSnapshot] = func(_ context.Context, ev any) error {
		p := ev.(*vss.PrepareSnapshotEvent)
		if !p.IsPathAffected(`d:\some\file`) || p.IsPathAffected(`X:\`) || len(p.Volumes()) != 2 || p.Context() != vss.ContextBackup {
			t.Errorf("%v in %v", p.Volumes(), p.Context())
		}
		return nil
	}
	m.b.on[vss.EventPostSnapshot] = func(_ context.Context, ev any) error {
		kept = ev.(*vss.PostSnapshotEvent)
		if kept.Context().Attributes()&vss.AttrAutoRecover == 0 {
			t.Errorf("the context is %v", kept.Context())
		}
		device, err := kept.SnapshotDeviceName(`d:\`)
		if err != nil {
			return err
		}
		if _, err := kept.SnapshotDeviceName(`X:\`); !errors.Is(err, vss.ErrObjectNotFound) {
			t.Errorf("unknown volume: %v", err)
		}
		if m.d.shadows[0].sealed {
			t.Error("sealed before the writers have seen it")
		}
		_, err = kept.Service().Open(device)
		return err
	}
	_, err := m.backup2()
	m.must(err)
	if _, err := kept.SnapshotDeviceName(`D:\`); !errors.Is(err, vss.ErrBadState) {
		t.Errorf("later: %v", err)
	}
	m.settled()
}
