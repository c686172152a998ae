package disk_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/disk"
)

// A disk goes back to a snapshot and goes on from there.
func ExampleSnapshotTree() {
	t := disk.NewSnapshotTree(disk.NewMemory(1 << 30))
	put(t, 0, "installed")
	check(t.Take("installed"))
	put(t, 0, "patched!!")
	check(t.Take("patched"))

	check(t.Revert("installed"))
	fmt.Println(get(t, 0, 9))
	put(t, 0, "otherwise")
	check(t.Take("other"))
	check(t.Delete("installed"))
	for name, parent := range t.All() {
		s, err := t.Open(name)
		check(err)
		fmt.Printf("%s, on %q: %s\n", name, parent, get(s, 0, 9))
	}
	// Output:
	// installed
	// patched, on "": patched!!
	// other, on "": otherwise
}

// An incremental backup copies what was changed since the last one.
func ExampleTracker() {
	t := disk.Track(disk.NewMemory(127<<30), 0)
	put(t, 1<<20, "ledger")
	check(t.Seal("full"))

	put(t, 1<<20, "LEDGER")
	put(t, 5<<30, "journal")
	check(t.Seal("monday"))
	put(t, 6<<30, "today")

	for _, id := range []string{"full", "monday"} {
		changed, err := t.Changed(id, 0, t.Size())
		check(err)
		for e := range changed {
			fmt.Printf("since %s: %d bytes at %d\n", id, e.Len, e.Off)
		}
	}
	_, err := t.Changed("sunday", 0, t.Size())
	fmt.Println(err, errors.Is(err, disk.ErrTrackingID))
	// Output:
	// since full: 65536 bytes at 1048576
	// since full: 65536 bytes at 5368709120
	// since full: 65536 bytes at 6442450944
	// since monday: 65536 bytes at 6442450944
	// disk: Changed at 0: unknown change tracking point true
}

// A restart does not make the next backup a full one.
func ExampleLoadTracker() {
	m := disk.NewMemory(127 << 30)
	t := disk.Track(m, 0)
	check(t.Seal("full"))
	put(t, 1<<20, "ledger")
	saved := t.Save("disk 1, as it was left")

	t, err := disk.LoadTracker(m, saved, "disk 1, as it was left")
	check(err)
	put(t, 5<<30, "journal")
	changed, err := t.Changed("full", 0, t.Size())
	check(err)
	for e := range changed {
		fmt.Printf("%d bytes at %d\n", e.Len, e.Off)
	}
	_, err = disk.LoadTracker(m, saved, "disk 1, as somebody else left it")
	fmt.Println(errors.Is(err, disk.ErrTrackingLost))
	// Output:
	// 65536 bytes at 1048576
	// 65536 bytes at 5368709120
	// true
}

// The second write is torn, the third takes its time, and the fourth is lost.
func ExampleWithFaults() {
	var plan disk.FaultPlan
	for _, s := range []string{"write nth=2 torn=3", "write nth=3 delay=30s", "write nth=4 drop"} {
		f, err := disk.ParseFault(s)
		check(err)
		plan.Faults = append(plan.Faults, f)
	}
	var clock time.Duration
	plan.Delay = func(f disk.Fault) error {
		clock += f.Outcome.Delay
		return nil
	}
	s := disk.WithFaults(disk.NewMemory(100), plan)
	for i, text := range []string{"first", "second", "third", "fourth"} {
		n, err := s.WriteAt([]byte(text), int64(10*i))
		fmt.Println(n, err, clock)
	}
	fmt.Printf("%q %q %q %q\n", get(s, 0, 6), get(s, 10, 6), get(s, 20, 6), get(s, 30, 6))
	// Output:
	// 5 <nil> 0s
	// 3 disk: WriteAt at 10: injected error 0x8007001D (write nth=2 torn=3) 0s
	// 5 <nil> 30s
	// 6 <nil> 30s
	// "first\x00" "sec\x00\x00\x00" "third\x00" "\x00\x00\x00\x00\x00\x00"
}

// Zeros that a guest writes over its files become holes.
func ExampleDetectZeros() {
	m := disk.NewMemory(1 << 20)
	s := disk.DetectZeros(m)
	put(s, 0, string(make([]byte, 8192)))
	put(s, 4096, "data")
	put(s, 4096, string(make([]byte, 4096)))
	n := 0
	for range m.Extents(0, m.Size()) {
		n++
	}
	fmt.Println(n, "extents")
	// Output: 0 extents
}
