package guesttest

import (
	"context"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A witness is a writer in the machine that takes its time and writes down what
// it hears.
type witness struct {
	actor   *sim.Actor
	heard   []string
	kind    vss.BackupType
	context vss.SnapshotContext
	frozen  bool
	fail    error // of the next Freeze
}

// rest is how long each event takes.
const rest = 100 * time.Millisecond

var witnessID = [16]byte{0x17, 0x75, 0x2F, 1, 5: 4}

// wholeSequence is what a backup consists of, but for Identify.
var wholeSequence = []string{"PrepareForBackup", "PrepareForSnapshot", "Freeze", "Thaw", "PostSnapshot", "BackupComplete", "BackupShutdown"}

func watch(m *guest.Machine) (*witness, error) {
	w := &witness{actor: m.Actor().Child("witness")}
	_, err := m.VSS().Subscribe(w, vss.WriterConfig{Actor: w.actor, ClassID: witnessID, Name: "Witness Writer"})
	return w, during("Subscribe of a writer", err)
}

func (w *witness) hear(ctx context.Context, event string) error {
	w.heard = append(w.heard, event)
	return sim.Sleep(ctx, rest)
}

func (w *witness) Identify(context.Context, *vss.IdentifyEvent) error { return nil }

func (w *witness) PrepareBackup(ctx context.Context, ev *vss.PrepareBackupEvent) error {
	w.kind = ev.BackupType()
	return w.hear(ctx, "PrepareForBackup")
}

func (w *witness) PrepareSnapshot(ctx context.Context, ev *vss.PrepareSnapshotEvent) error {
	w.context = ev.Context()
	return w.hear(ctx, "PrepareForSnapshot")
}

func (w *witness) Freeze(ctx context.Context, _ *vss.FreezeEvent) error {
	if err := w.fail; err != nil {
		w.fail = nil
		return err
	}
	w.frozen = true
	return w.hear(ctx, "Freeze")
}

func (w *witness) Thaw(ctx context.Context, _ *vss.ThawEvent) error {
	w.frozen = false
	return w.hear(ctx, "Thaw")
}

func (w *witness) PostSnapshot(ctx context.Context, _ *vss.PostSnapshotEvent) error {
	return w.hear(ctx, "PostSnapshot")
}

func (w *witness) BackupComplete(ctx context.Context, _ *vss.BackupCompleteEvent) error {
	return w.hear(ctx, "BackupComplete")
}

func (w *witness) BackupShutdown(ctx context.Context, _ *vss.BackupShutdownEvent) error {
	w.frozen = false
	return w.hear(ctx, "BackupShutdown")
}

func (w *witness) Abort(context.Context, *vss.AbortEvent) error {
	w.frozen = false
	return nil
}
