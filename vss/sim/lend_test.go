package sim_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// aloof is the context of a driver that seems to have ended whenever a process
// asks, so that no process gives turns in the driver's place.
type aloof struct {
	context.Context
	w **sim.World
}

func (c aloof) Err() error {
	if (*c.w).Running() != "" {
		return context.Canceled
	}
	return nil
}

// crowd is processes that call, yield to, wake, pause and kill each other.
func crowd(ctx context.Context, w *sim.World) error {
	actors := []*sim.Actor{w.Actor("a"), w.Actor("b"), w.Actor("c")}
	var bell sim.Signal
	var lock sim.Mutex
	var walk func(ctx context.Context, depth int) error
	walk = func(ctx context.Context, depth int) error {
		for i := range 6 {
			other := actors[sim.Choose(ctx, "actor", len(actors))]
			what := sim.Choose(ctx, "what", 8)
			sim.Emit(ctx, "step", "", sim.N("depth", depth), sim.N("i", i), sim.N("what", what), sim.S("other", other.Path()))
			var err error
			switch {
			case what <= 2 && depth < 3:
				c, cancel := sim.WithTimeout(ctx, time.Duration(1+sim.Choose(ctx, "limit", 40))*time.Millisecond)
				err = other.Call(c, "walk", func(ctx context.Context) error { return walk(ctx, depth+1) })
				cancel()
			case what == 3:
				err = sim.Sleep(ctx, time.Duration(sim.Choose(ctx, "sleep", 20))*time.Millisecond)
			case what == 4:
				if err = lock.Lock(ctx); err == nil {
					err = sim.Yield(ctx)
					lock.Unlock()
				}
			case what == 5:
				if bell.IsSet() {
					bell = sim.Signal{}
				}
				c, cancel := sim.WithTimeout(ctx, 5*time.Millisecond)
				err = bell.Wait(c)
				cancel()
			case what == 6:
				bell.Set()
				other.Pause()
				err = sim.Sleep(ctx, time.Millisecond)
				other.Resume()
			default:
				if sim.Choose(ctx, "kill", 12) == 0 {
					other.Child("doomed").Go("short", func(ctx context.Context) error { return sim.Sleep(ctx, time.Hour) })
					other.Kill()
				}
				err = sim.Yield(ctx)
			}
			if err != nil {
				sim.Emit(ctx, "failed", "", sim.S("err", err.Error()))
				if errors.Is(err, sim.ErrDead) {
					return err
				}
			}
		}
		return nil
	}
	var procs []*sim.Proc
	for i := range 5 {
		procs = append(procs, actors[i%len(actors)].Go(fmt.Sprint("p", i), func(ctx context.Context) error { return walk(ctx, 0) }))
	}
	return sim.Join(ctx, procs...)
}

// That processes give turns in the driver's place changes nothing but the time it
// takes.
func TestWhoGivesTheTurnsIsNotSeen(t *testing.T) {
	events := 0
	for seed := range uint64(60) {
		run := func(lending bool) (*sim.World, string) {
			w := sim.New(sim.Seed(seed), sim.Limits(time.Hour, 20_000))
			defer w.Close()
			ctx := context.Background()
			if !lending {
				ctx = aloof{ctx, &w}
			}
			err := w.Do(ctx, func(ctx context.Context) error { return crowd(ctx, w) })
			return w, fmt.Sprint(err)
		}
		w, got := run(true)
		plain, want := run(false)
		if got != want || w.Steps() != plain.Steps() || w.Recording().String() != plain.Recording().String() {
			t.Errorf("seed %d: %d steps, %s\nwant %d steps, %s", seed, w.Steps(), got, plain.Steps(), want)
		}
		if w.Trace().Digest() != plain.Trace().Digest() {
			t.Errorf("seed %d: the traces differ:\n%s\n%s", seed, w.Trace(), plain.Trace())
		}
		events += len(w.Trace())
	}
	if events < 2000 {
		t.Errorf("%d events only", events)
	}
}

// A goroutine that exits within a process is the driver's matter, however many
// processes stand between them.
func TestGoexitFromDeepWithin(t *testing.T) {
	before := runtime.NumGoroutine()
	w := sim.New()
	var told []string
	var deep func(ctx context.Context, depth int) error
	deep = func(ctx context.Context, depth int) error {
		if depth == 5 {
			runtime.Goexit()
		}
		defer func() { told = append(told, fmt.Sprint(depth, " unwinds")) }()
		err := w.Actor(fmt.Sprint("a", depth)).Call(ctx, "deeper", func(ctx context.Context) error { return deep(ctx, depth+1) })
		told = append(told, fmt.Sprint(depth, " ", err))
		return err
	}
	o := observe(func() error { return w.Do(t.Context(), func(ctx context.Context) error { return deep(ctx, 0) }) })
	if !o.exited {
		t.Errorf("got %+v", o)
	}
	dead := sim.ErrDead.Error()
	want := fmt.Sprintf("[0 %[1]s 0 unwinds 1 %[1]s 1 unwinds 2 %[1]s 2 unwinds 3 %[1]s 3 unwinds 4 %[1]s 4 unwinds]", dead)
	if got := fmt.Sprint(told); got != want {
		t.Errorf("the processes between: %s, want %s", got, want)
	}
	if after := settledGoroutines(before); after > before {
		t.Errorf("%d goroutines, before it were %d", after, before)
	}
}
