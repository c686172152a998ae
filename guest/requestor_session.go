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
	result *Snapshot
	over   sim.Signal // nothing is going on any more
}

// run makes a backup and waits for it. If the caller gives up first, or dies, the
// backup is told to stop and undoes itself while nobody waits.
func (r *sessionRunner) run(ctx context.Context, o SnapshotOptions, work backup) (*Snapshot, error) {
	s := &backupSession{runner: r, work: work}
	err := r.call(ctx, "Snapshot", func(ctx context.Context) error {
		if r.current != nil {
			return r.fail(ErrBusy)
		}
		r.current = s
		s.over.Name = "the end of the backup by " + r.actor.Path()
		return r.actor.Go("backup", func(base context.Context) error { return s.begin(base, o) }).Wait(ctx)
	})
	if err == nil {
		return s.result, nil
	}
	if r.current == s && !r.machine.Ended() {
		if !r.actor.Dead() { // the caller is dead, or its context has ended
			s.stop(ErrAborted)
		} else if late := r.machine.call(ctx, "Snapshot", s.over.Wait); late == nil {
			err = r.fail(fmt.Errorf("%w: %w", ErrNotRunning, err))
		}
	}
	return nil, err
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
	return sim.At(ctx, PointSnapshot)
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
	s.runner.current = nil
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
	return &Error{Op: "Snapshot", On: r.actor.Path(), Err: cause}
}
