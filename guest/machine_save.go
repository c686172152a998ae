package guest

import (
	"context"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Stopper is an application that wants to know when the operating system is
// shut down in order.
type Stopper interface {
	Stop(ctx context.Context, e *Env) error
}

// Save stops the run between two steps of every program and returns the bytes of
// the memory, from which [Resume] goes on. It waits for steps that are under way,
// in a paused machine too; a backup session inside the machine is cut off. If ctx
// ends before, the machine goes on as it was.
func (m *Machine) Save(ctx context.Context) (*disk.Memory, error) {
	var image *disk.Memory
	err := m.stop(ctx, "Save", func(ctx context.Context) error {
		if err := sim.AtOn(ctx, PointSave, m.config.Parent.Path()); err != nil {
			return err
		}
		for _, a := range m.apps {
			m.memory.setRest(a.name, max(a.due-m.now(), 0))
		}
		if err := m.memory.writeTable(); err != nil {
			return err
		}
		image = m.memory.Freeze()
		m.actor.Emit("guest/save", "", sim.N("memory", image.Size()))
		return nil
	})
	return image, err
}

// Shutdown stops the operating system in order: a backup session is aborted,
// programs that are a [Stopper] are told, and then the run is over. A program
// that fails does not stop it.
func (m *Machine) Shutdown(ctx context.Context) error {
	if m.paused {
		return m.fail("Shutdown", ErrPaused)
	}
	if m.requestor != nil {
		if err := m.requestor.Abort(ctx); err != nil {
			return err
		}
	}
	return m.stop(ctx, "Shutdown", func(ctx context.Context) error {
		for _, a := range m.apps {
			s, ok := a.code.(Stopper)
			if !ok || a.ended {
				continue
			}
			err := a.actor.Call(ctx, "stop", func(ctx context.Context) error { return s.Stop(ctx, &a.env) })
			if err != nil {
				m.programEvent(a.name, "failed to stop", err)
			}
		}
		m.actor.Emit("guest/shutdown", "")
		return ctx.Err()
	})
}

// PowerOff ends the run at once, wherever it stands. What was written is on the
// disks, what was in memory is lost.
func (m *Machine) PowerOff() {
	if !m.Ended() {
		m.actor.Emit("guest/power-off", "")
		m.actor.Kill()
	}
}

// stop ends the run between two steps, after fn has had its say there. If that
// fails the machine goes on.
func (m *Machine) stop(ctx context.Context, op string, fn func(ctx context.Context) error) error {
	return within(ctx, m.actor, func(ctx context.Context) (err error) {
		switch {
		case m.Ended():
			return m.fail(op, ErrEnded)
		case m.stopping:
			return m.fail(op, ErrBusy)
		}
		m.stopping = true
		if m.paused && m.steps.inside > 0 {
			m.Continue()
			defer func() {
				if err != nil {
					m.Pause()
				}
			}()
		}
		defer func() { m.stopping = false }()
		if err := m.steps.close(ctx); err != nil {
			return m.fail(op, err)
		}
		if m.Ended() {
			return m.fail(op, ErrEnded)
		}
		if err := fn(ctx); err != nil {
			m.steps.open()
			return m.fail(op, err)
		}
		m.actor.Kill()
		return nil
	})
}

// within runs fn in the process that ctx belongs to, or, called from ordinary
// code, in one of the world.
func within(ctx context.Context, a *sim.Actor, fn func(ctx context.Context) error) error {
	if sim.Self(ctx) != nil {
		return fn(ctx)
	}
	return a.World().Do(ctx, fn)
}
