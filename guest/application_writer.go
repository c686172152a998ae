package guest

import (
	"context"

	"github.com/shadowsim/shadowsim/vss"
)

// A WriterApplication is an application that takes part in backups inside the
// machine. The machine subscribes it once it has started; its actor is the
// program's own, whatever WriterConfig says.
type WriterApplication interface {
	Application
	vss.Writer
	WriterConfig() vss.WriterConfig
}

// A guestWriter gives a program's handlers their turn among its steps. Optional
// events that the program has no method for are handled.
type guestWriter struct {
	app *app
	w   WriterApplication
}

// Unwrap returns the program.
func (g *guestWriter) Unwrap() vss.Writer { return g.w }

// deliver calls a handler with its event in the program's turn.
func deliver[E any](ctx context.Context, g *guestWriter, ev E, handler func(context.Context, E) error) error {
	return g.app.inTurn(ctx, func(ctx context.Context) error { return handler(ctx, ev) })
}

// Identify describes the writer; it touches no state and so needs no turn.
func (g *guestWriter) Identify(ctx context.Context, ev *vss.IdentifyEvent) error {
	return g.w.Identify(ctx, ev)
}

func (g *guestWriter) PrepareSnapshot(ctx context.Context, ev *vss.PrepareSnapshotEvent) error {
	return deliver(ctx, g, ev, g.w.PrepareSnapshot)
}

func (g *guestWriter) Freeze(ctx context.Context, ev *vss.FreezeEvent) error {
	return deliver(ctx, g, ev, g.w.Freeze)
}

func (g *guestWriter) Thaw(ctx context.Context, ev *vss.ThawEvent) error {
	return deliver(ctx, g, ev, g.w.Thaw)
}

func (g *guestWriter) Abort(ctx context.Context, ev *vss.AbortEvent) error {
	return deliver(ctx, g, ev, g.w.Abort)
}

func (g *guestWriter) PrepareBackup(ctx context.Context, ev *vss.PrepareBackupEvent) error {
	if h, ok := g.w.(vss.BackupPreparer); ok {
		return deliver(ctx, g, ev, h.PrepareBackup)
	}
	return nil
}

func (g *guestWriter) PostSnapshot(ctx context.Context, ev *vss.PostSnapshotEvent) error {
	if h, ok := g.w.(vss.PostSnapshotter); ok {
		return deliver(ctx, g, ev, h.PostSnapshot)
	}
	return nil
}

func (g *guestWriter) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	if h, ok := g.w.(vss.BackupCompleter); ok {
		return deliver(ctx, g, ev, h.BackupComplete)
	}
	return nil
}

func (g *guestWriter) BackupShutdown(ctx context.Context, ev *vss.BackupShutdownEvent) error {
	if h, ok := g.w.(vss.BackupShutdowner); ok {
		return deliver(ctx, g, ev, h.BackupShutdown)
	}
	return nil
}

func (g *guestWriter) PreRestore(ctx context.Context, ev *vss.PreRestoreEvent) error {
	if h, ok := g.w.(vss.PreRestorer); ok {
		return deliver(ctx, g, ev, h.PreRestore)
	}
	return nil
}

func (g *guestWriter) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	if h, ok := g.w.(vss.PostRestorer); ok {
		return deliver(ctx, g, ev, h.PostRestore)
	}
	return nil
}
