package hypervtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var controlCases = []managementCase{
	{"Save returns when a running machine is saved", func(k *try) error {
		return steps(k.save(k.Running), k.stays(k.Running, hyperv.StateSaved), k.stays(k.Paused, hyperv.StatePaused))
	}},
	{"Save returns when a paused machine is saved", func(k *try) error {
		return steps(k.save(k.Paused), k.stays(k.Paused, hyperv.StateSaved))
	}},
	{"Save refuses a machine that does not execute, and leaves it as it is", func(k *try) error {
		return steps(
			k.refused("Save of a machine that is off", hyperv.ErrInvalidState, func() error { return k.Save(k.ctx, k.Off) }),
			k.stays(k.Off, hyperv.StateOff),
			k.refused("Save of a saved machine", hyperv.ErrInvalidState, func() error { return k.Save(k.ctx, k.Saved) }),
			k.stays(k.Saved, hyperv.StateSaved),
		)
	}},
	{"after a Save that fails, the machine does what it did before", func(k *try) error {
		if k.FailSave == nil {
			return skip("cannot make a Save fail")
		}
		for _, s := range k.standings(hyperv.StateOff, hyperv.StateSaved) {
			k.FailSave(s.id)
			if err := k.Save(k.ctx, s.id); err == nil {
				return errors.New("the Save was to fail, and did not")
			}
			if err := steps(k.stays(s.id, s.in), k.save(s.id), k.stays(s.id, hyperv.StateSaved)); err != nil {
				return err
			}
		}
		return nil
	}},
	{"Restore brings a saved machine to the state that is asked for", func(k *try) error {
		return steps(
			k.restore(k.Saved, hyperv.StateRunning), k.stays(k.Saved, hyperv.StateRunning),
			k.save(k.Saved), k.stays(k.Saved, hyperv.StateSaved),
			k.restore(k.Saved, hyperv.StatePaused), k.stays(k.Saved, hyperv.StatePaused),
			k.save(k.Saved), k.stays(k.Saved, hyperv.StateSaved),
		)
	}},
	{"Restore refuses a machine that is not saved, and leaves it as it is", func(k *try) error {
		var list []func() error
		for _, s := range k.standings(hyperv.StateSaved) {
			list = append(list,
				k.refused(fmt.Sprintf("Restore of a machine that is %v", s.in), hyperv.ErrInvalidState, func() error { return k.Restore(k.ctx, s.id, hyperv.StateRunning) }),
				k.stays(s.id, s.in))
		}
		return steps(list...)
	}},
	{"Restore waits for what the machine is at, and then judges", func(k *try) error {
		saving := sim.Go(k.ctx, "save", func(ctx context.Context) error { return k.Save(ctx, k.Running) })
		if err := sim.Yield(k.ctx); err != nil {
			return err
		}
		return steps(
			k.restore(k.Running, hyperv.StateRunning),
			func() error { return ok("Save", saving.Wait(k.ctx)) },
			k.stays(k.Running, hyperv.StateRunning),
		)
	}},
	{"of two Saves of one machine, one is carried out and one refused", func(k *try) error {
		other := sim.Go(k.ctx, "save", func(ctx context.Context) error { return k.Save(ctx, k.Running) })
		first, second := k.Save(k.ctx, k.Running), other.Wait(k.ctx)
		if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), hyperv.ErrInvalidState) {
			return fmt.Errorf("the Saves returned %w and %w", orNil(first), orNil(second))
		}
		return k.is(k.Running, hyperv.StateSaved)
	}},
	{"TurnOff stops a machine, whatever it does", func(k *try) error {
		var list []func() error
		for _, id := range [][16]byte{k.Off, k.Running, k.Paused, k.Saved} {
			list = append(list, k.turnOff(id), k.stays(id, hyperv.StateOff))
		}
		return steps(list...)
	}},
	{"TurnOff discards the saved state", func(k *try) error {
		return steps(k.turnOff(k.Saved), k.refused("Restore after TurnOff", hyperv.ErrInvalidState, func() error { return k.Restore(k.ctx, k.Saved, hyperv.StateRunning) }), k.stays(k.Saved, hyperv.StateOff))
	}},
	{"a call ends when its context does, and the machine comes to rest all the same", func(k *try) error {
		ctx, cancel := sim.WithTimeout(k.ctx, time.Nanosecond)
		defer cancel()
		began := sim.Now(k.ctx)
		err := k.Save(ctx, k.Running)
		if took := sim.Now(k.ctx) - began; err != nil && took > time.Second {
			return fmt.Errorf("Save returned %w after %v, and its context ended after 1ns", err, took)
		}
		if err := sim.Sleep(k.ctx, time.Hour); err != nil {
			return err
		}
		m, err := k.Machine(k.ctx, k.Running)
		if err != nil {
			return ok("Machine", err)
		}
		if m.State != hyperv.StateSaved && m.State != hyperv.StateRunning {
			return fmt.Errorf("an hour after the Save the machine is %v", m.State)
		}
		return nil
	}},
}
