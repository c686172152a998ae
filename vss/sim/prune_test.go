package sim_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
	"pgregory.net/rapid"
)

// A toy is a small world whose actors do what a program says, with every means
// of the kernel to hear of one another. All they hear goes into their logs.
type toy struct {
	w       *sim.World
	actors  []*sim.Actor
	logs    []string // of the processes' local states
	memory  []string // of each actor, shared by its processes
	signals [2]sim.Signal
	boxes   [2]string // written before a signal is set
	mutex   sim.Mutex
	guarded string // by the mutex
	gate    sim.Gate
	notice  string // written before the gate is turned
}

// An op is one step of a program. Its arguments mean what its kind makes of them.
type op struct {
	Kind string
	A    int
}

type program [][]op // of process i, which belongs to actor i modulo the number of actors

func (p program) String() string {
	var b strings.Builder
	for i, ops := range p {
		fmt.Fprintf(&b, "\n%d:", i)
		for _, o := range ops {
			fmt.Fprintf(&b, " %s(%d)", o.Kind, o.A)
		}
	}
	return b.String()
}

const toyActors = 3

// run executes the program and returns the end state.
func (p program) run(opts ...sim.Option) string {
	w := sim.New(opts...)
	defer w.Close()
	y := &toy{w: w, logs: make([]string, len(p)), memory: make([]string, toyActors)}
	y.gate.World, y.signals[0].World = w, w // signal 1 is one that its world does not know
	for i := range toyActors {
		y.actors = append(y.actors, w.Actor(string(rune('a'+i))))
	}
	for i, ops := range p {
		y.actors[i%toyActors].Go(fmt.Sprint("p", i), func(ctx context.Context) error {
			for _, o := range ops {
				y.note(i, y.do(ctx, i, o))
			}
			return nil
		})
	}
	_ = w.Advance(10 * time.Second)
	return strings.Join(y.logs, "|") + "||" + strings.Join(y.memory, "|") + "||" + y.guarded
}

func (y *toy) note(i int, what string) { y.logs[i] += what + ";" }

var opKinds = []string{
	"yield", "sleep", "set", "wait", "isset", "lock", "turn", "pass", "isshut", "call", "spawn", "kill", "pause", "resume",
	"at", "choose", "now", "id", "child", "dead", "limit", "memory", "close", "onkill", "cancel",
}

func (y *toy) do(ctx context.Context, i int, o op) string {
	me, a := i%toyActors, o.A%toyActors
	s := o.A % len(y.signals)
	switch o.Kind {
	case "yield":
		return result(sim.Yield(ctx))
	case "sleep":
		return result(sim.Sleep(ctx, time.Duration(1+o.A)))
	case "set":
		if s == 0 && !y.signals[s].IsSet() {
			y.boxes[s] = y.logs[i]
		}
		y.signals[s].Set()
	case "wait":
		return read(y.signals[s].Wait(ctx), y.boxes[s:s+1])
	case "isset":
		return fmt.Sprint(y.signals[0].IsSet())
	case "lock":
		return y.locked(ctx, i)
	case "turn":
		was := y.gate.IsShut()
		y.notice = y.logs[i]
		if was {
			y.gate.Open()
		} else {
			y.gate.Shut()
		}
		return fmt.Sprint(was)
	case "pass":
		err := y.gate.Pass(ctx)
		return read(err, []string{y.notice})
	case "isshut":
		return fmt.Sprint(y.gate.IsShut())
	case "call":
		return y.call(ctx, i, a)
	case "spawn":
		p := sim.Go(ctx, "child", func(ctx context.Context) error {
			y.memory[me] += "+"
			return sim.Yield(ctx)
		})
		err := p.Wait(ctx)
		return result(err) + y.memory[me]
	case "kill":
		y.actors[a].Kill()
	case "close":
		return result(y.actors[a].Close(ctx))
	case "pause":
		if a != me {
			y.actors[a].Pause()
		}
	case "resume":
		y.actors[a].Resume()
	case "at":
		return result(sim.At(ctx, "toy/at"))
	case "choose":
		return fmt.Sprint(sim.Choose(ctx, "toy", 2))
	case "now":
		return sim.Now(ctx).String()
	case "id":
		return fmt.Sprintf("%x", y.w.NewID("shared"))[:6]
	case "child":
		return y.w.Actor("x").Path()
	case "dead":
		return fmt.Sprint(y.actors[a].Dead(), y.w.Find(y.actors[a].Path()) == nil)
	case "limit":
		c, cancel := sim.WithTimeout(ctx, time.Duration(1+o.A))
		defer cancel()
		return result(y.signals[s].Wait(c))
	case "memory":
		y.memory[me] += y.logs[i]
	case "onkill":
		y.actors[a].OnKill(y.actors[me], "hook", func(context.Context) error { y.memory[me] += "k"; return nil })
	case "cancel":
		c, cancel := sim.WithCancel(ctx)
		y.actors[a].Go("canceller", func(context.Context) error { cancel(); return nil })
		return result(sim.Sleep(c, 2))
	}
	return ""
}

func (y *toy) locked(ctx context.Context, i int) string {
	if err := y.mutex.Lock(ctx); err != nil {
		return result(err)
	}
	defer y.mutex.Unlock()
	before := y.guarded
	err := sim.Yield(ctx)
	y.guarded += fmt.Sprint(i)
	return result(err) + before
}

func (y *toy) call(ctx context.Context, i, a int) string {
	var heard string
	said := y.logs[i]
	err := y.actors[a].Call(ctx, "serve", func(ctx context.Context) error {
		heard = y.memory[a]
		y.memory[a] += "(" + said + ")"
		return sim.Yield(ctx)
	})
	return read(err, []string{heard})
}

func result(err error) string {
	if err != nil {
		return err.Error()[:8]
	}
	return "ok"
}

// read returns what may be read by who was let through: others share no memory.
func read(err error, box []string) string {
	if err != nil {
		return result(err)
	}
	return "[" + box[0] + "]"
}

func drawProgram(rt *rapid.T, procs, ops int) program {
	step := rapid.Custom(func(rt *rapid.T) op {
		return op{rapid.SampledFrom(opKinds).Draw(rt, "kind"), rapid.IntRange(0, 2).Draw(rt, "arg")}
	})
	return rapid.SliceOfN(rapid.SliceOfN(step, 1, ops), 2, procs).Draw(rt, "program")
}

// ends are the end states that a search comes to.
func (p program) ends(s sim.Search, opts ...sim.Option) ([]string, sim.SearchReport, error) {
	seen := make(map[string]bool)
	report, err := s.Run(func(opt sim.Option) error {
		seen[p.run(append(opts, opt)...)] = true
		return nil
	})
	var out []string
	for s := range seen {
		out = append(out, s)
	}
	slices.Sort(out)
	return out, report, err
}

// The pruned search comes to the end states of the unpruned one, all and no other.
func TestPruningIsSound(t *testing.T) {
	tried, saved := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		p := drawProgram(rt, 4, 4)
		bound := rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(rt, "deviations")
		plan := sim.Plan("toy/at nth=2 err=0x1")
		if rapid.Bool().Draw(rt, "deadly") {
			plan = sim.Plan("toy/at nth=2 kill", "toy/at nth=1 delay=1ns")
		}
		all, full, err := p.ends(sim.Search{Deviations: bound, MaxRuns: 1500}, plan)
		if err != nil {
			rt.Fatal(err, p)
		}
		pruned, part, err := p.ends(sim.Search{Deviations: bound, MaxRuns: 20_000, Prune: true}, plan)
		if err != nil {
			rt.Fatal(err, p)
		}
		if full.Complete && !part.Complete {
			rt.Fatalf("pruning makes it longer: %+v, %+v %v", full, part, p)
		}
		if full.Complete && part.Runs+part.Pruned > full.Runs {
			rt.Fatalf("pruning makes it longer: %+v, %+v %v", full, part, p)
		}
		for _, s := range all {
			if part.Complete && !slices.Contains(pruned, s) {
				rt.Fatalf("with at most %d deviations the pruned search (%+v, unpruned %+v) misses\n%s\nof %v", bound, part, full, s, p)
			}
		}
		if full.Complete {
			tried++
			saved += full.Runs - part.Runs
			if len(all) != len(pruned) {
				rt.Fatalf("%d end states, pruned %d, of %v", len(all), len(pruned), p)
			}
		}
	})
	if !t.Failed() && (tried == 0 || saved == 0) {
		t.Errorf("%d programs were searched whole, %d runs saved: that says nothing", tried, saved)
	}
}
