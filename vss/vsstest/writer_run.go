package vsstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A writerRun is one run of a writer's script in a world of its own.
type writerRun struct {
	WriterOptions
	newWriter NewWriter
	world     *sim.World
	machine   *sim.Actor
	service   *vss.Service
	system    *Volume
	own       []vss.Volume // where the writer keeps its data
	env       *WriterEnv
	writer    vss.Writer
	sub       *vss.Subscription
	broken    []*Broken

	faulty    bool // faults are planned and not healed
	slow      int  // faults that were planned, whose delays may not be over
	watching  bool // for goroutines
	halt      bool // the load is to stop
	busy      bool // the load writes when nobody keeps it from it
	calls     []*handlerCall
	frozen    map[guid.GUID]bool // sessions whose Freeze the writer was told and nothing since
	succeeded map[guid.GUID]bool // sessions whose backup succeeded
	active    []*round           // the requesters at work
	writes    []step             // faults of writes to come
	metadata  string             // as it was first
	shape     string             // of the writer's part of the document in the first clean backup
	saved     *savedBackup
	logs      []vss.FileSet // the log files that the metadata names
	current   step
	sawLoad   bool // the load was seen to write
	tally     tally
}

// runWriter makes one run and returns what was broken in it.
func runWriter(w *sim.World, s script, newWriter NewWriter, o WriterOptions) []*Broken {
	r := &writerRun{WriterOptions: o, newWriter: newWriter, world: w, frozen: make(map[guid.GUID]bool), succeeded: make(map[guid.GUID]bool)}
	err := w.Do(context.Background(), func(ctx context.Context) error { return r.play(ctx, s) })
	var stuck *sim.StuckError
	if errors.As(err, &stuck) {
		r.breaks(promiseDeadlock, "DoSnapshotSet", "", "%s", oneLine(err))
	}
	r.judgePanics()
	if stuck == nil {
		r.judgeTrace()
	}
	return r.broken
}

func (r *writerRun) breaks(p Promise, call, when, format string, args ...any) {
	r.broken = append(r.broken, &Broken{Promise: p, Call: call, When: when, Fact: fmt.Sprintf(format, args...)})
}

func (r *writerRun) play(ctx context.Context, s script) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	faults, err := s.faults()
	if err != nil {
		r.breaks(promiseReadable, "Replay", "", "%v", err)
		return err
	}
	r.world.Inject(faults...)
	r.faulty = len(faults) > 0
	r.slow = len(faults)
	for _, st := range s.acts() {
		if err := r.step(ctx, st); err != nil {
			return err
		}
	}
	return r.end(ctx)
}

// begin builds the machine and starts the writer.
func (r *writerRun) begin(ctx context.Context) error {
	r.machine = r.world.Actor("kit")
	windows := make(map[vss.Event]time.Duration)
	for e := vss.EventIdentify; e <= vss.EventPostRestore; e++ {
		windows[e] = eventWindow
	}
	r.service = vss.NewService(r.machine.Child("vss"), vss.ServiceConfig{Machine: "KIT", Windows: windows})
	r.system = NewVolume("C:")
	own := NewVolume("D:")
	own.onForeign = func(what string, err error) {
		r.breaks(promiseContext, "a handler or the load", "", "%s: %v", what, err)
	}
	r.own = []vss.Volume{own}
	r.env = &WriterEnv{World: r.world, Volume: own, Service: r.service, run: r}
	if err := errors.Join(r.service.AddVolume(r.system), r.service.AddVolume(own)); err != nil {
		return err
	}
	if err := r.neighbour(); err != nil {
		return err
	}
	if err := r.startWriter(ctx); err != nil {
		return err
	}
	return r.warmUp(ctx)
}

func (r *writerRun) use(volumes []vss.Volume) error {
	var errs []error
	for _, v := range r.own {
		errs = append(errs, r.service.RemoveVolume(v.Name()))
	}
	for _, v := range volumes {
		errs = append(errs, r.service.AddVolume(v))
	}
	r.own = volumes
	return errors.Join(errs...)
}

// startWriter starts the writer's process, its writer and its load.
func (r *writerRun) startWriter(ctx context.Context) error {
	r.env.Actor = r.machine.Child("writer")
	clear(r.frozen)
	err := r.env.Actor.Call(ctx, "start", func(ctx context.Context) (err error) {
		return sim.Protect(ctx, func() error { r.writer, err = r.newWriter(ctx, r.env); return err })
	})
	if err == nil && r.writer == nil {
		err = errors.New("no writer")
	}
	if err == nil {
		c := r.Config
		c.Actor = r.env.Actor
		r.sub, err = r.service.Subscribe(&probe{run: r, w: r.writer, actor: r.env.Actor}, c)
	}
	if err != nil {
		r.breaks(promiseStart, "the start", r.at(), "%s", oneLine(err))
		return err
	}
	if r.Load != nil {
		w := r.writer
		r.env.Actor.Background("load", func(ctx context.Context) error { return r.load(ctx, w) })
	}
	return nil
}

// loadRest is how long the load rests between two pieces of work at least.
const loadRest = 150 * time.Millisecond

// load makes the writer work. The rests are of different length, so that the work
// falls on other moments of each backup.
func (r *writerRun) load(ctx context.Context, w vss.Writer) error {
	for n := 0; !r.halt; n++ {
		err := sim.Protect(ctx, func() error { return r.Load(ctx, w) })
		var injected *sim.FaultError
		switch {
		case errors.Is(err, sim.ErrDead) || r.env.Actor.Dead():
			return err
		case errors.Is(err, sim.ErrContext):
			r.breaks(promiseContext, "the load", r.at(), "%s", oneLine(err))
			return err
		case err != nil && !errors.As(err, &injected):
			r.breaks(promiseLoad, "the load", r.at(), "%s", oneLine(err))
			return err
		}
		if err := sim.Sleep(ctx, loadRest+time.Duration(n%5)*41*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// warmUp lets the load begin, to see whether it writes at all.
func (r *writerRun) warmUp(ctx context.Context) error {
	for range 10 {
		if err := sim.Sleep(ctx, r.Patience/10); err != nil {
			return err
		}
		if r.count(); r.tally.writes > 0 {
			r.busy, r.sawLoad = true, true
			return nil
		}
	}
	return nil
}

// again tells whether Abort is to come twice.
func (r *writerRun) again() bool { return r.current.get("again") == "yes" }

func (r *writerRun) at() string { return "at " + r.world.Now().String() }

func (r *writerRun) step(ctx context.Context, st step) error {
	var err error
	switch st.verb() {
	case "identify":
		err = r.identify(ctx)
	case "backup":
		err = r.backup(ctx, st)
	case "restore":
		err = r.restore(ctx, st)
	case "crash":
		err = r.restart(ctx)
	case "watch":
		r.watching = true
	case "write":
		r.writes, r.faulty, r.slow = append(r.writes, st), true, r.slow+1
	default:
		r.breaks(promiseReadable, "Replay", "", "no step %q", st)
	}
	if err != nil || st.verb() == "write" || st.verb() == "watch" {
		return err
	}
	return r.afterwards(ctx, st)
}

// afterwards brings the machine to rest behind a step: a writer that died starts
// anew, as does one that the service could not tell of the end of a freeze; every
// other goes on working.
func (r *writerRun) afterwards(ctx context.Context, st step) error {
	if r.env.Actor.Dead() || len(r.frozen) > 0 {
		return r.restart(ctx)
	}
	return r.awaitLoad(ctx, "after the step "+strconv.Quote(string(st)))
}

func (r *writerRun) restart(ctx context.Context) error {
	r.env.Actor.Kill()
	if err := sim.Sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := r.startWriter(ctx); err != nil {
		return err
	}
	return r.awaitLoad(ctx, "after the restart of its process")
}

// faultDelay is longer than the delay of any fault that a script plans, such as
// that of a write that the load waits for.
const faultDelay = 75 * time.Second

// awaitLoad demands that the load writes again.
func (r *writerRun) awaitLoad(ctx context.Context, when string) error {
	if !r.busy || r.env.Actor.Dead() {
		return nil
	}
	r.count()
	before := r.tally.writes
	for waited := time.Duration(0); ; waited += loadRest {
		if r.count(); r.tally.writes > before {
			return nil
		}
		if r.env.Actor.Dead() {
			return r.restart(ctx)
		}
		if waited > r.Patience && waited > time.Duration(r.slow)*faultDelay {
			break
		}
		if err := sim.Sleep(ctx, loadRest); err != nil {
			return err
		}
	}
	r.breaks(promiseGoesOn, r.lastEvent(), when, "it has written nothing for %v", r.Patience)
	r.busy = false
	return nil
}

// lastEvent is the event that the writer heard last.
func (r *writerRun) lastEvent() string {
	if len(r.calls) == 0 {
		return "the start"
	}
	return r.calls[len(r.calls)-1].event.String()
}

// end heals the world, makes a last backup that must succeed, and waits for
// handlers that have not returned.
func (r *writerRun) end(ctx context.Context) error {
	r.world.Heal()
	r.faulty, r.writes = false, nil
	if r.count(); r.tally.slowed {
		if err := sim.Sleep(ctx, faultDelay); err != nil { // what is delayed is not healed
			return err
		}
	}
	if err := r.step(ctx, "backup"); err != nil {
		return err
	}
	r.halt = true
	if r.pending() {
		if err := sim.Sleep(ctx, 3*eventWindow); err != nil {
			return err
		}
	}
	return nil
}

func (r *writerRun) pending() bool {
	return slices.ContainsFunc(r.calls, func(c *handlerCall) bool { return !c.over && !c.actor.Dead() })
}

// image is what a backup sees of the writer's volumes: the one, or a directory
// for each.
func (r *writerRun) image(open func(v vss.Volume) (fs.FS, error)) (fs.FS, error) {
	var roots letters
	for _, v := range r.own {
		f, err := open(v)
		if err != nil {
			return nil, err
		}
		roots = append(roots, root{strings.TrimSuffix(v.Name(), `:\`), f})
	}
	if len(roots) == 1 {
		return roots[0].files, nil
	}
	return roots, nil
}

// letters are volumes as directories of one file system.
type letters []root

type root struct {
	name  string
	files fs.FS
}

// Open opens a file of a volume. The directory of the volumes cannot be listed.
func (l letters) Open(name string) (fs.File, error) {
	first, rest, found := strings.Cut(name, "/")
	if !found {
		rest = "."
	}
	for _, r := range l {
		if r.name == first {
			return r.files.Open(rest)
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
