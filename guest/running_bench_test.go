package guest_test

import (
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// One backup inside a guest with a ledger, and the release of its copies.
func BenchmarkSnapshot(b *testing.B) {
	r := newRig(b, sim.NoTrace())
	m := r.boot()
	r.advance(time.Second)
	q := r.requestor(m)
	b.ReportAllocs()
	for b.Loop() {
		s, err := q.Snapshot(b.Context(), guest.SnapshotOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := q.Release(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// A thousand transactions of a ledger.
func BenchmarkLedger(b *testing.B) {
	r := newRig(b, sim.NoTrace())
	r.boot()
	b.ReportAllocs()
	for b.Loop() {
		r.advance(100 * time.Second)
	}
}

// A run from boot to power-off.
func BenchmarkBoot(b *testing.B) {
	r := newRig(b, sim.NoTrace())
	b.ReportAllocs()
	for b.Loop() {
		r.boot().PowerOff()
	}
}

// A save and the resume from it.
func BenchmarkSaveAndResume(b *testing.B) {
	r := newRig(b, sim.NoTrace())
	m := r.boot()
	b.ReportAllocs()
	for b.Loop() {
		image, err := m.Save(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if m, err = guest.Resume(b.Context(), r.Config, image); err != nil {
			b.Fatal(err)
		}
	}
}
