package guest

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A turnstile lets calls of applications in, until somebody closes it and waits
// for the last of them to come out: the instant between two steps at which a
// machine can be saved.
type turnstile struct {
	gate   sim.Gate
	inside int
	empty  *sim.Signal // somebody waits for it
}

func (t *turnstile) enter(ctx context.Context) error {
	if err := t.gate.Pass(ctx); err != nil {
		return err
	}
	t.inside++
	return nil
}

// leave needs no context, so that a dying process can leave.
func (t *turnstile) leave() {
	if t.inside--; t.inside == 0 && t.empty != nil {
		t.empty.Set()
	}
}

// close returns when nobody is inside. On error it is open again.
func (t *turnstile) close(ctx context.Context) error {
	t.gate.Shut()
	for t.inside > 0 {
		t.empty = &sim.Signal{Name: "the end of every program's step"}
		if err := t.empty.Wait(ctx); err != nil {
			t.open()
			return err
		}
	}
	t.empty = nil
	return nil
}

func (t *turnstile) open() {
	t.empty = nil
	t.gate.Open()
}
