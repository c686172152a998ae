package vsstest

import (
	"context"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A neighbour is another writer of the machine. It takes its time, so that the
// writer under test is frozen, and thawed, for a while before the next event
// comes.
type neighbour struct{ thaw time.Duration }

var neighboursFiles = vss.ComponentChoice{WriterID: guid.GUID{0x4E}, ComponentKey: vss.ComponentKey{Name: "files"}}

const neighbourFreeze = 1200 * time.Millisecond

func (r *writerRun) neighbour() error {
	_, err := r.service.Subscribe(&neighbour{thaw: r.Patience + time.Second}, vss.WriterConfig{
		Actor: r.machine.Child("neighbour"), ClassID: neighboursFiles.WriterID, Name: "Neighbour", Level: vss.LevelSystem, FreezeTimeout: time.Hour,
	})
	return err
}

func (n *neighbour) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	return ev.Metadata.AddComponent(vss.ComponentInfo{
		ComponentKey: neighboursFiles.ComponentKey, Type: vss.ComponentFileGroup, Selectable: true,
		Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `C:\neighbour`, Spec: "*"}}},
	})
}

func (n *neighbour) PrepareSnapshot(ctx context.Context, _ *vss.PrepareSnapshotEvent) error {
	return sim.Sleep(ctx, neighbourFreeze)
}

func (n *neighbour) Freeze(ctx context.Context, _ *vss.FreezeEvent) error {
	return sim.Sleep(ctx, neighbourFreeze)
}

func (n *neighbour) Thaw(ctx context.Context, _ *vss.ThawEvent) error { return sim.Sleep(ctx, n.thaw) }

func (n *neighbour) Abort(context.Context, *vss.AbortEvent) error { return nil }
