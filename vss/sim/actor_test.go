package sim_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestOnKill(t *testing.T) {
	w := sim.New()
	defer w.Close()
	host, owner, other := w.Actor("host"), w.Actor("owner"), w.Actor("other")
	vm := host.Child("vm")
	var told []string
	tell := func(what string) func(context.Context) error {
		return func(context.Context) error { told = append(told, what); return nil }
	}
	vm.OnKill(owner, "hook", tell("vm"))
	host.OnKill(owner, "hook", tell("host"))
	cancel := host.OnKill(owner, "hook", tell("taken back"))
	host.OnKill(vm, "hook", tell("the dead"))
	other.OnKill(owner, "hook", tell("other"))
	host.OnKill(other, "hook", tell("paused"))
	other.Pause()
	cancel()
	cancel()
	host.Kill()
	host.Kill()
	late := host.OnKill(owner, "hook", tell("late"))
	late()
	if err := w.Advance(1); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told, ", "); got != "host, vm, late" {
		t.Errorf("told %s", got)
	}
}

func TestCloseOfAnActor(t *testing.T) {
	w := sim.New()
	defer w.Close()
	host := w.Actor("host")
	vm := host.Child("vm")
	unwound := 0
	for range 3 {
		vm.Child("guest").Go("p", func(ctx context.Context) error {
			defer func() { unwound++ }()
			return sim.Sleep(ctx, time.Hour)
		})
	}
	heard := false
	vm.OnKill(host, "hook", func(context.Context) error { heard = true; return nil })
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 1)
		err := vm.Close(ctx)
		if unwound != 3 {
			t.Errorf("%d processes have unwound", unwound)
		}
		return err
	})
	if err != nil || !vm.Dead() || !heard {
		t.Errorf("%v, dead: %v, heard: %v", err, vm.Dead(), heard)
	}
	again := host.Child("vm")
	if err := vm.Close(t.Context()); err != nil { // harmless
		t.Error(err)
	}
	if got := again.Path() + " " + host.Child("vm").Path(); got != "host/vm host/vm#2" {
		t.Errorf("the next ones are %s", got)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := host.Child("vm").Path(); got != "host/vm#3" {
		t.Errorf("beside another of the name the next is %s", got)
	}
}

func TestCloseOfAnActorFromOrdinaryCode(t *testing.T) {
	w := sim.New()
	a := w.Actor("a")
	unwound := false
	a.Go("p", func(ctx context.Context) error {
		defer func() { unwound = true }()
		return sim.Sleep(ctx, time.Hour)
	})
	if err := w.Advance(1); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(t.Context()); err != nil || !unwound {
		t.Errorf("%v, unwound: %v", err, unwound)
	}
	b := w.Actor("b")
	err := b.Call(t.Context(), "self", func(ctx context.Context) error {
		if err := b.Close(ctx); err != sim.ErrDead {
			t.Errorf("of its own actor: %v", err)
		}
		return nil
	})
	if err != sim.ErrDead {
		t.Errorf("Call: %v", err)
	}
	c := w.Actor("c")
	err = w.Do(t.Context(), func(context.Context) error { return c.Close(t.Context()) })
	if err != sim.ErrContext || c.Dead() {
		t.Errorf("with an ordinary context in a process: %v", err)
	}
	_ = w.Close()
	if err := c.Close(t.Context()); err != sim.ErrClosed {
		t.Errorf("in a closed world: %v", err)
	}
}

func TestCallOutlivesItsCaller(t *testing.T) {
	w := sim.New()
	defer w.Close()
	client, server := w.Actor("client"), w.Actor("server")
	served := false
	client.Go("ask", func(ctx context.Context) error {
		return server.Call(ctx, "serve", func(ctx context.Context) error {
			err := sim.Sleep(ctx, time.Minute)
			served = err == nil
			return err
		})
	})
	err := w.Do(t.Context(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, time.Second)
		client.Kill()
		return sim.Sleep(ctx, time.Hour)
	})
	if err != nil || !served {
		t.Errorf("%v, served: %v", err, served)
	}
}

func TestCallerHearsOfTheDeathOfTheCallee(t *testing.T) {
	w := sim.New(sim.Plan("serve kill"))
	defer w.Close()
	server := w.Actor("server")
	err := server.Call(t.Context(), "serve", func(ctx context.Context) error {
		if err := sim.At(ctx, "serve"); err != nil {
			return fmt.Errorf("the reply of the dead: %w", err)
		}
		return nil
	})
	if err != sim.ErrDead {
		t.Errorf("got %v", err)
	}
}
