package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

var updateDigests = flag.Bool("update-digests", false, "rewrite testdata/digests.txt")

// busy runs a cluster of three nodes through a backup behind its back, a move, a
// crash during another backup and a restore, and returns the trace.
func busy(t *testing.T, seed uint64) sim.Trace {
	t.Helper()
	l := newLab(t, labConfig{nodes: 3, sim: []sim.Option{sim.Seed(seed)}})
	db, web := l.vm("db", saved, threshold(1)), l.vm("web", inside)
	l.vm("mail", saved, threshold(0))
	l.advance(3 * time.Second)
	for range 2 {
		_, _ = l.backup("h1") // the cluster may spoil it
		l.advance(time.Minute)
	}
	l.must(web.Group().Move(l.ctx(), "h3", cluster.LiveMigration))
	target := &requester.Memory{}
	b := l.w.Actor("backup").Go("backup", func(ctx context.Context) error {
		return l.runBackup(ctx, db.Owner().Name(), target)
	})
	l.advance(time.Second)
	l.host("h1").Actor().Kill()
	_ = b.Wait(l.ctx())
	l.advance(time.Minute)
	for _, vm := range l.c.VMs() {
		if vm.Owner().Name() == "h1" || vm.Resource().State() != cluster.ResourceOnline {
			t.Errorf("seed %d: %s is on %s, %v", seed, vm.Name(), vm.Owner().Name(), vm.Resource().State())
		}
	}
	source, err := l.backup("h3", "web")
	l.must(err)
	_ = l.restore("h3", source)
	l.advance(5 * time.Minute)
	return l.w.Trace()
}

// TestDeterminism: the same seed gives the same trace, byte for byte, in two runs,
// and on every platform the one whose digest testdata/digests.txt holds.
func TestDeterminism(t *testing.T) {
	const file = "testdata/digests.txt"
	var got strings.Builder
	seen := make(map[[32]byte]bool)
	for seed := range uint64(4) {
		first, second := busy(t, seed), busy(t, seed)
		digest := first.Digest()
		if digest != second.Digest() {
			t.Errorf("seed %d gives two runs:\n%s", seed, trace.Diff(first, second, trace.Options{}))
		}
		seen[digest] = true
		fmt.Fprintf(&got, "seed %d  %x\n", seed, digest)
	}
	if len(seen) < 2 {
		t.Error("all seeds give the same run")
	}
	if *updateDigests {
		if err := os.WriteFile(file, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(want), "\r\n", "\n") != got.String() {
		t.Errorf("the runs are not those of %s (a change of behaviour needs -update-digests):\n%swant\n%s", file, got.String(), want)
	}
}
