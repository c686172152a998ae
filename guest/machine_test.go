package guest_test

import (
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
)

func TestSmoke(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.advance(5 * time.Second)
	s := b.snapshot(m)
	t.Log(s)
	b.advance(5 * time.Second)
	v, r := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:"))
	t.Log(v, r)
	v, r = ledger.Check(b.volume(1), b.volume(2))
	t.Log(v, r)
	b.must(b.requestor(m).Release(t.Context(), s))
	b.settled(m)
	mem, err := m.Save(t.Context())
	b.must(err)
	m, err = guest.Resume(t.Context(), b.Config, mem)
	b.must(err)
	b.advance(5 * time.Second)
	b.must(m.Shutdown(t.Context()))
	v, r = ledger.Check(b.volume(1), b.volume(2))
	t.Log(v, r)
	t.Logf("\n%s", b.world.Trace())
}
