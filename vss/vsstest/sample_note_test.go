package vsstest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A note is the least a writer can be: a text that is written to two files, which
// are to be the same.
type note struct {
	volume *vsstest.Volume
	gate   sim.Gate
	turn   sim.Mutex
	number int
}

func newNote(_ context.Context, env *vsstest.WriterEnv) (vss.Writer, error) { return openNote(env) }

func openNote(env *vsstest.WriterEnv) (*note, error) {
	n := &note{volume: env.Volume}
	n.gate.Name = "the note's writes"
	if text, err := env.Volume.ReadFile("note/a"); err == nil {
		if _, err := fmt.Sscan(string(text), &n.number); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *note) work(ctx context.Context) error {
	if err := n.gate.Pass(ctx); err != nil {
		return err
	}
	if err := n.turn.Lock(ctx); err != nil {
		return err
	}
	defer n.turn.Unlock()
	n.number++
	return n.write(ctx)
}

func (n *note) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	return errors.Join(
		ev.Metadata.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreNever}),
		ev.Metadata.AddComponent(vss.ComponentInfo{
			ComponentKey: vss.ComponentKey{Name: "note"}, Type: vss.ComponentFileGroup, Selectable: true,
			Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\note`, Spec: "*"}}},
		}))
}

func (n *note) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }

// Freeze waits for the writing under way.
func (n *note) Freeze(ctx context.Context, _ *vss.FreezeEvent) error {
	n.gate.Shut()
	if err := n.turn.Lock(ctx); err != nil {
		n.gate.Open()
		return &vss.Error{Op: "Freeze", On: "note", Err: vss.ErrWriterErrorTimeout}
	}
	defer n.turn.Unlock()
	if n.whole() {
		return nil
	}
	if err := n.write(ctx); err != nil {
		n.gate.Open()
		return &vss.Error{Op: "Freeze", On: "note", Err: vss.ErrWriterErrorRetryable}
	}
	return nil
}

// whole tells whether no failed write has left the note in two pieces.
func (n *note) whole() bool {
	a, _ := n.volume.ReadFile("note/a")
	b, _ := n.volume.ReadFile("note/b")
	return string(a) == string(b)
}

// write puts the note into both files.
func (n *note) write(ctx context.Context) error {
	text := []byte(fmt.Sprint(n.number))
	return errors.Join(n.volume.WriteFile(ctx, "note/a", text), sim.Sleep(ctx, loadPause), n.volume.WriteFile(ctx, "note/b", text))
}

func (n *note) Thaw(context.Context, *vss.ThawEvent) error   { n.gate.Open(); return nil }
func (n *note) Abort(context.Context, *vss.AbortEvent) error { n.gate.Open(); return nil }

func checkNote(image fs.FS) error {
	a, err := fs.ReadFile(image, "note/a")
	b, err2 := fs.ReadFile(image, "note/b")
	if err == nil && err2 == nil && string(a) != string(b) {
		err = fmt.Errorf("%q in one file, %q in the other", a, b)
	}
	return errors.Join(err, err2)
}

func noteOptions() vsstest.WriterOptions {
	return vsstest.WriterOptions{
		Load: func(ctx context.Context, w vss.Writer) error {
			return w.(interface{ work(context.Context) error }).work(ctx)
		},
		Consistent: checkNote,
	}
}
