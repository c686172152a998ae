package sim_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// outcome is how a call from ordinary code came back.
type outcome struct {
	err      error
	panicked any
	exited   bool
}

// observe runs call in a goroutine of its own, since it may exit it.
func observe(call func() error) outcome {
	done := make(chan outcome)
	go func() {
		o := outcome{exited: true}
		defer func() {
			if o.panicked = recover(); o.panicked != nil {
				o.exited = false
			}
			done <- o
		}()
		o.err = call()
		o.exited = false
	}()
	return <-done
}

func TestPanicIsTheProcesssFailure(t *testing.T) {
	w := sim.New()
	defer w.Close()
	cause := errors.New("no such disk")
	err := w.Do(t.Context(), func(ctx context.Context) error {
		p := w.Actor("writer").Go("freeze", func(context.Context) error { panic(cause) })
		err := p.Wait(ctx)
		if sim.Sleep(ctx, time.Second) != nil {
			t.Error("the world did not go on")
		}
		return err
	})
	var e *sim.PanicError
	if !errors.As(err, &e) || e.Process != "writer:freeze" || !errors.Is(err, cause) {
		t.Errorf("Do: %v", err)
	}
	if p := w.Panics(); len(p) != 1 || p[0] != e || !strings.Contains(e.Stack, "TestPanicIsTheProcesssFailure") {
		t.Errorf("Panics: %v", p)
	}
	if events := w.Trace().Select("panic"); len(events) != 1 || events[0].Get("value") != cause.Error() {
		t.Errorf("trace:\n%s", w.Trace())
	}
}

func TestPanicTextHoldsNoAddress(t *testing.T) {
	type private struct{ p *int }
	for _, c := range []struct {
		value any
		want  string
	}{
		{"text", "text"},
		{errors.New("error"), "error"},
		{7, "7"},
		{time.Second, "1s"},
		{&private{new(int)}, "a value of type *sim_test.private"},
	} {
		w := sim.New()
		_ = w.Do(t.Context(), func(context.Context) error { panic(c.value) })
		if got := w.Trace()[0].Get("value"); got != c.want {
			t.Errorf("%T: %q, want %q", c.value, got, c.want)
		}
		_ = w.Close()
	}
}

func TestProtect(t *testing.T) {
	w := sim.New(sim.Rethrow(func(v any) bool { return v == "mine" }))
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		want := errors.New("plain")
		if err := sim.Protect(ctx, func() error { return want }); err != want {
			t.Errorf("an error became %v", err)
		}
		err := sim.Protect(ctx, func() error { panic("oops") })
		var e *sim.PanicError
		if !errors.As(err, &e) || e.Value != "oops" {
			t.Errorf("a panic became %v", err)
		}
		return nil
	})
	if err != nil || len(w.Panics()) != 1 {
		t.Errorf("%v, %v", err, w.Panics())
	}
	if err := sim.Protect(t.Context(), func() error { panic("not reached") }); err != sim.ErrContext {
		t.Errorf("in ordinary code: %v", err)
	}
	o := observe(func() error {
		return w.Do(t.Context(), func(ctx context.Context) error {
			return sim.Protect(ctx, func() error { panic("mine") })
		})
	})
	if o.panicked != "mine" {
		t.Errorf("what belongs to the driver became %+v", o)
	}
}

func TestProtectLetsDeathPass(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	p := a.Go("work", func(ctx context.Context) error {
		_ = sim.Protect(ctx, func() error {
			_ = sim.Sleep(ctx, time.Hour)
			_ = sim.Sleep(ctx, time.Hour)
			t.Error("went on after its second call")
			return nil
		})
		t.Error("survived in Protect")
		return nil
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 1)
		a.Kill()
		return p.Wait(ctx)
	})
	if err != sim.ErrDead || len(w.Panics()) != 0 {
		t.Errorf("%v, %v", err, w.Panics())
	}
}

// What belongs to the driver goes on in its goroutine, wherever it began, closes
// the world, and lets every process unwind first.
func TestWhatBelongsToTheDriverGoesOnThere(t *testing.T) {
	var drift *sim.DriftError
	broken := sim.WithChooser(sim.ChooseFunc(func(string, int) int { panic("broken chooser") }))
	for _, c := range []struct {
		name string
		opt  sim.Option
		fn   func(ctx context.Context)
		want func(o outcome) bool
	}{
		{"Goexit", sim.TraceIO(), func(context.Context) { runtime.Goexit() },
			func(o outcome) bool { return o.exited }},
		{"Rethrow", sim.Rethrow(func(v any) bool { return v == "mine" }), func(context.Context) { panic("mine") },
			func(o outcome) bool { return o.panicked == "mine" }},
		{"chooser", broken, func(ctx context.Context) { sim.Choose(ctx, "x", 2) },
			func(o outcome) bool { return o.panicked == "broken chooser" }},
		{"chooser, and the process recovers", broken, func(ctx context.Context) {
			defer func() { _ = recover() }()
			sim.Choose(ctx, "x", 2)
		}, func(o outcome) bool { return o.panicked == "broken chooser" }},
		{"chooser, and the process recovers and calls", broken, func(ctx context.Context) {
			func() {
				defer func() { _ = recover() }()
				sim.Choose(ctx, "x", 2)
			}()
			_ = sim.Sleep(ctx, 1)
			t.Error("the process went on")
		}, func(o outcome) bool { return o.panicked == "broken chooser" }},
		{"chooser, and something else on the way", sim.Options(broken, sim.Rethrow(func(v any) bool { return v == "mine" })),
			func(ctx context.Context) {
				defer panic("mine")
				sim.Choose(ctx, "x", 2)
			}, func(o outcome) bool { return o.panicked == "broken chooser" }},
		{"chooser between processes", broken, func(ctx context.Context) {
			sim.Go(ctx, "other", func(context.Context) error { return nil })
			_ = sim.Yield(ctx)
		}, func(o outcome) bool { return o.panicked == "broken chooser" }},
		{"chooser after a process that another waited for", broken, func(ctx context.Context) {
			nothing := func(context.Context) error { return nil }
			_ = sim.Go(ctx, "first", func(ctx context.Context) error {
				sim.Go(ctx, "second", nothing)
				sim.Go(ctx, "third", nothing)
				return nil
			}).Wait(ctx)
		}, func(o outcome) bool { return o.panicked == "broken chooser" }},
		{"no such way", sim.WithChooser(sim.ChooseFunc(func(_ string, n int) int { return n })),
			func(ctx context.Context) { sim.Choose(ctx, "x", 2) },
			func(o outcome) bool { return strings.Contains(fmt.Sprint(o.panicked), "way 2 of 2 for x") }},
		{"drift", sim.Replay(sim.Recording{{Name: "freeze", N: 4}}), func(ctx context.Context) { sim.Choose(ctx, "thaw", 2) },
			func(o outcome) bool {
				err, _ := o.panicked.(error)
				return errors.As(err, &drift)
			}},
	} {
		for _, within := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/within=%v", c.name, within), func(t *testing.T) { goesOn(t, c.opt, c.fn, c.want, within) })
		}
	}
}

// goesOn runs fn in a process, or in one that another process waits for.
func goesOn(t *testing.T, opt sim.Option, fn func(ctx context.Context), want func(o outcome) bool, within bool) {
	w := sim.New(opt)
	unwound := false
	err := w.Do(t.Context(), func(ctx context.Context) error {
		w.Actor("other").Go("bystander", func(ctx context.Context) error {
			defer func() { unwound = true }()
			return sim.Sleep(ctx, time.Hour)
		})
		return sim.Sleep(ctx, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	o := observe(func() error {
		return w.Do(t.Context(), func(ctx context.Context) error {
			if within {
				if err := sim.Go(ctx, "inner", func(ctx context.Context) error { fn(ctx); return nil }).Wait(ctx); err != sim.ErrDead {
					t.Errorf("who waits for the process got %v", err)
				}
				return nil
			}
			fn(ctx)
			return nil
		})
	})
	if !want(o) {
		t.Errorf("got %+v", o)
	}
	if !unwound {
		t.Error("a process did not unwind")
	}
	if err := w.Do(t.Context(), func(context.Context) error { return nil }); err != sim.ErrClosed {
		t.Errorf("Do afterwards: %v", err)
	}
	if err := w.Advance(1); err != sim.ErrClosed {
		t.Errorf("Advance afterwards: %v", err)
	}
}
