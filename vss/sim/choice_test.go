package sim_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
	"pgregory.net/rapid"
)

// toss lets several actors draw, each from its own objects.
func toss(w *sim.World, drawsOfA int) map[string]string {
	drawn := make(map[string]string)
	for _, name := range []string{"a", "b", "c"} {
		draws := 20
		if name == "a" {
			draws = drawsOfA
		}
		w.Actor(name).Go("draw", func(ctx context.Context) error {
			for range draws {
				d := sim.Latency(ctx, "disk", 0, time.Second)
				drawn[name] += fmt.Sprint(sim.Choose(ctx, name+"/disk", 10), d, ",")
				_ = sim.Yield(ctx)
			}
			return nil
		})
	}
	_ = w.Advance(time.Hour)
	return drawn
}

// A new call on one object shifts nothing that another one draws.
func TestSeededChoicesAreKeyedByObject(t *testing.T) {
	different := false
	for seed := range uint64(5) {
		w, v := sim.New(sim.Seed(seed)), sim.New(sim.Seed(seed))
		few, many := toss(w, 3), toss(v, 30)
		if few["b"] != many["b"] || few["c"] != many["c"] || !strings.HasPrefix(many["a"], few["a"]) {
			t.Errorf("seed %d: %v\n%v", seed, few, many)
		}
		other := sim.New(sim.Seed(seed + 1))
		different = different || toss(other, 3)["b"] != few["b"]
		_, _, _ = w.Close(), v.Close(), other.Close()
	}
	if !different {
		t.Error("all seeds are one")
	}
}

// order runs workers who take turns, and says in which order they did.
func order(w *sim.World, names ...string) []string {
	var order []string
	for _, name := range names {
		a := w.Actor(name)
		a.Go("work", func(ctx context.Context) error {
			for step := range 6 {
				order = append(order, fmt.Sprint(name, step))
				if err := sim.Yield(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	_ = w.Advance(time.Second)
	return order
}

// Among the others the seeded scheduler keeps the order that it gave them without
// the newcomer.
func TestSeededSchedulerIsKeyedByProcess(t *testing.T) {
	orders := make(map[string]bool)
	for seed := range uint64(20) {
		w, v := sim.New(sim.Seed(seed)), sim.New(sim.Seed(seed))
		without := order(w, "a", "b", "c")
		with := order(v, "new", "a", "b", "c")
		var left []string
		for _, s := range with {
			if !strings.HasPrefix(s, "new") {
				left = append(left, s)
			}
		}
		if fmt.Sprint(left) != fmt.Sprint(without) {
			t.Errorf("seed %d: %v\nwith another %v", seed, without, left)
		}
		orders[fmt.Sprint(without)] = true
		_, _ = w.Close(), v.Close()
	}
	if len(orders) < 15 {
		t.Errorf("20 seeds gave %d orders", len(orders))
	}
	w := sim.New()
	defer w.Close()
	if got := fmt.Sprint(order(w, "a", "b")); got != "[a0 b0 a1 b1 a2 b2 a3 b3 a4 b4 a5 b5]" {
		t.Errorf("without a seed: %s", got)
	}
}

// A turn that was taken without a switch counts like one that was not: what a
// process is worth to the scheduler depends on its own steps alone.
func TestOwnStepsDoNotDependOnOthers(t *testing.T) {
	run := func(seed uint64, busy bool) string {
		w := sim.New(sim.Seed(seed))
		defer w.Close()
		if busy {
			w.Actor("busy").Go("work", func(ctx context.Context) error {
				for range 1000 {
					_ = sim.Sleep(ctx, 3*time.Millisecond)
				}
				return nil
			})
		}
		var order []string
		for i, name := range []string{"a", "b", "c"} {
			w.Actor(name).Go("work", func(ctx context.Context) error {
				_ = sim.Sleep(ctx, time.Duration(i)*time.Second)
				for range 5 + 5*i {
					_ = sim.Sleep(ctx, 10*time.Millisecond)
				}
				_ = sim.Sleep(ctx, 10*time.Second-sim.Now(ctx))
				for range 5 {
					order = append(order, name)
					_ = sim.Yield(ctx)
				}
				return nil
			})
		}
		_ = w.Advance(time.Minute)
		return fmt.Sprint(order)
	}
	for seed := range uint64(10) {
		if alone, busy := run(seed, false), run(seed, true); alone != busy {
			t.Errorf("seed %d: %s\n%s", seed, alone, busy)
		}
	}
}

func TestIdentitiesAreTheSameUnderEverySeed(t *testing.T) {
	ids := func(opts ...sim.Option) string {
		w := sim.New(opts...)
		defer w.Close()
		a := w.Actor("h1")
		return fmt.Sprintf("%x %x %x %x", w.NewID("h1/set"), w.NewID("h1/set"), a.NewID("set"), a.NewID("C:/x"))
	}
	first := ids()
	const want = "4c2ab8f1432e498b9c7b96a923b0a475"
	if !strings.HasPrefix(first, want) {
		t.Errorf("%s does not begin with %s, as it does everywhere", first, want)
	}
	for seed := range uint64(4) {
		if got := ids(sim.Seed(seed)); got != first {
			t.Errorf("seed %d: %s, want %s", seed, got, first)
		}
	}
	parts := strings.Fields(first)
	for i, id := range parts {
		if id[12] != '4' || !strings.ContainsRune("89ab", rune(id[16])) {
			t.Errorf("%s is no random GUID", id)
		}
		for _, other := range parts[:i] {
			if id == other {
				t.Errorf("%s twice", id)
			}
		}
	}
}

func TestLatency(t *testing.T) {
	w := sim.New(sim.Seed(1))
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		seen := make(map[time.Duration]bool)
		for range 100 {
			d := sim.Latency(ctx, "x", time.Second, 2*time.Second)
			if d < time.Second || d >= 2*time.Second {
				return fmt.Errorf("%v is out of its bounds", d)
			}
			seen[d] = true
		}
		if len(seen) < 90 || sim.Latency(ctx, "x", 5, 5) != 5 || sim.Latency(t.Context(), "x", 3, 9) != 3 {
			return fmt.Errorf("%d different ones", len(seen))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNobodyIsAskedAboutOneWay(t *testing.T) {
	asked := 0
	w := sim.New(sim.WithChooser(sim.ChooseFunc(func(_ string, n int) int {
		if n < 2 {
			t.Errorf("asked for one of %d", n)
		}
		asked++
		return n - 1
	})))
	defer w.Close()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		if sim.Choose(ctx, "one", 1) != 0 || asked != 0 || sim.Choose(ctx, "three", 3) != 2 || asked != 1 {
			t.Error("wrong way")
		}
		for _, n := range []int{0, -1} {
			err := sim.Protect(ctx, func() error { sim.Choose(ctx, "none", n); return nil })
			var p *sim.PanicError
			if !errors.As(err, &p) {
				t.Errorf("one of %d: %v", n, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReplayRepeatsARun(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		w := sim.New(sim.Seed(seed))
		defer w.Close()
		first := fmt.Sprint(toss(w, 5), order(w, "x", "y", "z"))
		line := w.Recording().String()
		r, err := sim.ParseRecording(line)
		if err != nil || r.String() != line || r.Len() != w.Recording().Len() {
			rt.Fatalf("%s read back as %s, %v", line, r, err)
		}
		for _, r := range []sim.Recording{r, r.Trim()} {
			v := sim.New(sim.Seed(seed), sim.Replay(r)) // the seed for latencies
			again := fmt.Sprint(toss(v, 5), order(v, "x", "y", "z"))
			if again != first || v.Recording().String() != line || v.Seed() != seed {
				rt.Errorf("%s\nreplayed as\n%s", first, again)
			}
			_ = v.Close()
		}
	})
}

// One Replay serves any number of worlds.
func TestReplayStartsAnewInEachWorld(t *testing.T) {
	opt := sim.Replay(sim.Recording{{Name: "x", N: 3, Chosen: 2, Times: 2}, {Name: "y", N: 2, Chosen: 1}})
	for range 2 {
		w := sim.New(opt)
		err := w.Do(t.Context(), func(ctx context.Context) error {
			got := fmt.Sprint(sim.Choose(ctx, "x", 3), sim.Choose(ctx, "x", 3), sim.Choose(ctx, "y", 2), sim.Choose(ctx, "z", 9))
			if got != "2 2 1 0" {
				t.Errorf("chose %s", got)
			}
			return nil
		})
		if err != nil || w.Recording().String() != "x/3=2*2 y/2=1 z/9=0" || len(w.Recording().Trim()) != 2 {
			t.Errorf("%v, %v", err, w.Recording())
		}
		_ = w.Close()
	}
}

func TestRecordingsAreNotChangedLater(t *testing.T) {
	w := sim.New(sim.Seed(1))
	defer w.Close()
	_ = w.Do(t.Context(), func(ctx context.Context) error {
		sim.Choose(ctx, "x", 2)
		before := w.Recording()
		text := before.String()
		for range 10 {
			sim.Choose(ctx, "x", 2)
		}
		if before.String() != text {
			t.Errorf("%s became %s", text, before)
		}
		return nil
	})
}

func TestDriftSaysWhere(t *testing.T) {
	r, err := sim.ParseRecording("run/2=1*17 freeze/4=0")
	if err != nil {
		t.Fatal(err)
	}
	w := sim.New(sim.Replay(r))
	o := observe(func() error {
		return w.Do(context.Background(), func(ctx context.Context) error {
			for range 17 {
				sim.Choose(ctx, "run", 2)
			}
			sim.Choose(ctx, "thaw", 2)
			return nil
		})
	})
	drift, ok := o.panicked.(*sim.DriftError)
	if !ok || drift.Error() != "sim: drift at choice 17: was freeze/4, now thaw/2" {
		t.Errorf("got %+v", o)
	}
}

func TestParseRecordingRefuses(t *testing.T) {
	for _, line := range []string{
		"x", "x/2", "x=1", "/=", "x/2=2", "x/2=-1", "x/1=0", "x/0=0", "x/-2=0", "x/2=0*0", "x/2=0*1", "x/2=0*", "x/2=0*-3",
		"x/2=0*x", "x/two=0", "x/2=zero", "x%/2=0", "x%2/2=0", "x%zz/2=0", "x/2=1 y", "x/99999999999999999999=0", "x/2=0*2*2",
	} {
		if r, err := sim.ParseRecording(line); err == nil {
			t.Errorf("%q is read as %v", line, r)
		}
	}
}

func FuzzParseRecording(f *testing.F) {
	for _, s := range []string{"", "run/2=0*13 run/3=1", "h1%2FD:%2Flatency/7=6", "%/2=1", "/2=1", "a/2=0*9999999999", "x/2=0 x/2=0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		r, err := sim.ParseRecording(line)
		if err != nil {
			return
		}
		again, err := sim.ParseRecording(r.String())
		if err != nil || again.String() != r.String() || len(again) != len(r) {
			t.Errorf("%q prints as %q, which is read as %q, %v", line, r, again, err)
		}
		for i := range again {
			if again[i] != r[i] {
				t.Errorf("%v is not %v", again[i], r[i])
			}
		}
	})
}
