package hyperv_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/hyperv/hypervtest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestOneFileIsNotTwoDisks(t *testing.T) {
	w := sim.New()
	defer func() { _ = w.Close() }()
	h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.CreateVM(t.Context(), hyperv.VMConfig{Name: "vm", Disks: []hyperv.DiskConfig{
		{Path: `C:\a.vhd`, Size: 8 << 20}, {Path: `c:\A.VHD`, Size: 8 << 20},
	}})
	if !errors.Is(err, hyperv.ErrParameter) || len(h.VMs()) != 0 {
		t.Errorf("%v, %d machines", err, len(h.VMs()))
	}
}

// TestRestartUndoesThroughTheManagementInUse: what a writer did through a wrapped
// management is undone through it as well.
func TestRestartUndoesThroughTheManagementInUse(t *testing.T) {
	spec := worldSpec{vms: []vmSpec{{state: hyperv.StateRunning, os: guest.WindowsServer2008, offered: true, single: true}}}
	w, err := spec.build(t.Context(), sim.Seed(1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	w.Inject(sim.Fault{Point: "vss/post-snapshot", On: "h1/vmms", Outcome: sim.Outcome{Kill: "."}})
	committed := 0
	w.oracle.OnCommitted = func() { committed++ }
	if err := w.backup(t.Context()); err == nil {
		t.Fatal("the backup survives the death of its writer")
	}
	if committed != 0 {
		t.Fatal("the machine was brought back already")
	}
	if err := w.host.StartManagement(t.Context()); err != nil || committed != 1 {
		t.Errorf("%v; the watching management saw %d", err, committed)
	}
	w.Heal()
	hypervtest.MustBeSettled(t, w.host)
}

// TestDisksAreAttachedInTheTrace: every disk that a machine runs with has an event
// when it comes and one when it goes.
func TestDisksAreAttachedInTheTrace(t *testing.T) {
	spec := worldSpec{vms: []vmSpec{{state: hyperv.StateRunning, os: guest.WindowsServer2008, offered: true, service: true, extra: guest.NTFS}}}
	w, err := spec.build(t.Context(), sim.Seed(1))
	if err == nil {
		err = w.backup(t.Context())
	}
	if err == nil {
		err = w.host.VMs()[0].TurnOff(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	var kinds []string
	for _, e := range w.Trace() {
		switch e.Kind {
		case "disk/attach", "disk/detach", "hyperv/mount", "hyperv/dismount":
			kinds = append(kinds, e.Kind)
		}
	}
	want := []string{"disk/attach", "disk/attach", "hyperv/mount", "hyperv/dismount", "hyperv/mount", "hyperv/dismount", "disk/detach", "disk/detach"}
	if !slices.Equal(kinds, want) {
		t.Errorf("events %q", kinds)
	}
}
