package vsstest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A diary is a file that grows, as a writer. Whoever has the turn may write to
// it: the load for an entry, the frozen diary until it is thawed.
type diary struct {
	volume *vsstest.Volume
	turn   sim.Mutex
	frozen bool
	hasty  bool // it does not wait for the entry under way
}

func (d *diary) write(ctx context.Context) error {
	if err := d.turn.Lock(ctx); err != nil {
		return err
	}
	defer d.turn.Unlock()
	return errors.Join(
		d.volume.Append(ctx, "diary", []byte("Dear diary")),
		sim.Sleep(ctx, loadPause),
		d.volume.Append(ctx, "diary", []byte("!\n")))
}

func (d *diary) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	return errors.Join(
		ev.Metadata.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreNever}),
		ev.Metadata.AddComponent(vss.ComponentInfo{
			ComponentKey: vss.ComponentKey{Name: "diary"}, Type: vss.ComponentFileGroup, Selectable: true,
			Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\`, Spec: "diary"}}},
		}))
}

func (d *diary) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }

func (d *diary) Freeze(ctx context.Context, _ *vss.FreezeEvent) error {
	if d.hasty {
		return nil
	}
	if err := d.turn.Lock(ctx); err != nil {
		return vss.ErrWriterErrorTimeout
	}
	d.frozen = true
	return nil
}

func (d *diary) Thaw(context.Context, *vss.ThawEvent) error   { return d.resume() }
func (d *diary) Abort(context.Context, *vss.AbortEvent) error { return d.resume() }

func (d *diary) resume() error {
	if d.frozen {
		d.frozen = false
		d.turn.Unlock()
	}
	return nil
}

// diaryOptions tell the kit what the diary does all day, and what a good image of
// it is.
func diaryOptions() vsstest.WriterOptions {
	return vsstest.WriterOptions{
		Load: func(ctx context.Context, w vss.Writer) error { return w.(*diary).write(ctx) },
		Consistent: func(image fs.FS) error {
			text, err := fs.ReadFile(image, "diary")
			if err == nil && !bytes.HasSuffix(text, []byte("!\n")) {
				err = errors.New("the last entry is not whole")
			}
			return err
		},
	}
}

// A writer of one's own, proved: first a good one, then one that does not stop
// writing when it is frozen.
func ExampleTestWriter() {
	good := func(_ context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
		return &diary{volume: env.Volume}, nil
	}
	hasty := func(_ context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
		return &diary{volume: env.Volume, hasty: true}, nil
	}
	o := diaryOptions()
	o.Runs = 20
	fmt.Println(vsstest.TestWriter(good, o))

	o.Replay = "backup" // one run is enough to see it
	err := vsstest.TestWriter(hasty, o)
	var first *vsstest.Broken
	if errors.As(err, &first) {
		fmt.Println(first.Call, "breaks:", first.Promise)
		fmt.Println(first.Fact)
	}
	// Output:
	// <nil>
	// Freeze breaks: nothing is written between Freeze and Thaw (CVssWriter::OnFreeze)
	// D:\diary was written at 1.536s; Freeze had returned at 1.4s
}
