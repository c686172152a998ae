// Package hypervtest helps tests that back up and restore simulated hosts.
//
// [MustBeSettled] fails a test if anything is left over on a host, or if its next
// backup does not succeed. An [Oracle] knows which bytes a backup must contain.
// [RunManagement] tries a [hyperv.Management] of one's own.
package hypervtest

import (
	"testing"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// MustBeSettled fails the test unless the host has nothing left over from a
// backup or restore, and unless the next backup of everything succeeds and leaves
// nothing over either. Faults that are planned still strike; see
// [github.com/shadowsim/shadowsim/vss/sim.World.Heal].
func MustBeSettled(t testing.TB, h *hyperv.Host) {
	t.Helper()
	mustBeClean(t, h, "")
	if t.Failed() {
		return
	}
	if _, err := (&requester.Backup{Service: h.VSS(), Target: &requester.Memory{}, MayBeMissing: hyperv.MayBeMissing}).Run(t.Context()); err != nil {
		t.Errorf("%s: the next backup fails: %v", h.Name(), err)
	}
	mustBeClean(t, h, " after the next backup")
}

func mustBeClean(t testing.TB, h *hyperv.Host, when string) {
	t.Helper()
	for _, l := range hyperv.Audit(h) {
		t.Errorf("%s: left over%s: %v", h.Name(), when, l)
	}
}
