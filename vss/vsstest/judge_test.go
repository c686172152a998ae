package vsstest_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A drive is an in-memory volume as the service sees it.
type drive struct{ *volume.Volume }

func (d drive) Name() string                                      { return `D:\` }
func (d drive) FlushAndHold(context.Context) error                { return nil }
func (d drive) Release()                                          {}
func (d drive) CreateShadow(_ context.Context, id [16]byte) error { return d.Volume.CreateShadow(id) }
func (d drive) SealShadow(_ context.Context, id [16]byte) error   { return d.Volume.SealShadow(id) }
func (d drive) DeleteShadow(_ context.Context, id [16]byte) error { return d.Volume.DeleteShadow(id) }

// newMachine is a machine with a volume D: that has a file, as package volume
// makes it: another one than the kit's own.
func newMachine() (*sim.World, *vss.Service, *volume.Host) {
	w := sim.New()
	s := vss.NewService(w.Actor("machine"), vss.ServiceConfig{})
	v := volume.New(volume.Config{})
	files, err := volume.NewHost(map[string]fs.FS{"D": v.FS()})
	if err == nil {
		err = v.MkdirAll(`\Notes`)
	}
	if err == nil {
		err = v.WriteFile(`\Notes\a.txt`, []byte("remember the milk"))
	}
	if err == nil {
		err = s.AddVolume(drive{v})
	}
	if err != nil {
		panic(err)
	}
	return w, s, files
}

// TestJudgeOnVolumes: on volumes that know case, times and attributes the
// reference requester is found in order, and a change behind its back is not.
func TestJudgeOnVolumes(t *testing.T) {
	for _, spoil := range []bool{false, true} {
		w, s, files := newMachine()
		defer func() { _ = w.Close() }()
		config, err := vsstest.ReadJudgeConfig(strings.NewReader(`<TestWriter deleteFiles="yes">
			<RestoreMethod method="RESTORE_IF_CAN_REPLACE" writerRestore="always"/>
			<Component componentName="notes"><ComponentFile path="d:\NOTES\" filespec="*.TXT"/></Component></TestWriter>`))
		if err != nil {
			t.Fatal(err)
		}
		judge := vsstest.NewJudge(*config, vsstest.JudgeOptions{Files: files})
		if err := judge.Subscribe(s, w.Actor("judge")); err != nil {
			t.Fatal(err)
		}
		target := &requester.Memory{}
		if _, err := (&requester.Backup{Service: s, Target: target}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Stat(files, "D/Notes/a.txt"); err == nil {
			t.Error("the judge has not deleted the file")
		}
		if spoil {
			f, err := target.Create("files/D/NOTES/a.txt") // as the writer spells it
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
		}
		if _, err := (&requester.Restore{Service: s, Source: target, Destination: files}).Run(t.Context()); err != nil && !spoil {
			t.Fatal(err)
		}
		if err := judge.Err(); (err != nil) != spoil {
			t.Errorf("spoilt %v: %v", spoil, err)
		}
	}
}

// TestJudgeRefusesWithAnyCode: a code of one's own, so many times.
func TestJudgeRefusesWithAnyCode(t *testing.T) {
	w, s, files := newMachine()
	defer func() { _ = w.Close() }()
	config := vsstest.JudgeCases()[0].Configs[0]
	config.Components = config.Components[:1]
	config.Components[0].Files = []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\Notes`, Spec: "*"}}}
	config.Restore.AlternateLocations = nil
	config.Fails = []vsstest.FailEvent{{Event: vss.EventFreeze, Times: 2, Code: vss.ErrWriterErrorOutOfResources}}
	judge := vsstest.NewJudge(config, vsstest.JudgeOptions{Files: files})
	if err := judge.Subscribe(s, w.Actor("judge")); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		_, err := (&requester.Backup{Service: s, Target: &requester.Memory{}}).Run(t.Context())
		if want := i < 2; (err != nil) != want || want && !strings.Contains(err.Error(), "VSS_E_WRITERERROR_OUTOFRESOURCES") {
			t.Errorf("backup %d: %v", i, err)
		}
	}
	if err := judge.Err(); err != nil {
		t.Error(err)
	}
}
