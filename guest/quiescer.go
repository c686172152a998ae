package guest

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Quiescer is an application of a FreeBSD that its backup service asks and tells
// about a backup, through /dev/hv_appvss_dev (hv_vss(4)). All of them are asked
// first; then they are to be quiet, and after them the file systems; when the disks
// are kept the file systems go on, and then the applications. One that fails makes
// the backup fail, and the others go on.
type Quiescer interface {
	Application
	// CheckQuiesce refuses the backup with an error.
	CheckQuiesce(ctx context.Context, e *Env) error
	// Quiesce brings the application's files to rest until Unquiesce.
	Quiesce(ctx context.Context, e *Env) error
	// Unquiesce is also called after a Quiesce that failed.
	Unquiesce(ctx context.Context, e *Env) error
}

// quiesce asks the applications, and tells them to be quiet.
func (f *fsFreeze) quiesce(ctx context.Context) error {
	var list []*app
	for _, a := range f.machine.apps {
		if _, ok := a.code.(Quiescer); ok && !a.ended && f.machine.system.OS.IsFreeBSD() {
			list = append(list, a)
		}
	}
	for _, a := range list {
		if err := f.message(ctx, a, "CHECK", Quiescer.CheckQuiesce); err != nil {
			return fmt.Errorf("%w: %w", ErrNoHotBackup, err)
		}
	}
	for _, a := range list {
		f.quiet = append(f.quiet, a)
		if err := f.message(ctx, a, "FREEZE", Quiescer.Quiesce); err != nil {
			return err
		}
	}
	return nil
}

// goOn lets the applications go on.
func (f *fsFreeze) goOn(ctx context.Context) error {
	var errs []error
	for _, a := range f.quiet {
		errs = append(errs, f.message(ctx, a, "THAW", Quiescer.Unquiesce))
	}
	f.quiet = nil
	return errors.Join(errs...)
}

// message sends a message to an application in its turn, and waits for the answer.
func (f *fsFreeze) message(ctx context.Context, a *app, name string, tell func(Quiescer, context.Context, *Env) error) error {
	f.machine.actor.Emit("guest/quiesce", "", sim.S("program", a.name), sim.S("message", name))
	err := a.actor.Call(ctx, name, func(ctx context.Context) error {
		return a.inTurn(ctx, func(ctx context.Context) error { return tell(a.code.(Quiescer), ctx, &a.env) })
	})
	if err != nil {
		return fmt.Errorf("%s: %s: %w", a.name, name, err)
	}
	return nil
}
