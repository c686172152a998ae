package disk_test

import (
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/disk"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func put(s disk.Store, off int64, text string) {
	_, err := s.WriteAt([]byte(text), off)
	check(err)
}

func get(s disk.Source, off int64, n int) string {
	p := make([]byte, n)
	_, err := s.ReadAt(p, off)
	check(err)
	return string(p)
}

// A snapshot stays as it was while the disk goes on, and tells afterwards what
// has changed.
func ExampleMemory() {
	m := disk.NewMemory(127 << 30)
	put(m, 1<<20, "ledger, page 1")

	before := m.Freeze()
	put(m, 1<<20, "LEDGER")
	put(m, 1<<30, "journal")

	fmt.Println(get(before, 1<<20, 14))
	fmt.Println(get(m, 1<<20, 14))
	changed, err := m.Diff(before)
	check(err)
	for e := range changed {
		fmt.Printf("changed: %d bytes at %d\n", e.Len, e.Off)
	}
	_, err = before.WriteAt([]byte("x"), 0)
	fmt.Println(err, errors.Is(err, disk.ErrReadOnly))
	// Output:
	// ledger, page 1
	// LEDGER, page 1
	// changed: 4096 bytes at 1048576
	// changed: 4096 bytes at 1073741824
	// disk: WriteAt at 0: store is read-only true
}

// Forks are worlds of their own.
func ExampleMemory_Fork() {
	m := disk.NewMemory(1 << 20)
	put(m, 0, "one")
	other := m.Fork()
	put(other, 0, "two")
	fmt.Println(get(m, 0, 3), get(other, 0, 3))
	// Output: one two
}

// A partition is a section of its disk.
func ExampleSection() {
	m := disk.NewMemory(1 << 30)
	partition := disk.Section(m, 1<<20, 64<<20)
	put(partition, 0, "NTFS")
	fmt.Println(partition.Size(), get(m, 1<<20, 4))
	// Output: 67108864 NTFS
}

// A differencing disk keeps what was written to it and shows the rest of its
// parent.
func ExampleOverlay() {
	parent := disk.NewMemory(4096)
	put(parent, 0, "installed")
	o := disk.NewOverlay(disk.ReadOnly(parent), parent.Size())
	put(o, 512, "patched")
	check(o.Discard(2048, 512))

	names := map[disk.Origin]string{disk.Below: "parent", disk.Own: "own", disk.Zero: "zero"}
	for s := range o.Spans(0, o.Size()) {
		fmt.Println(s.Off, s.Len, names[s.Origin])
	}
	fmt.Println(get(o, 0, 9), get(o, 512, 7))
	// Output:
	// 0 512 parent
	// 512 512 own
	// 1024 1024 parent
	// 2048 512 zero
	// 2560 1536 parent
	// installed patched
}

// Copying between stores in memory shares pages and reads none.
func ExampleCopy() {
	src := disk.NewMemory(1 << 40)
	put(src, 1<<39, "somewhere in the middle")
	dst := disk.NewMemory(1 << 40)
	check(disk.Copy(dst, src))
	same, err := disk.Equal(dst, src)
	check(err)
	fmt.Println(get(dst, 1<<39, 9), same)
	for e := range disk.Extents(dst, 0, dst.Size()) {
		fmt.Println(e.Len, "bytes allocated")
	}
	// Output:
	// somewhere true
	// 4096 bytes allocated
}

// A digest depends on bytes alone, not on what happens to be allocated.
func ExampleDigest() {
	a, b := disk.NewMemory(1<<30), disk.NewMemory(1<<30)
	put(a, 5000, "text")
	put(b, 5000, "text")
	put(b, 90000, "gone")
	put(b, 90000, "\x00\x00\x00\x00")
	x, err := disk.Digest(a)
	check(err)
	y, err := disk.Digest(b)
	check(err)
	fmt.Println(x == y)
	// Output: true
}
