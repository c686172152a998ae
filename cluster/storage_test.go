package cluster_test

import (
	"context"
	"testing"
	"time"
)

// A machine that waits for room on its volume counts as failed: it is turned off and
// started anew, even if there is room meanwhile, for nobody resumes it.
func TestMachineWithoutRoomIsRestarted(t *testing.T) {
	l := newLab(t, labConfig{})
	vm := l.vm("db", inside)
	l.shared.SetCapacity(l.shared.Capacity() - l.shared.Free())
	g := l.hosts[0].VM("db").Guest()
	l.w.Actor("a user of db").Go("writes", func(ctx context.Context) error {
		return g.WriteAt(ctx, "C:", 4*mib, []byte("more")) // the VHD file would have to grow
	})
	l.advance(time.Second)
	if s := l.state("h1", "db"); s != "paused-critical" {
		t.Fatalf("it is %s", s)
	}
	l.shared.SetCapacity(1 << 40)
	l.advance(5 * time.Minute)
	l.wantAt(vm, "h1")
	if n := l.count("vm/storage-failed", "vm=db"); n != 1 {
		t.Errorf("its storage failed %d times", n)
	}
	_, err := l.backup("h1")
	l.must(err)
	l.clean("is prepared")
}
