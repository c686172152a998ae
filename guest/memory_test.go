package guest_test

import (
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"encoding/binary"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

func TestMemoryOfAMachine(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.advance(time.Second)
	image, err := m.Save(t.Context())
	b.must(err)
	if image.Size() != b.Memory {
		t.Errorf("%d bytes, want %d", image.Size(), b.Memory)
	}
	mem, err := guest.OpenMemory(image)
	b.must(err)
	regions := mem.Regions()
	if len(regions) != 1 || regions[0].Name != "ledger" || regions[0].Rest <= 0 || regions[0].Rest > 200*time.Millisecond {
		t.Fatalf("regions %+v", regions)
	}
	r, ok := mem.Region("ledger")
	if !ok || r.Size() != regions[0].Len {
		t.Errorf("region %v, %v", r, ok)
	}
	if _, ok := mem.Region("other"); ok {
		t.Error("a region of nobody")
	}
}

func TestSmallMemory(t *testing.T) {
	if _, err := guest.NewMemory(guest.MinMemory - 1); !errors.Is(err, guest.ErrNoMemory) {
		t.Errorf("too little: %v", err)
	}
	mem, err := guest.NewMemory(0)
	if err != nil || mem.Size() != guest.DefaultMemory {
		t.Errorf("by default: %v, %v", mem.Size(), err)
	}
}

// signTable makes the checksum of a memory's table right again.
func signTable(table []byte) {
	n := min(int(binary.LittleEndian.Uint32(table[28:])), 64)
	binary.LittleEndian.PutUint32(table[24:], crc32.ChecksumIEEE(table[28:32+n*288]))
}

func savedTable(t testing.TB) (*disk.Memory, []byte) {
	b := newRig(t)
	image, err := b.boot().Save(t.Context())
	b.must(err)
	table := make([]byte, 20<<10)
	_, err = image.ReadAt(table, 0)
	b.must(err)
	return image, table
}

func TestBadMemory(t *testing.T) {
	image, table := savedTable(t)
	entry := table[32:]
	put := func(at int, v uint64) func([]byte) {
		return func([]byte) { binary.LittleEndian.PutUint64(entry[at:], v) }
	}
	good := append([]byte(nil), table...)
	for name, damage := range map[string]func([]byte){
		"no magic":        func(b []byte) { b[0]++ },
		"too many":        func(b []byte) { binary.LittleEndian.PutUint32(b[28:], 65) },
		"no name":         func([]byte) { clear(entry[:264]) },
		"over the table":  put(264, 4096),
		"behind the end":  put(264, 1<<40),
		"huge offset":     put(264, 1<<63),
		"empty":           put(272, 0),
		"too long":        put(272, 1<<40),
		"negative length": put(272, 1<<63),
		"negative rest":   put(280, 1<<63),
	} {
		copy(table, good)
		damage(table)
		signTable(table)
		bad := image.Fork()
		if _, err := bad.WriteAt(table, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := guest.OpenMemory(bad); !errors.Is(err, guest.ErrBadMemory) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := guest.OpenMemory(disk.NewMemory(guest.MinMemory)); !errors.Is(err, guest.ErrBadMemory) {
		t.Errorf("blank memory: %v", err)
	}
	if _, err := guest.OpenMemory(disk.NewMemory(10)); !errors.Is(err, guest.ErrBadMemory) {
		t.Errorf("ten bytes: %v", err)
	}
	bad := image.Fork()
	if _, err := bad.WriteAt([]byte{0xFF}, 300); err != nil {
		t.Fatal(err)
	}
	b := newRig(t)
	if _, err := guest.Resume(t.Context(), b.Config, bad); !errors.Is(err, guest.ErrBadMemory) {
		t.Errorf("Resume: %v", err)
	}
}

func FuzzOpenMemory(f *testing.F) {
	image, table := savedTable(f)
	f.Add(table[:32+2*288])
	f.Fuzz(func(t *testing.T, head []byte) {
		table := make([]byte, 20<<10)
		copy(table, head)
		signTable(table)
		m := image.Fork()
		if _, err := m.WriteAt(table, 0); err != nil {
			t.Fatal(err)
		}
		mem, err := guest.OpenMemory(m)
		if err != nil {
			return
		}
		for _, r := range mem.Regions() {
			s, ok := mem.Region(r.Name)
			if !ok || r.End() > mem.Size() || s.Size() <= 0 {
				t.Errorf("region %+v of %d bytes", r, mem.Size())
			}
		}
	})
}
