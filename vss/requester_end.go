package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// BackupComplete tells the writers that the data is copied. It is out of order
// when DoSnapshotSet failed, and in contexts without writers. A writer's failure
// shows in its status; a writer that died meanwhile makes it fail with
// [ErrUnexpectedWriterError], when the others have been told.
func (b *BackupComponents) BackupComplete(ctx context.Context) error {
	return b.run(ctx, "BackupComplete", b.complete)
}

// StartBackupComplete is BackupComplete without waiting.
func (b *BackupComponents) StartBackupComplete(ctx context.Context) (*Async, error) {
	return b.start(ctx, "BackupComplete", b.complete)
}

func (b *BackupComponents) complete(_, work context.Context) error {
	b.unlock()
	return b.reliably(work, EventBackupComplete)
}

// reliably sends an event and reports writers that were lost on the way.
func (b *BackupComponents) reliably(work context.Context, e Event) error {
	var told []*session
	for _, x := range b.sessions {
		if x.gets(e) {
			told = append(told, x)
		}
	}
	if err := b.service.round(work, e, b.sessions); err != nil {
		return err
	}
	for _, x := range told {
		if st := x.status(); st.Code == ErrWriterNotResponding {
			return fail(e.String(), st.Name, ErrUnexpectedWriterError, "the writer does not respond")
		}
	}
	return nil
}

// AbortBackup gives a backup up: the writers that take part are sent Abort,
// except those that have had PostSnapshot already, which are only told when the
// object is released (pages differ on that). An operation under way is cancelled
// first. Shadow copies stay until Release. When nothing is under way it does
// nothing; a restore cannot be aborted.
func (b *BackupComponents) AbortBackup(ctx context.Context) error {
	const op = "AbortBackup"
	if !b.restore {
		if err := b.interrupt(ctx, op); err != nil {
			return err
		}
	}
	return b.call(ctx, op, func(ctx context.Context) error {
		err := b.service.round(ctx, EventAbort, b.sessions)
		b.unlock()
		return err
	})
}

// interrupt cancels the operation under way and waits for its end.
func (b *BackupComponents) interrupt(ctx context.Context, method string) error {
	err := b.service.actor.Call(ctx, method, func(ctx context.Context) error { return b.stopBusy(ctx) })
	return b.service.unreachable(method, err)
}

func (b *BackupComponents) stopBusy(ctx context.Context) error {
	if b.busy == nil {
		return nil
	}
	a := b.busy
	a.stop()
	return a.over.Wait(ctx)
}

// Release ends the object's life, in any phase: an operation under way is
// cancelled, copies of contexts that release them are deleted, the machine is
// free for other sets, and the writers of a backup get BackupShutdown, whatever
// became of it. It works with a context that has ended. A second call does
// nothing.
func (b *BackupComponents) Release(ctx context.Context) error {
	const op = "Release"
	ctx = context.WithoutCancel(ctx)
	if b.phase == PhaseReleased {
		return nil
	}
	if err := b.interrupt(ctx, op); err != nil {
		return err
	}
	err := b.service.actor.Call(ctx, op, func(ctx context.Context) error {
		kind := requesterKind(op)
		b.emit(kind)
		err := b.shutDown(ctx)
		b.emitResult(endOf(kind), err)
		return err
	})
	return b.service.unreachable(op, err)
}

// lost is what the service does when the requester has died.
func (b *BackupComponents) lost(ctx context.Context) error {
	if b.phase == PhaseReleased {
		return nil
	}
	b.service.actor.Emit("vss/requester-lost", "", sim.S("session", b.name), sim.S("requester", b.owner.Path()))
	if err := b.stopBusy(ctx); err != nil {
		return err
	}
	return b.shutDown(ctx)
}

// shutDown takes everything back that does not outlive the object.
func (b *BackupComponents) shutDown(ctx context.Context) error {
	if b.phase == PhaseReleased {
		return nil
	}
	b.phase = PhaseReleased
	b.forget()
	b.unlock()
	err := b.service.releaseCopies(ctx, b)
	if !b.restore {
		err = firstError(err, b.service.round(ctx, EventBackupShutdown, b.sessions))
	}
	for _, x := range b.sessions {
		x.close()
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
