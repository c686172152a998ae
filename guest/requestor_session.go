package guest

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// PointAnswer is where a machine's backup service may fail to answer the host or
// take its time, before anything has happened in the guest. It is asked for the
// service: on=h1/sql01/guest/vmicvss
const PointAnswer sim.Point = "guest/answer"

// A sessionRunner carries out the backups of a requestor, one at a time, in
// processes of the machine.
type sessionRunner struct {
	machine *Machine
	name    string     // of the service
	actor   *sim.Actor // of its process; see call
	current *backupSession
}

// A backupSession is one call of Snapshot.
type backupSession struct {
	runner *sessionRunner
	cancel context.CancelFunc // nil before it begins
	why    Reason             // it was told to stop
	result *Snapshot
	over   sim.Signal
}

// A backupFunc makes the guest's shadow copies. Ctx ends when the host or the
// clock says so; base goes on, for undoing what was done. On error nothing is
// left.
type backupFunc func(ctx, base context.Context) (*Snapshot, error)

// run makes a backup and waits for it. If the caller gives up, the backup is
// told to stop and undoes itself while nobody waits.
func (r *sessionRunner) run(ctx context.Context, o SnapshotOptions, backup backupFunc) (*Snapshot, error) {
	s := &backupSession{runner: r}
	s.over.Name = "the end of the backup in " + r.machine.path
	err := r.call(ctx, "Snapshot", func(ctx context.Context) error {
		if r.current != nil {
			return r.fail(ErrBusy)
		}
		r.current = s
		work := r.actor.Go("backup", func(base context.Context) error { return s.work(base, o, backup) })
		return work.Wait(ctx)
	})
	if err != nil {
		if r.current == s {
			s.stop(ErrAborted)
		}
		return nil, err
	}
	return s.result, nil
}

// call runs fn in the service's process. A service whose process died is started
// anew.
func (r *sessionRunner) call(ctx context.Context, op string, fn func(ctx context.Context) error) error {
	if !r.machine.Ended() && (r.actor == nil || r.actor.Dead()) {
		r.actor = r.machine.actor.Child(r.name)
	}
	return r.machine.callOn(ctx, r.actor, op, fn)
}

func (s *backupSession) work(base context.Context, o SnapshotOptions, backup backupFunc) error {
	defer s.end()
	ctx, cancel := sim.WithTimeout(base, o.timeout())
	defer cancel()
	if s.cancel = cancel; s.why != 0 {
		cancel()
	}
	err := sim.At(ctx, PointAnswer)
	if err == nil {
		s.result, err = backup(ctx, base)
	}
	switch {
	case err == nil:
		return nil
	case s.why != 0:
		return s.runner.fail(fmt.Errorf("%w: %w", s.why, err))
	case errors.Is(err, context.DeadlineExceeded):
		return s.runner.fail(fmt.Errorf("%w: %w", ErrTimeout, err))
	}
	return s.runner.fail(err)
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
	if s == nil {
		return nil
	}
	s.stop(ErrAborted)
	return within(ctx, r.machine.actor, s.over.Wait)
}

func (r *sessionRunner) fail(cause error) error {
	return &Error{Op: "Snapshot", On: r.actor.Path(), Err: cause}
}
