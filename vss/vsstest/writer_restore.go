package vsstest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A savedBackup is what a requester has of a backup.
type savedBackup struct {
	xml      []byte
	files    contents
	metadata *vss.WriterMetadata
}

// keep stores the backup for restores to come.
func (x *round) keep(xml []byte) {
	if x.files != nil && x.metadata != nil {
		x.run.saved = &savedBackup{xml: xml, files: x.files, metadata: x.metadata}
	}
}

// restore puts the last backup back. Without one, and where the files of the
// writer are not the kit's to write, nothing happens.
func (r *writerRun) restore(ctx context.Context, st step) error {
	s := r.saved
	volume, ok := r.own[0].(*Volume)
	if s == nil || !ok || len(r.own) > 1 || s.metadata.Restore == nil || !restorable(s.metadata.Restore.Method) {
		return nil
	}
	if s.metadata.Restore.WriterRestore == vss.WriterRestoreNever {
		if len(r.active) > 0 {
			return nil // the writer must not go while a backup is made
		}
		return r.restoreAlone(ctx, s, volume, st)
	}
	x := &round{run: r, st: st, requester: r.machine.Child("restorer"), strict: r.calm(st)}
	x.metadata = s.metadata
	x.plan()
	err := x.requester.Call(ctx, "restore", func(ctx context.Context) error { return x.putBack(ctx, s, volume) })
	if e := x.leave(ctx); e != nil {
		return e
	}
	if err != nil && x.strict {
		r.breaks(promiseRestore, "the requester", r.at(), "%s", oneLine(err))
	}
	switch {
	case r.env.Actor.Dead():
	case err != nil || st.get("until") != "":
		return r.restart(ctx) // nobody tells a writer that a restore has ended early
	case st.get("more") == "yes":
		return r.restore(ctx, "restore")
	}
	return ctx.Err()
}

// restorable tells whether a method means that files are written to where they
// were.
func restorable(m vss.RestoreMethod) bool {
	return m == vss.MethodRestoreIfCanReplace || m == vss.MethodStopRestoreStart || m == vss.MethodRestoreStopStart
}

// restoreAlone is a restore without the writer, while its process is down.
func (r *writerRun) restoreAlone(ctx context.Context, s *savedBackup, v *Volume, st step) error {
	r.env.Actor.Kill()
	err := r.machine.Child("restorer").Call(ctx, "restore", func(ctx context.Context) error { return writeAll(ctx, v, s.files, st) })
	if err != nil {
		return err
	}
	return r.restart(ctx)
}

func writeAll(ctx context.Context, v *Volume, files contents, st step) error {
	if st.get("files") == "failed" {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := v.WriteFile(ctx, name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

// putBack is the requester's loop of a restore.
func (x *round) putBack(ctx context.Context, s *savedBackup, v *Volume) (err error) {
	r := x.run
	if x.b, err = r.service.CreateBackupComponents(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.b.Release(ctx)) }()
	if err := errors.Join(x.b.InitializeForRestore(ctx, bytes.NewReader(s.xml)), x.b.GatherWriterMetadata(ctx)); err != nil {
		return err
	}
	var chosen []vss.ComponentChoice
	for _, key := range vss.NewComponentTree(s.metadata.Components).Everything() {
		c := x.choice(key)
		chosen = append(chosen, c)
		if err := errors.Join(x.b.SetSelectedForRestore(ctx, c, true), x.b.SetAdditionalRestores(ctx, c, x.st.get("more") == "yes")); err != nil {
			return err
		}
	}
	if err := x.b.PreRestore(ctx); err != nil {
		return err
	}
	if err := x.restoreStatus(ctx); err != nil {
		return err
	}
	if err := sim.Sleep(ctx, r.Patience); err != nil { // files take time
		return err
	}
	if x.st.get("until") == "PreRestore" {
		return nil
	}
	return x.putFiles(ctx, s, v, chosen)
}

func (x *round) putFiles(ctx context.Context, s *savedBackup, v *Volume, chosen []vss.ComponentChoice) error {
	if err := writeAll(ctx, v, s.files, x.st); err != nil {
		return err
	}
	status := vss.FilesAll
	if x.st.get("files") == "failed" {
		status = vss.FilesNone
	}
	for _, c := range chosen {
		if err := x.b.SetFileRestoreStatus(ctx, c, status); err != nil {
			return err
		}
	}
	if err := x.b.PostRestore(ctx); err != nil {
		return err
	}
	if x.st.get("files") == "failed" {
		return nil // the writer may say that it has failed
	}
	return x.restoreStatus(ctx)
}

// restoreStatus is the writer's failure.
func (x *round) restoreStatus(ctx context.Context) error {
	if err := x.b.GatherWriterStatus(ctx); err != nil {
		return err
	}
	st, ok := x.ownStatus()
	if !ok {
		return nil
	}
	return st.Err()
}
