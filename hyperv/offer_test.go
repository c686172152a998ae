package hyperv_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// caption is what the metadata say of a machine now.
func (l *lab) caption(vm *hyperv.VM) string {
	l.t.Helper()
	return l.identified().Component(vss.ComponentKey{Name: guid.Upper(vm.ID())}).Caption
}

// backedUpBy checks what the caption of a machine tells, and that a backup keeps to it.
func (l *lab) backedUpBy(vm *hyperv.VM, want hyperv.Method) {
	l.t.Helper()
	if got := l.caption(vm); got != want.Caption(vm.Name()) {
		l.t.Errorf("the caption is %q; want %v", got, want)
	}
	seen := len(l.w.Trace())
	l.mustBackup()
	kinds := map[string]hyperv.Method{"hyperv/child-snapshot": hyperv.MethodChildSnapshot, "hyperv/save": hyperv.MethodSavedState}
	var did []hyperv.Method
	for _, e := range l.w.Trace()[seen:] {
		if m := kinds[e.Kind]; m != 0 && e.Get("vm") == vm.Name() {
			did = append(did, m)
		}
		if e.Kind == "hyperv/method-changed" {
			l.t.Errorf("%v", e)
		}
	}
	if !slices.Equal(did, []hyperv.Method{want}) {
		l.t.Errorf("the writer did %v, want %v", did, want)
	}
	l.settled()
}

// The two switches of the backup service, the host's and the guest's, flip caption and
// method of a machine that runs, without a boot.
func TestSwitchesOfTheBackupService(t *testing.T) {
	for name, turn := range map[string]func(ctx context.Context, vm *hyperv.VM, on bool) error{
		"of the host": func(ctx context.Context, vm *hyperv.VM, on bool) error { return vm.OfferBackup(ctx, on) },
		"of the guest": func(ctx context.Context, vm *hyperv.VM, on bool) error {
			if on {
				return vm.Guest().StartService(ctx, string(guest.BackupService))
			}
			return vm.Guest().StopService(ctx, string(guest.BackupService))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			vm := l.running("db")
			l.backedUpBy(vm, hyperv.MethodChildSnapshot)
			l.must(turn(l.ctx(), vm, false))
			l.backedUpBy(vm, hyperv.MethodSavedState)
			l.must(turn(l.ctx(), vm, true))
			l.backedUpBy(vm, hyperv.MethodChildSnapshot)
			if n := len(l.events(func(e sim.Event) bool { return e.Kind == "vm/state" && e.Get("from") == "off" })); n != 1 {
				t.Errorf("the machine was booted %d times", n)
			}
		})
	}
}

// Whatever a machine does, the service can be taken from it; the configuration file
// says so, also to the next boot of the host, and a repetition writes nothing.
func TestOfferBackupInEveryState(t *testing.T) {
	l := newLab(t)
	vms := []*hyperv.VM{l.machine("off"), l.running("running"), l.paused("paused"), l.saved("saved")}
	for _, vm := range vms {
		state := vm.State()
		for range 2 {
			l.must(vm.OfferBackup(l.ctx(), false))
		}
		if vm.State() != state || !vm.Decide().Has(hyperv.ReasonICDisabled) || vm.Configuration().BackupOffered {
			t.Errorf("%s is %v, %v", vm.Name(), vm.State(), vm.Decide())
		}
		l.event("vm/offer-backup", "vm="+vm.Name(), "offered=false")
	}
	l.h.PowerOff()
	l.must(l.h.Boot(l.ctx()))
	for _, vm := range l.h.VMs() {
		if vm.Configuration().BackupOffered {
			t.Errorf("%s: the file has forgotten it", vm.Name())
		}
	}
}

func TestOfferBackupIsRefused(t *testing.T) {
	l := newLab(t)
	vm := l.running("db")
	l.must(vm.Lock("export"))
	if err := vm.OfferBackup(l.ctx(), false); !errors.Is(err, hyperv.ErrInUse) {
		t.Errorf("of a machine that is held: %v", err)
	}
	vm.Unlock()
	if d := vm.Decide(); d.Method != hyperv.MethodChildSnapshot {
		t.Errorf("after a refusal: %v", d)
	}
	l.must(vm.TurnOff(l.ctx()))
	l.must(vm.Delete(l.ctx()))
	if err := vm.OfferBackup(l.ctx(), false); !errors.Is(err, hyperv.ErrNotFound) {
		t.Errorf("of a machine that is gone: %v", err)
	}
}

// A writer that is to keep to the caption cannot reach the guest without the service.
func TestGuestIsNotReachedWithoutTheOffer(t *testing.T) {
	l := with(t, hyperv.Policy{Redecide: hyperv.RedecideNever})
	vm := l.running("db")
	var st vss.WriterStatus
	l.note()
	l.must(l.as("backup", func(ctx context.Context) (err error) {
		b, err := l.gathered(ctx, "db")
		if err == nil {
			err = vm.OfferBackup(ctx, false)
		}
		if err == nil {
			err = prepared(ctx, b)
		}
		if err == nil {
			st, err = snapshotted(ctx, b)
		}
		return errors.Join(err, b.Release(ctx))
	}))
	if st.State != atPrepareSnapshot || st.Code != nonRetryable {
		t.Errorf("%v, %v, %s", st.State, st.Code, st.Message)
	}
	if n := len(l.events(inside("db"))); n != 0 {
		t.Errorf("%d events in the guest", n)
	}
	l.recovers()
}
