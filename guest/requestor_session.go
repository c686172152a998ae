package guest

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Points at which a machine's backup service may fail, be slow or die: before
// anything has happened in the guest, and when the shadow copies are made and
// the host is to be told. They are asked for the service:
// on=h1/sql01/guest/vmicvss
const (
	PointAnswer   sim.Point = "guest/answer"
	PointSnapshot sim.Point = "guest/snapshot"

	// In a Windows, in the beginning of the session, before the calls of these names.
	PointInitialize     sim.Point = "guest/initialize"
	PointSetContext     sim.Point = "guest/set-context"
	PointSetBackupState sim.Point = "guest/set-backup-state"

	// In a Windows: when it is to tell which disks the host does not see, and, asked
	// for the volume, on which disk a volume lies and which one a shadow copy is of.
	PointDetect         sim.Point = "guest/detect"
	PointDiskNumber     sim.Point = "guest/disk-number"
	PointOriginalVolume sim.Point = "guest/original-volume"
)

// A sessionRunner carries out the backups of a requestor, one at a time, in
// processes of the machine.
type sessionRunner struct {
	machine *Machine
	name    string     // of the service
	actor   *sim.Actor // of its process; see call
	current *backupSession
}

// A backup is what a requestor does in the guest.
type backup interface {
	// run makes the shadow copies; its time ends with ctx.
	run(ctx context.Context) (*Snapshot, error)
	// undo takes away whatever run made, however far it came, also when the
	// process that ran it is dead.
	undo(ctx context.Context) error
}

// A backupSession is one call of Snapshot.
type backupSession struct {
	runner *sessionRunner
	work   backup
	cancel context.CancelFunc // nil before it begins
	why    Reason             // it was told to stop
	begun  bool
	result *Snapshot
	over   sim.Signal // nothing is going on any more
}

func (s *backupSession) ended() bool { return s.runner.current != s }

// run makes a backup and waits for it. If the caller gives up first, or dies, the
// backup is told to stop and undoes itself while nobody waits; one that nobody
// hears of any more is undone as well.
func (r *sessionRunner) run(ctx context.Context, o SnapshotOptions, work backup) (*Snapshot, error) {
	if r.current != nil && !r.machine.Ended() {
		return nil, r.fail(ErrBusy)
	}
	s := &backupSession{runner: r, work: work}
	s.over.Name = "the end of the backup by " + r.machine.path + "/" + r.name
	r.current = s
	heard := s.unlessHeard(ctx)
	err := r.call(ctx, "Snapshot", func(ctx context.Context) error {
		s.begun = true
		return r.actor.Go("backup", func(base context.Context) error { return s.begin(base, o) }).Wait(ctx)
	})
	if err == nil {
		heard()
		return s.result, nil
	}
	switch {
	case r.machine.Ended():
	case !s.begun: // nor will it
		s.stop(ErrAborted)
		s.end()
	case s.ended(): // by its own failure, or with a success that comes too late
		err = errors.Join(err, s.withdraw(ctx))
	case !r.actor.Dead(): // the caller is dead, or its context has ended
		s.stop(ErrAborted)
	default:
		if late := r.machine.call(ctx, "Snapshot", s.over.Wait); late == nil {
			err = r.fail(fmt.Errorf("%w: %w", ErrNotRunning, err))
		}
	}
	if !sim.Dead(ctx) {
		heard()
	}
	return nil, err
}

// unlessHeard has the backup stopped, or what it made taken away, if the caller
// dies before it has heard how it went.
func (s *backupSession) unlessHeard(ctx context.Context) (heard func()) {
	caller, m := sim.Self(ctx), s.runner.machine
	if caller == nil {
		return func() {}
	}
	return caller.OnKill(m.actor, "caller lost", func(ctx context.Context) error {
		s.stop(ErrAborted)
		return s.withdraw(ctx)
	})
}

// withdraw takes away what a backup made that ended well, but unheard.
func (s *backupSession) withdraw(ctx context.Context) error {
	if !s.ended() || s.result == nil {
		return nil
	}
	s.result = nil
	return s.runner.machine.call(context.WithoutCancel(ctx), "Snapshot", s.work.undo)
}

// call runs fn in the service's process. A service whose process died is started
// anew.
func (r *sessionRunner) call(ctx context.Context, op string, fn func(ctx context.Context) error) error {
	if !r.machine.Ended() && (r.actor == nil || r.actor.Dead()) {
		r.actor = r.machine.actor.Child(r.name)
	}
	return r.machine.callOn(ctx, r.actor, op, fn)
}

// release deletes the copies of a snapshot with fn, in the service's process.
func (r *sessionRunner) release(ctx context.Context, s *Snapshot, fn func(ctx context.Context) error) error {
	return r.call(ctx, "Release", func(ctx context.Context) error {
		r.machine.actor.Emit("guest/release", "R35", sim.N("copies", len(s.Copies)))
		return fn(ctx)
	})
}

// begin is the backup's process.
func (s *backupSession) begin(base context.Context, o SnapshotOptions) error {
	me := s.runner.actor
	survives := me.OnKill(s.runner.machine.actor, "backup lost", func(ctx context.Context) error {
		defer s.end()
		return s.work.undo(ctx)
	})
	ctx, cancel := sim.WithTimeout(base, o.timeout())
	defer cancel()
	if s.cancel = cancel; s.why != 0 {
		cancel()
	}
	err := s.attempt(ctx)
	if err != nil {
		s.result = nil
	}
	if err != nil && !me.Dead() {
		err = s.runner.fail(errors.Join(s.reason(ctx, err), s.work.undo(base)))
	}
	if !me.Dead() {
		survives()
		s.end()
	}
	return err
}

func (s *backupSession) attempt(ctx context.Context) (err error) {
	if err = sim.At(ctx, PointAnswer); err != nil {
		return err
	}
	if s.result, err = s.work.run(ctx); err != nil {
		return err
	}
	if err = sim.At(ctx, PointSnapshot); err == nil && s.why != 0 {
		err = s.why // nobody waits for it any more
	}
	return err
}

// reason says why a backup whose time has ended failed.
func (s *backupSession) reason(ctx context.Context, err error) error {
	switch {
	case s.why != 0:
		return fmt.Errorf("%w: %w", s.why, err)
	case ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return err
}

func (s *backupSession) end() {
	if s.runner.current == s {
		s.runner.current = nil
	}
	s.over.Set()
}

// stop makes the session fail for a reason.
func (s *backupSession) stop(why Reason) {
	if s.why == 0 {
		s.why = why
	}
	if s.cancel != nil {
		s.cancel()
	}
}

// abort ends the session under way, if there is one, and waits for its end.
func (r *sessionRunner) abort(ctx context.Context) error {
	s := r.current
	if s == nil || r.machine.Ended() {
		return nil
	}
	s.stop(ErrAborted)
	return r.machine.call(ctx, "Abort", s.over.Wait)
}

func (r *sessionRunner) fail(cause error) error {
	return &Error{Op: "Snapshot", On: r.machine.path + "/" + r.name, Err: cause}
}
