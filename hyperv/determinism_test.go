package hyperv_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

var updateDigests = flag.Bool("update-digests", false, "rewrite testdata/digests.txt")

// mixed is a world with machines of every kind.
func mixed(seed uint64) worldSpec {
	return worldSpec{seed: seed, vms: []vmSpec{
		{state: hyperv.StateRunning, os: guest.WindowsServer2008, offered: true, service: true, extra: guest.NTFS, ledger: true,
			writes: []writeSpec{{after: 3 * time.Second, block: 3, value: 1}, {after: 4 * time.Second, block: 3, value: 2}}},
		{state: hyperv.StateRunning, os: guest.WindowsServer2008, offered: true, extra: guest.NTFS, ledger: true},
		{state: hyperv.StatePaused, os: guest.WindowsServer2008, offered: true, service: true, extra: guest.FAT32},
		{state: hyperv.StateSaved, os: guest.Windows2000Server, offered: true, service: true, extra: guest.NTFS},
	}}
}

// digest builds the world, backs it up twice and returns the digest of the trace.
func (s worldSpec) digest(ctx context.Context, t *testing.T) (string, *world) {
	t.Helper()
	w, err := s.build(ctx, sim.Seed(s.seed))
	if err == nil {
		err = w.backup(ctx)
	}
	if err == nil {
		err = w.backup(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", w.Trace().Digest()), w
}

// TestDeterminism: the same seed gives the same trace, byte for byte, in two runs,
// and on every platform the one whose digest testdata/digests.txt holds.
func TestDeterminism(t *testing.T) {
	const file = "testdata/digests.txt"
	var got strings.Builder
	seen := make(map[string]bool)
	for seed := range uint64(8) {
		first, a := mixed(seed).digest(t.Context(), t)
		second, b := mixed(seed).digest(t.Context(), t)
		if first != second {
			t.Errorf("seed %d gives two runs:\n%s", seed, trace.Diff(a.Trace(), b.Trace(), trace.Options{}))
		}
		_, _ = a.Close(), b.Close()
		seen[first] = true
		fmt.Fprintf(&got, "seed %d  %s\n", seed, first)
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
