package sim_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func Example() {
	w := sim.New()
	defer w.Close()
	bell := &sim.Signal{Name: "bell"}
	err := w.Do(context.Background(), func(ctx context.Context) error {
		sim.Go(ctx, "ringer", func(ctx context.Context) error {
			defer bell.Set()
			return sim.Sleep(ctx, time.Hour)
		})
		err := bell.Wait(ctx)
		fmt.Println(sim.Now(ctx))
		return err
	})
	fmt.Println(err)
	// Output:
	// 1h0m0s
	// <nil>
}

func TestKillEndsAProcessAtItsSecondCall(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("victim")
	var got []error
	p := a.Go("work", func(ctx context.Context) error {
		defer func() { got = append(got, sim.Sleep(ctx, 1)) }()
		got = append(got, sim.Sleep(ctx, time.Hour))
		got = append(got, sim.Sleep(ctx, time.Hour))
		t.Error("went on after its second call")
		return nil
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Minute)
		a.Kill()
		return p.Wait(ctx)
	})
	if !errors.Is(err, sim.ErrDead) || len(got) != 2 || got[0] != sim.ErrDead || got[1] != sim.ErrDead {
		t.Errorf("err %v, calls %v", err, got)
	}
}

func TestPauseKeepsWhatATimerHadLeft(t *testing.T) {
	w := sim.New()
	defer w.Close()
	a := w.Actor("a")
	child := a.Child("b")
	var woke time.Duration
	p := child.Go("sleeper", func(ctx context.Context) error {
		err := sim.Sleep(ctx, 10*time.Second)
		woke = sim.Now(ctx)
		return err
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 4*time.Second)
		a.Pause()
		_ = sim.Sleep(ctx, time.Minute)
		a.Resume()
		return p.Wait(ctx)
	})
	if want := 70 * time.Second; err != nil || woke != want {
		t.Errorf("woke at %v, %v; want %v", woke, err, want)
	}
}

func TestDeadlockNamesWhoWaits(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		var s sim.Signal
		s.Name = "godot"
		return s.Wait(ctx)
	})
	var stuck *sim.StuckError
	if !errors.As(err, &stuck) || !stuck.Deadlock() || len(stuck.Waiting) != 1 || stuck.Waiting[0].For != "signal godot" {
		t.Errorf("got %v", err)
	}
}

func TestOrdinaryContextInsideAProcess(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(context.Context) error {
		return w.Do(context.Background(), func(context.Context) error { return nil })
	})
	if !errors.Is(err, sim.ErrContext) {
		t.Errorf("got %v", err)
	}
}

func TestTimeoutInVirtualTime(t *testing.T) {
	w := sim.New()
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		c, cancel := sim.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := sim.Sleep(c, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep: %v", err)
		}
		if sim.Now(ctx) != time.Second {
			t.Errorf("at %v", sim.Now(ctx))
		}
		return sim.Sleep(ctx, time.Second)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestGoexitGoesOnInTheDriver(t *testing.T) {
	w := sim.New()
	done := make(chan bool, 1)
	go func() {
		defer func() { done <- true }()
		_ = w.Do(t.Context(), func(ctx context.Context) error {
			p := sim.Go(ctx, "skip", func(context.Context) error { t.SkipNow(); return nil })
			return p.Wait(ctx)
		})
		done <- false
	}()
	if !<-done {
		t.Error("the driver went on")
	}
	_ = w.Close()
}
