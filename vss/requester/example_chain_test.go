package requester_test

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A diary is a writer with one file a day. Of incremental backups it asks for the
// files that have changed since the last backup, whose moment is its stamp.
type diary struct{ world *sim.World }

func (d diary) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	m := ev.Metadata
	if err := m.SetBackupSchema(vss.SchemaIncremental | vss.SchemaTimestamped | vss.SchemaLastModify); err != nil {
		return err
	}
	if err := m.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways}); err != nil {
		return err
	}
	days := vss.FileSet{FileSpec: vss.FileSpec{Path: `D:\Diary`, Spec: "*.txt"}, Mask: vss.FullBackupRequired | vss.FullSnapshotRequired}
	return m.AddComponent(vss.ComponentInfo{
		ComponentKey: vss.ComponentKey{Name: "days"}, Type: vss.ComponentFileGroup, Selectable: true, Files: []vss.FileSet{days},
	})
}

func (d diary) PostSnapshot(_ context.Context, ev *vss.PostSnapshotEvent) error {
	for _, c := range ev.Components().All() {
		if err := c.SetBackupStamp(d.world.Date().Format(time.RFC3339)); err != nil {
			return err
		}
		since, err := time.Parse(time.RFC3339, c.Record().PreviousBackupStamp)
		if ev.BackupType() != vss.BackupIncremental || err != nil {
			continue
		}
		if err := c.AddDifferencedFiles(vss.FileSpec{Path: `D:\Diary`, Spec: "*.txt"}, since); err != nil {
			return err
		}
	}
	return nil
}

func (diary) PostRestore(_ context.Context, ev *vss.PostRestoreEvent) error {
	for _, c := range ev.Components().All() {
		fmt.Println("the diary is back; more follows:", c.AdditionalRestores())
	}
	return nil
}

func (diary) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }
func (diary) Freeze(context.Context, *vss.FreezeEvent) error                   { return nil }
func (diary) Thaw(context.Context, *vss.ThawEvent) error                       { return nil }
func (diary) Abort(context.Context, *vss.AbortEvent) error                     { return nil }

// A full backup, two incremental ones that build on it, and the restore of all
// three after the disk is lost.
func ExampleRestore_RunChain() {
	w := sim.New()
	defer func() { _ = w.Close() }()
	host := w.Actor("h1")
	service := vss.NewService(host.Child("vss"), vss.ServiceConfig{})
	d := volume.New(volume.Config{Now: w.Date})
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(d.MkdirAll(`\Diary`))
	must(service.AddVolume(&drive{Volume: d, name: `D:\`}))
	_, err := service.Subscribe(diary{w}, vss.WriterConfig{Actor: host.Child("diary"), ClassID: guid.GUID{2}, Name: "Diary"})
	must(err)

	ctx := context.Background()
	var chain []fs.FS
	backup := func(typ vss.BackupType) {
		target := &requester.Memory{}
		b := &requester.Backup{Service: service, Target: target, Type: typ}
		if n := len(chain); n > 0 {
			b.Previous = chain[n-1]
		}
		result, err := b.Run(ctx)
		must(err)
		fmt.Println(typ, result.Files, "files")
		chain = append(chain, target)
	}
	write := func(day, text string) {
		must(w.Advance(time.Hour))
		must(d.WriteFile(`\Diary\`+day+".txt", []byte(text)))
		must(w.Advance(time.Hour))
	}
	write("monday", "It rains.")
	write("tuesday", "It rains.")
	backup(vss.BackupFull)
	write("tuesday", "The sun shines.")
	backup(vss.BackupIncremental)
	write("wednesday", "The disk ticks.")
	backup(vss.BackupIncremental)

	must(d.RemoveAll(`\Diary`))
	files, err := volume.NewHost(map[string]fs.FS{"D": d.FS()})
	must(err)
	_, err = (&requester.Restore{Service: service, Destination: files}).RunChain(ctx, chain...)
	must(err)
	for _, day := range []string{"monday", "tuesday", "wednesday"} {
		text, err := d.ReadFile(`\Diary\` + day + ".txt")
		must(err)
		fmt.Printf("%s: %s\n", day, text)
	}
	// Output:
	// VSS_BT_FULL 2 files
	// VSS_BT_INCREMENTAL 1 files
	// VSS_BT_INCREMENTAL 1 files
	// the diary is back; more follows: true
	// the diary is back; more follows: true
	// the diary is back; more follows: false
	// monday: It rains.
	// tuesday: The sun shines.
	// wednesday: The disk ticks.
}
