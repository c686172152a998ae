package disktest_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/disktest"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// filled returns a memory with something in it.
func filled(size int64) *disk.Memory {
	m := disk.NewMemory(size)
	for off := int64(0); off < size; off += 9000 {
		must(m.WriteAt(bytes.Repeat([]byte{byte(off>>8) | 1}, int(min(5000, size-off))), off))
	}
	return m
}

// plain has the three methods of a store and no other.
type plain struct{ disk.Store }

// odd is a size that is a multiple of nothing.
const odd = 17_007

// sound are stores that keep their promises.
var sound = map[string]func(t *testing.T) disk.Store{
	"Memory":              func(*testing.T) disk.Store { return disk.NewMemory(odd) },
	"Memory of some runs": func(*testing.T) disk.Store { return disk.NewMemory(150_001) },
	"large Memory":        func(*testing.T) disk.Store { return disk.NewMemory(1<<40 + 5) },
	"snapshot":            func(*testing.T) disk.Store { return filled(odd).Freeze() },
	"plain":               func(*testing.T) disk.Store { return plain{filled(odd)} },
	"Overlay":             func(*testing.T) disk.Store { return disk.NewOverlay(filled(odd), odd+3000) },
	"Overlay on a plain store": func(*testing.T) disk.Store {
		return disk.NewOverlay(plain{filled(odd)}, odd)
	},
	"Section":                   func(*testing.T) disk.Store { return disk.Section(filled(2*odd), 5001, odd) },
	"Section of a plain store":  func(*testing.T) disk.Store { return disk.Section(plain{filled(2 * odd)}, 4096, odd) },
	"ReadOnly":                  func(*testing.T) disk.Store { return disk.ReadOnly(filled(odd)) },
	"ReadOnly over a reader":    func(*testing.T) disk.Store { return disk.ReadOnly(strings.NewReader("hello, world")) },
	"DetectZeros":               func(*testing.T) disk.Store { return disk.DetectZeros(filled(odd)) },
	"Tracker":                   func(*testing.T) disk.Store { return disk.Track(filled(odd), 4096) },
	"SnapshotTree":              func(*testing.T) disk.Store { return disk.NewSnapshotTree(filled(odd)) },
	"WithFaults without faults": func(*testing.T) disk.Store { return disk.WithFaults(filled(odd), disk.FaultPlan{}) },
	"fixed VHD":                 func(*testing.T) disk.Store { return image(vhd.Options{Size: 17_408, Type: vhd.Fixed}) },
	"dynamic VHD":               func(*testing.T) disk.Store { return image(vhd.Options{Size: 17_408, BlockSize: 4096}) },
	"VHD of the usual blocks":   func(*testing.T) disk.Store { return image(vhd.Options{Size: 5<<30 + 512}) },
	"VHD that is only read": func(*testing.T) disk.Store {
		f := disk.NewMemory(0)
		im := must(vhd.Create(f, vhd.Options{Size: 17_408, BlockSize: 4096}))
		must(im.WriteAt([]byte("written before"), 8190))
		return must(vhd.Open(f, f.Size()))
	},
}

func image(o vhd.Options) disk.Store { return must(vhd.Create(disk.NewMemory(0), o)) }

func TestSoundStoresPass(t *testing.T) {
	for name, newStore := range sound {
		t.Run(name, func(t *testing.T) { disktest.RunStore(t, newStore) })
	}
}

func TestTestStoreReturnsNilForASoundStore(t *testing.T) {
	if err := disktest.TestStore(func() (disk.Store, error) { return disk.NewMemory(9001), nil }); err != nil {
		t.Error(err)
	}
	cause := errors.New("no disk today")
	if err := disktest.TestStore(func() (disk.Store, error) { return nil, cause }); !errors.Is(err, cause) {
		t.Errorf("without a store: %v", err)
	}
	if err := disktest.TestStore(func() (disk.Store, error) { return disk.NewMemory(0), nil }); err == nil {
		t.Error("a store without a byte was tested")
	}
}

// TestReportIsShort demands what a reader of a failure needs.
func TestReportIsShort(t *testing.T) {
	err := disktest.TestStore(func() (disk.Store, error) { return &sharing{hooked{Memory: disk.NewMemory(odd)}}, nil })
	var b *disktest.Broken
	if !errors.As(err, &b) {
		t.Fatal(err)
	}
	want := &disktest.Broken{
		Interface: "disk.Snapshotter",
		Promise:   "a snapshot stays as it is",
		Found:     "byte 0 of snapshot1 is 0x01, want 0x00",
		Calls:     []string{"snapshot1 := store.Snapshot()", "store.WriteAt(1 byte of 0x01, 0)"},
	}
	if b.Error() != want.Error() {
		t.Errorf("got\n%v\nwant\n%v", b, want)
	}
}
