package sim_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
	"pgregory.net/rapid"
)

// The model of a tree of sleepers, second by second: an actor runs while neither
// it nor one above it is paused or dead, and a sleeper's time passes while its
// actor runs.
type modelActor struct {
	parent *modelActor
	paused bool
	dead   bool
	sleeps []*modelSleep
}

type modelSleep struct {
	left  int // seconds
	begun bool
	ended bool
	says  string // when it woke, and why
}

func (a *modelActor) stands() (paused, dead bool) {
	for ; a != nil; a = a.parent {
		paused, dead = paused || a.paused, dead || a.dead
	}
	return paused, dead
}

// second lets a second pass until now; what was killed was so half a second after
// its beginning.
func (a *modelActor) second(now time.Duration) {
	paused, dead := a.stands()
	for _, s := range a.sleeps {
		switch {
		case s.ended:
		case dead:
			if s.ended = true; s.begun {
				s.says = fmt.Sprint(now-time.Second/2, sim.ErrDead)
			}
		case !paused:
			s.begun = true
			if s.left--; s.left == 0 {
				s.ended, s.says = true, fmt.Sprint(now, nil)
			}
		}
	}
}

// TestActorsAgainstAModel pauses, resumes, kills and closes at random in a random
// tree, one operation each second and half a second after what wakes.
func TestActorsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var opts []sim.Option
		if seed := rapid.Uint64Range(0, 3).Draw(rt, "seed"); seed > 0 {
			opts = append(opts, sim.Seed(seed))
		}
		w := sim.New(opts...)
		defer w.Close()
		var actors []*sim.Actor
		var models []*modelActor
		woke := make(map[*modelSleep]string)
		grow := func(parent int) {
			m := &modelActor{}
			a := w.Actor("top")
			if parent > 0 {
				m.parent = models[parent-1]
				a = actors[parent-1].Child("child")
			}
			actors, models = append(actors, a), append(models, m)
		}
		err := w.Do(context.Background(), func(ctx context.Context) error {
			grow(0)
			steps := rapid.IntRange(1, 40).Draw(rt, "steps")
			_ = sim.Sleep(ctx, time.Second/2)
			for now := range steps {
				i := rapid.IntRange(0, len(actors)-1).Draw(rt, "actor")
				a, m := actors[i], models[i]
				_, dead := m.stands()
				switch op := rapid.SampledFrom([]string{"child", "sleep", "sleep", "pause", "resume", "kill", "close", ""}).Draw(rt, "op"); op {
				case "child":
					grow(i + 1)
				case "sleep":
					s := &modelSleep{left: rapid.IntRange(1, 12).Draw(rt, "seconds"), ended: dead}
					m.sleeps = append(m.sleeps, s)
					d := time.Duration(s.left) * time.Second
					a.Go("sleep", func(ctx context.Context) error {
						err := sim.Sleep(ctx, d-time.Second/2)
						woke[s] = fmt.Sprint(sim.Now(ctx), err)
						return nil
					})
				case "pause":
					a.Pause()
					m.paused = !dead
				case "resume":
					a.Resume()
					m.paused = false
				case "kill":
					a.Kill()
					m.dead = true
				case "close":
					if err := a.Close(ctx); err != nil {
						return err
					}
					m.dead = true
				}
				for _, m := range models {
					m.second(time.Duration(now+1) * time.Second)
				}
				if err := sim.Sleep(ctx, time.Second); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			rt.Fatal(err)
		}
		for i, m := range models {
			if _, dead := m.stands(); dead != actors[i].Dead() {
				rt.Errorf("%s: dead: %v", actors[i].Path(), actors[i].Dead())
			}
			for _, s := range m.sleeps {
				if woke[s] != s.says {
					rt.Errorf("%s: %q, want %q", actors[i].Path(), woke[s], s.says)
				}
			}
		}
	})
}

// A random program of processes that lock, wait and signal comes to its end or to
// a deadlock, with the same trace each time, and nothing is left behind.
func TestRandomProgramsAreDeterministic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawProgram(rt, 6, 8)
		seed := rapid.Uint64().Draw(rt, "seed")
		var ends []string
		for range 2 {
			ends = append(ends, p.run(sim.Seed(seed), sim.Plan("toy/at nth=2 kill")))
		}
		if ends[0] != ends[1] {
			rt.Errorf("%s\n%s\nof %v", ends[0], ends[1], p)
		}
	})
}

// Timers fire in the order of their times, and those of one time in the order in
// which they were set.
func TestTimersFireInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		delays := rapid.SliceOfN(rapid.IntRange(1, 20), 0, 60).Draw(rt, "delays")
		w := sim.New()
		defer w.Close()
		type wake struct{ at, nth int }
		var got, want []wake
		a := w.Actor("a")
		for i, d := range delays {
			want = append(want, wake{d, i})
			a.Go("p", func(ctx context.Context) error {
				_ = sim.Sleep(ctx, time.Duration(d))
				got = append(got, wake{int(sim.Now(ctx)), i})
				return nil
			})
		}
		if err := w.Advance(time.Minute); err != nil {
			rt.Fatal(err)
		}
		slices.SortStableFunc(want, func(a, b wake) int { return a.at - b.at })
		if !slices.Equal(got, want) {
			rt.Errorf("%v, want %v", got, want)
		}
	})
}
