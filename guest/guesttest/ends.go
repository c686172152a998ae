package guesttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// endCases are about snapshots that end before they are done.
var endCases = []requestorCase{
	{"Abort without a Snapshot does nothing", idleAbort},
	{"Abort at any moment makes Snapshot fail with ErrAborted, and returns when nothing is left", aborts},
	{"a Snapshot that takes longer than its Timeout fails with ErrTimeout, and leaves nothing", timesOut},
	{"a caller that gives up, or dies, leaves nothing behind", callerGone},
	{"a Snapshot while another is under way is ErrBusy, and harms neither", busy},
	{"a Snapshot in a paused machine goes on when the machine does", paused},
	{"a machine that loses its power makes every call fail with ErrEnded", powerOff},
}

func idleAbort(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		if err := during("Abort without a Snapshot", b.Abort(ctx)); err != nil {
			return err
		}
		s, err := b.snapshot(ctx)
		if err != nil {
			return fmt.Errorf("after an Abort: %w", err)
		}
		if err := during("Abort after Snapshot", b.Abort(ctx)); err != nil {
			return err
		}
		for _, d := range b.seen() {
			if _, err := b.image(s, d); err != nil {
				return fmt.Errorf("an Abort after Snapshot took a copy: %w", err)
			}
		}
		return nil
	})
}

// A result is what became of a Snapshot in a process of its own.
type result struct {
	snapshot *guest.Snapshot
	err      error
	proc     *sim.Proc
}

// begin starts a Snapshot in a process of the host.
func (b *bench) begin(ctx context.Context, o guest.SnapshotOptions) *result {
	r := &result{}
	r.proc = sim.Go(ctx, "snapshot", func(ctx context.Context) error {
		r.snapshot, r.err = b.Snapshot(ctx, o)
		return nil
	})
	return r
}

func (r *result) wait(ctx context.Context) error {
	err := r.proc.Wait(ctx)
	if err != nil {
		r.err = err
	}
	return r.err
}

// moments is the virtual times within a Snapshot at which something happens to
// it: every half of the witness's rest, and beyond the end.
func (k *kit) moments(fn func(after time.Duration) error) error {
	var took time.Duration
	err := k.with(func(ctx context.Context, b *bench) error {
		began := sim.Now(ctx)
		_, err := b.snapshot(ctx)
		took = sim.Now(ctx) - began
		return err
	})
	for at := time.Duration(0); at <= took && err == nil; at += max(rest/2, took/24) {
		err = fn(at)
	}
	return err
}

// pass lets others run for a while: at least until each had its turn.
func pass(ctx context.Context, d time.Duration) error {
	if d > 0 {
		return sim.Sleep(ctx, d)
	}
	return sim.Yield(ctx)
}

func aborts(k *kit) error {
	return k.moments(func(after time.Duration) error {
		return k.with(func(ctx context.Context, b *bench) error {
			r := b.begin(ctx, guest.SnapshotOptions{})
			if err := pass(ctx, after); err != nil {
				return err
			}
			call := fmt.Sprintf("Abort %v after the beginning of Snapshot", after)
			if err := during(call, b.Abort(ctx)); err != nil {
				return err
			}
			finished := r.err == nil && r.snapshot != nil
			if !finished {
				if err := b.clean(call); err != nil {
					return err
				}
			}
			switch err := r.wait(ctx); {
			case err == nil && !finished:
				return fmt.Errorf("%s returned, and Snapshot succeeded all the same", call)
			case err != nil && !errors.Is(err, guest.ErrAborted):
				return fmt.Errorf("%s: Snapshot failed with %q, want %w", call, err, guest.ErrAborted)
			case err == nil:
				return b.Release(ctx, r.snapshot)
			}
			return b.settled(ctx, call)
		})
	})
}

func timesOut(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		began := sim.Now(ctx)
		_, err := b.Snapshot(ctx, guest.SnapshotOptions{Timeout: time.Minute})
		took := sim.Now(ctx) - began
		if err == nil && took < time.Minute {
			return fmt.Errorf("%w: the fault %q does not delay Snapshot", errSkipped, b.kit.slow())
		}
		if err := wants("Snapshot with a Timeout of a minute", err, guest.ErrTimeout); err != nil {
			return err
		}
		if took < time.Minute || took > 5*time.Minute {
			return fmt.Errorf("a Snapshot with a Timeout of a minute took %v", took)
		}
		b.world.Heal()
		return b.settled(ctx, "a time-out")
	}, sim.Plan(k.slow()))
}

func callerGone(k *kit) error {
	return k.moments(func(after time.Duration) error {
		for _, how := range []string{"whose context ends", "that dies"} {
			err := k.with(func(ctx context.Context, b *bench) error { return b.leave(ctx, how, after) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// leave has a caller go away in the middle of a Snapshot.
func (b *bench) leave(ctx context.Context, how string, after time.Duration) error {
	caller := b.world.Actor("caller")
	r := &result{}
	gone := caller.Kill
	r.proc = caller.Go("snapshot", func(ctx context.Context) error {
		limited, cancel := sim.WithCancel(ctx)
		defer cancel()
		if how != "that dies" {
			gone = cancel
		}
		r.snapshot, r.err = b.Snapshot(limited, guest.SnapshotOptions{})
		return nil
	})
	if err := sim.Yield(ctx); err != nil { // until the call has begun
		return err
	}
	if err := pass(ctx, after); err != nil {
		return err
	}
	finished := r.snapshot != nil
	gone()
	if err := sim.Sleep(ctx, 10*time.Minute); err != nil {
		return err
	}
	call := fmt.Sprintf("a caller %s %v after the beginning of Snapshot", how, after)
	if finished || r.snapshot != nil && r.err == nil {
		return during("Release", b.Release(ctx, r.snapshot))
	}
	return b.settled(ctx, call)
}

func busy(k *kit) error {
	return k.with(func(ctx context.Context, b *bench) error {
		first := b.begin(ctx, guest.SnapshotOptions{})
		if err := sim.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		if first.snapshot != nil || first.err != nil {
			return fmt.Errorf("%w: the fault %q does not delay Snapshot: it returned %w", errSkipped, b.kit.slow(), orNil(first.err))
		}
		_, err := b.Snapshot(ctx, guest.SnapshotOptions{})
		if err := wants("a second Snapshot", err, guest.ErrBusy); err != nil {
			return err
		}
		if err := first.wait(ctx); err != nil {
			return fmt.Errorf("the first Snapshot, disturbed by a second, failed with %w", err)
		}
		for _, d := range b.seen() {
			if _, err := b.image(first.snapshot, d); err != nil {
				return fmt.Errorf("the first Snapshot, disturbed by a second: %w", err)
			}
		}
		if err := b.Release(ctx, first.snapshot); err != nil {
			return during("Release", err)
		}
		b.world.Heal()
		return b.settled(ctx, "two Snapshots at once")
	}, sim.Plan(shorter(k.slow())))
}

// shorter makes the planned delay one that a Snapshot has time for, by default.
func shorter(plan string) string {
	f, err := sim.ParseFault(plan)
	if err != nil || f.Outcome.Delay == 0 {
		return plan
	}
	f.Outcome.Delay = 5 * time.Minute
	return f.String()
}

func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

func paused(k *kit) error {
	return k.moments(func(after time.Duration) error {
		return k.with(func(ctx context.Context, b *bench) error {
			r := b.begin(ctx, guest.SnapshotOptions{})
			if err := pass(ctx, after); err != nil {
				return err
			}
			b.machine.Pause()
			if err := sim.Sleep(ctx, time.Hour); err != nil {
				return err
			}
			b.machine.Continue()
			if err := r.wait(ctx); err != nil {
				return fmt.Errorf("a Snapshot, paused for an hour after %v: %w", after, err)
			}
			if err := during("Release", b.Release(ctx, r.snapshot)); err != nil {
				return err
			}
			return b.settled(ctx, "a pause")
		})
	})
}

func powerOff(k *kit) error {
	return k.moments(func(after time.Duration) error {
		return k.with(func(ctx context.Context, b *bench) error {
			r := b.begin(ctx, guest.SnapshotOptions{})
			if err := pass(ctx, after); err != nil {
				return err
			}
			finished := r.snapshot != nil
			b.machine.PowerOff()
			call := fmt.Sprintf("Snapshot, the power lost after %v,", after)
			if err := r.wait(ctx); !finished {
				if err := wants(call, err, guest.ErrEnded); err != nil {
					return err
				}
			}
			_, err := b.Snapshot(ctx, guest.SnapshotOptions{})
			if err := wants("Snapshot in a machine that has ended", err, guest.ErrEnded); err != nil {
				return err
			}
			if err := b.start(ctx); err != nil {
				return err
			}
			return b.settled(ctx, "a loss of power and a boot")
		})
	})
}
