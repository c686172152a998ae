package vsstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A setState is how far a set has come, as the kit knows it.
type setState int

const (
	setPreparing setState = iota
	setPrepared
	setPreCommitted
	setCommitted
	setPostCommitted
	setPreFinal
	setCreated
	setGone // given up, or dropped for another one
)

// A providerSet is a set as it should be.
type providerSet struct {
	number  string
	id      guid.GUID
	state   setState
	context vss.SnapshotContext
	copies  []*providerCopy
}

// A providerCopy is a shadow copy as it should be.
type providerCopy struct {
	volume  *Volume
	id      guid.GUID
	files   contents // nil until it is taken
	deleted bool
}

func (s *providerSet) recovers() bool { return s.context.Attributes()&vss.AttrNoAutoRecovery == 0 }

// A providerRun is one run of a provider's script in a world of its own.
type providerRun struct {
	ProviderOptions
	world    *sim.World
	machine  *sim.Actor
	env      *ProviderEnv
	provider vss.Provider
	system   bool // it is the service's own
	sets     []*providerSet
	broken   []*Broken
	faulty   bool
	watching bool
	halt     bool
	waiting  bool // for faults to be over: the application has nothing to do
	recovers int  // changes made to copies
}

func runProvider(w *sim.World, s script, newProvider NewProvider, o ProviderOptions) []*Broken {
	r := &providerRun{ProviderOptions: o, world: w}
	err := w.Do(context.Background(), func(ctx context.Context) error {
		if err := r.begin(ctx, newProvider); err != nil {
			return err
		}
		return r.play(ctx, s)
	})
	var stuck *sim.StuckError
	if errors.As(err, &stuck) {
		r.breaks(promiseProviderDeadlock, "the provider", "%s", oneLine(err))
	}
	for _, p := range w.Panics() {
		_, name, _ := strings.Cut(p.Process, ":")
		name, _, _ = strings.Cut(name, "#")
		r.breaks(promiseProviderPanic, name, "%s", oneLine(p))
	}
	return r.broken
}

func (r *providerRun) breaks(p Promise, call, format string, args ...any) {
	r.broken = append(r.broken, &Broken{Promise: p, Call: call, When: "at " + r.world.Now().String(), Fact: fmt.Sprintf(format, args...)})
}

// begin builds the machine, starts the provider and an application.
func (r *providerRun) begin(ctx context.Context, newProvider NewProvider) error {
	r.machine = r.world.Actor("kit")
	s := vss.NewService(r.machine.Child("vss"), vss.ServiceConfig{Machine: "KIT"})
	r.env = &ProviderEnv{World: r.world, Actor: r.machine.Child("provider"), Service: s}
	for _, letter := range []string{"D:", "E:", "F:"} {
		v := NewVolume(letter)
		v.onForeign = func(what string, err error) { r.breaks(promiseProviderContext, what, "%v", err) }
		r.env.Volumes = append(r.env.Volumes, v)
		if err := s.AddVolume(v); err != nil {
			return err
		}
	}
	r.env.Volumes[2].SetFileSystem("FAT32")
	err := r.env.Actor.Call(ctx, "start", func(ctx context.Context) (err error) {
		return sim.Protect(ctx, func() error { r.provider, err = newProvider(ctx, r.env); return err })
	})
	if err == nil && r.provider == nil {
		err = errors.New("no provider")
	}
	if err == nil {
		if r.system = r.provider == s.Provider(vss.SystemProviderID); !r.system {
			c := r.Config
			c.Actor = r.env.Actor
			err = s.RegisterProvider(r.provider, c)
		} else {
			r.Config.ID = vss.SystemProviderID
		}
	}
	if err != nil {
		r.breaks(promiseProviderStart, "the start", "%s", oneLine(err))
		return err
	}
	r.machine.Child("application").Background("application", r.application)
	return sim.Sleep(ctx, callPause)
}

// callPause is how much time passes from one call to the next; the application
// writes in between.
const callPause = 200 * time.Millisecond

// application writes to all volumes, so that they are never the same at two calls.
func (r *providerRun) application(ctx context.Context) error {
	for n := 1; !r.halt; n++ {
		for _, v := range r.env.Volumes {
			if err := v.WriteFile(ctx, "app/number", fmt.Append(nil, n)); err != nil {
				return err
			}
			v.written = maps.Clone(v.files)
		}
		rest := callPause / 3
		if r.waiting {
			rest = 10 * time.Second
		}
		if err := sim.Sleep(ctx, rest); err != nil {
			return err
		}
	}
	return nil
}

func (r *providerRun) play(ctx context.Context, s script) error {
	faults, err := s.faults()
	if err != nil {
		r.breaks(promiseReadable, "Replay", "%v", err)
		return err
	}
	r.world.Inject(faults...)
	r.faulty = len(faults) > 0
	for _, st := range s.acts() {
		if err := r.step(ctx, st); err != nil {
			return err
		}
	}
	r.world.Heal()
	if r.faulty { // a call that was delayed may not be over
		if err := r.outwait(ctx, 2*faultDelay); err != nil {
			return err
		}
	}
	r.faulty = false
	if err := r.giveUpAll(ctx); err != nil {
		return err
	}
	for _, st := range append(setScript(100, "DE", "", ""), "backup volume=D") {
		if err := r.step(ctx, st); err != nil {
			return err
		}
	}
	r.halt = true
	return nil
}

// outwait lets time pass in which delayed calls come to their end.
func (r *providerRun) outwait(ctx context.Context, d time.Duration) error {
	r.waiting = true
	if err := sim.Sleep(ctx, d); err != nil {
		return err
	}
	r.waiting = false
	return sim.Sleep(ctx, 11*time.Second)
}

func (r *providerRun) step(ctx context.Context, st step) error {
	if err := sim.Sleep(ctx, callPause); err != nil {
		return err
	}
	var err error
	switch v := st.verb(); v {
	case "begin":
		err = r.beginSet(ctx, st)
	case "abort":
		err = r.abort(ctx, st.get("set"))
	case "recover":
		r.recoverSet(st)
	case "delete":
		err = r.delete(ctx, st)
	case "backup":
		err = r.backup(ctx, st)
	case "watch":
		r.watching = true
	default:
		if !slices.Contains(setCalls, v) {
			r.breaks(promiseReadable, "Replay", "no step %q", st)
			return nil
		}
		err = r.advance(ctx, v, st.get("set"))
	}
	r.judgeCopies(callNames[st.verb()])
	if err == nil {
		err = ctx.Err()
	}
	return err
}

var callNames = map[string]string{
	"begin": "BeginPrepareSnapshot", "end": "EndPrepareSnapshots", "precommit": "PreCommitSnapshots", "commit": "CommitSnapshots",
	"postcommit": "PostCommitSnapshots", "prefinal": "PreFinalCommitSnapshots", "postfinal": "PostFinalCommitSnapshots",
	"abort": "AbortSnapshots", "delete": "DeleteSnapshot", "recover": "OpenSnapshot", "backup": "a backup",
}

func (r *providerRun) set(number string) *providerSet {
	for _, s := range r.sets {
		if s.number == number {
			return s
		}
	}
	return nil
}

// current is the set that is being made, nil without one.
func (r *providerRun) current() *providerSet {
	for _, s := range r.sets {
		if s.state < setCreated {
			return s
		}
	}
	return nil
}

// unknownSet is an identifier that the provider has never heard.
func unknownSet(number string) guid.GUID { return guid.GUID{0xFF, byte(len(number)), number[0]} }

func (r *providerRun) volume(letter string) *Volume {
	for _, v := range r.env.Volumes {
		if v.letter() == letter+":" {
			return v
		}
	}
	return nil
}

var errNotReturned = errors.New("the call has not returned")

// call calls the provider in a process of its actor and waits for at most limit;
// 0 is for as long as it takes.
func (r *providerRun) call(ctx context.Context, name string, limit time.Duration, fn func(ctx context.Context) error) error {
	p := r.env.Actor.Go(name, func(ctx context.Context) error {
		if limit > 0 {
			limited, cancel := sim.WithTimeout(ctx, limit)
			defer cancel()
			ctx = limited
		}
		started := watchGoroutines(r.watching)
		err := sim.Protect(ctx, func() error { return fn(ctx) })
		if who := started(); who != "" {
			r.breaks(promiseProviderGoroutine, name, "it started %s", who)
		}
		return err
	})
	if limit == 0 {
		limit = eventWindow
	}
	wait, cancel := sim.WithTimeout(ctx, limit)
	defer cancel()
	err := p.Wait(wait)
	if !p.Ended() {
		return errNotReturned
	}
	r.judgeCode(name, err)
	return err
}
