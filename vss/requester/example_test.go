package requester_test

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// machine is a machine with a volume D: and a writer that has a file there.
func machine(w *sim.World) (*vss.Service, *volume.Volume, error) {
	host := w.Actor("h1")
	s := vss.NewService(host.Child("vss"), vss.ServiceConfig{})
	d := volume.New(volume.Config{})
	if err := d.WriteFile(`\notes.txt`, []byte("remember the milk")); err != nil {
		return nil, nil, err
	}
	if err := s.AddVolume(&drive{Volume: d, name: `D:\`}); err != nil {
		return nil, nil, err
	}
	notes := &app{
		parts:   []vss.ComponentInfo{group("all", `D:\notes.txt`)},
		restore: vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways},
	}
	_, err := s.Subscribe(notes, vss.WriterConfig{Actor: host.Child("notes"), ClassID: guid.GUID{1}, Name: "Notes"})
	return s, d, err
}

// A backup of everything that the machine's writers have, into memory.
func ExampleBackup() {
	w := sim.New()
	defer func() { _ = w.Close() }()
	service, _, err := machine(w)
	if err != nil {
		panic(err)
	}
	target := &requester.Memory{}
	b := &requester.Backup{Service: service, Target: target}
	result, err := b.Run(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range result.Components {
		fmt.Printf("%s of %s: %d file, %d bytes\n", c.FullPath(), c.Writer, c.Files, c.Bytes)
	}
	_ = fs.WalkDir(target, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			fmt.Println(name)
		}
		return err
	})
	// Output:
	// all of Notes: 1 file, 17 bytes
	// BackupComponents.xml
	// Writers/01000000-0000-0000-0000-000000000000.xml
	// files/D/notes.txt
}

// A restore of a file that was lost.
func ExampleRestore() {
	w := sim.New()
	defer func() { _ = w.Close() }()
	service, d, err := machine(w)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	target := &requester.Memory{}
	if _, err := (&requester.Backup{Service: service, Target: target}).Run(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if err := d.Remove(`\notes.txt`); err != nil {
		panic(err)
	}
	files, err := volume.NewHost(map[string]fs.FS{"D": d.FS()})
	if err != nil {
		panic(err)
	}
	report, err := (&requester.Restore{Service: service, Source: target, Destination: files}).Run(ctx)
	for _, c := range report.Components {
		fmt.Println(c.FullPath(), c.Status)
	}
	data, _ := d.ReadFile(`\notes.txt`)
	fmt.Printf("%s, %v\n", data, err)
	// Output:
	// all VSS_RS_ALL
	// remember the milk, <nil>
}

// A writer that vetoes fails the backup, which says who, where and why.
func ExampleError() {
	w := sim.New(sim.Plan("vss/freeze on=h1/notes err=0x800423F4"))
	defer func() { _ = w.Close() }()
	service, _, err := machine(w)
	if err != nil {
		panic(err)
	}
	_, err = (&requester.Backup{Service: service, Target: &requester.Memory{}}).Run(context.Background())
	fmt.Println(err)
	// Output:
	// DoSnapshotSet: Notes: VSS_WS_FAILED_AT_FREEZE: VSS_E_WRITERERROR_NONRETRYABLE (0x800423F4): vss/freeze on h1/notes: injected error 0x800423F4
}
