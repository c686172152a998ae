package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A task is a process that somebody waits for and may leave behind: its context
// then ends.
type task struct {
	proc *sim.Proc
	stop context.CancelFunc
	left bool
	own  bool // it works with the process's own context
}

// startWork starts fn as a process of a. Its context ends when the task is left.
func startWork(a *sim.Actor, name string, fn func(ctx context.Context) error) task {
	return task{proc: a.Go(name, fn), own: true}
}

// startTask starts fn as a process of a. Work ends when the task is left, base
// does not.
func startTask(a *sim.Actor, name string, fn func(base, work context.Context) error) *task {
	t := &task{}
	t.proc = a.Go(name, func(base context.Context) error {
		work, stop := sim.WithCancel(base)
		t.stop = stop
		defer stop()
		if t.left {
			stop()
		}
		return fn(base, work)
	})
	return t
}

// wait gives way until the task has ended, or leaves it when the context ends.
func (t *task) wait(ctx context.Context) error {
	err := t.proc.Wait(ctx)
	if !t.proc.Ended() {
		t.leave()
	}
	return err
}

func (t *task) leave() {
	t.left = true
	if t.own {
		t.proc.Cancel()
	}
	if t.stop != nil {
		t.stop()
	}
}
