package vsstest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A requester that makes and restores full backups, and says that all files are
// back whatever happened, is judged with one configuration.
func ExampleTestRequester() {
	config, err := vsstest.ReadJudgeConfig(strings.NewReader(`
		<TestWriter usage="USER_DATA" deleteFiles="yes" supportsIncremental="no" supportsDifferential="no" supportsCopy="no" supportsNewTarget="no">
			<RestoreMethod method="RESTORE_IF_NOT_THERE" writerRestore="always" rebootRequired="no"/>
			<Component componentType="filegroup" componentName="notes">
				<ComponentFile path="D:\Notes" filespec="*.txt" recursive="no"/>
			</Component>
		</TestWriter>`))
	if err != nil {
		panic(err)
	}
	newRequester := func() vsstest.JudgedRequester {
		images := make(map[int]*requester.Memory)
		return vsstest.JudgedRequester{
			Backup: func(ctx context.Context, m *vsstest.JudgeMachine, b vsstest.JudgedBackup) error {
				images[b.Image] = &requester.Memory{}
				_, err := (&requester.Backup{Service: m.Service, Target: images[b.Image], Type: b.Type}).Run(ctx)
				return err
			},
			Restore: func(ctx context.Context, m *vsstest.JudgeMachine, r vsstest.JudgedRestore) error {
				_, err := (&requester.Restore{Service: m.Service, Source: images[r.Images[0]], Destination: m.Files}).Run(ctx)
				if errors.Is(err, fs.ErrExist) {
					err = nil // "it is there, so it is restored"
				}
				return err
			},
		}
	}
	fmt.Println(vsstest.TestRequester(newRequester, vsstest.JudgeCase{Name: "notes", Configs: []vsstest.JudgeConfig{*config}}))
	// Output:
	// notes: full backup, files changed since: the requester reports a restore as good in which notes has no place
	// notes: full backup, a file in use: the requester reports a restore as good in which notes has no place
}

// A judge stands on a machine of one's own like any other writer.
func ExampleJudge() {
	config, err := vsstest.ReadJudgeConfig(strings.NewReader(`
		<TestWriter>
			<RestoreMethod method="RESTORE_IF_CAN_REPLACE" writerRestore="always"/>
			<Component componentType="filegroup" componentName="notes">
				<ComponentFile path="D:\Notes" filespec="*.txt"/>
			</Component>
		</TestWriter>`))
	if err != nil {
		panic(err)
	}
	w, service, files := newMachine()
	defer func() { _ = w.Close() }()
	judge := vsstest.NewJudge(*config, vsstest.JudgeOptions{Files: files})
	if err := judge.Subscribe(service, w.Actor("judge")); err != nil {
		panic(err)
	}

	// What a careless product does: it never asks how the writers did.
	ctx := context.Background()
	b, err := service.CreateBackupComponents(ctx)
	if err != nil {
		panic(err)
	}
	notes := vss.ComponentChoice{WriterID: vsstest.JudgeClassID, ComponentKey: vss.ComponentKey{Name: "notes"}}
	steps := []func() error{
		func() error { return b.InitializeForBackup(ctx, nil) },
		func() error {
			return b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull})
		},
		func() error { return b.GatherWriterMetadata(ctx) },
		func() error { return b.AddComponent(ctx, notes) },
		func() error { _, err := b.StartSnapshotSet(ctx); return err },
		func() error { return b.PrepareForBackup(ctx) },
		func() error { return b.DoSnapshotSet(ctx) },
		func() error { return b.BackupComplete(ctx) },
		func() error { return b.Release(ctx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			panic(err)
		}
	}
	for _, v := range judge.Violations() {
		fmt.Println(v.Call+":", v.Fact)
	}
	// Output:
	// AddToSnapshotSet: makes no shadow copy of the volume of D:\Notes\*.txt, which component notes needs
	// BackupComplete: does not ask with GatherWriterStatus how the writers did in DoSnapshotSet
	// Release: does not ask with GatherWriterStatus how the writers did in BackupComplete
	// SetBackupSucceeded: does not say whether it has the files of notes safe
}
