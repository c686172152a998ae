package disk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
)

// savedTracker is what a tracker of 1 MiB with two points saves.
func savedTracker(t testing.TB) []byte {
	tr := disk.Track(disk.NewMemory(1<<20), 4096)
	for i, id := range []string{"full", "monday"} {
		if err := tr.Seal(id); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, tr, 8192*int64(i), "changed")
		mustWrite(t, tr, 1<<20-1, "x")
	}
	return tr.Save("disk 7")
}

// sealed returns b with the checksum it ought to have.
func sealed(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(slices.Clone(b), crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Points answer after a restart as they did before, the lost ones too, and
// tracking goes on.
func TestSavedTracker(t *testing.T) {
	m := disk.NewMemory(tib)
	tr := disk.Track(m, 0)
	for _, id := range []string{"lost", "full", "monday"} {
		if err := tr.Seal(id); err != nil {
			t.Fatal(err)
		}
		if id == "lost" {
			tr.Lose()
		}
		mustWrite(t, tr, 65536*int64(len(id)), id)
	}
	saved := tr.Save("")
	if len(saved) > 100 {
		t.Errorf("%d bytes for three changes", len(saved))
	}
	again, err := disk.LoadTracker(m, saved, "")
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, again, 9*65536, "later")
	want := []disk.Extent{{Off: 4 * 65536, Len: 65536}, {Off: 6 * 65536, Len: 65536}, {Off: 9 * 65536, Len: 65536}}
	if got := changes(t, again, "full"); !slices.Equal(got, want) {
		t.Errorf("changes %v", got)
	}
	if _, err := again.Changed("lost", 0, tib); !errors.Is(err, disk.ErrTrackingLost) {
		t.Errorf("a point that was lost: %v", err)
	}
	tr.Stop()
	if again, err = disk.LoadTracker(m, tr.Save(""), ""); err != nil {
		t.Fatal(err)
	}
	if err := again.Seal("x"); !errors.Is(err, disk.ErrTrackingOff) {
		t.Errorf("switched off before the restart: %v", err)
	}
}

func wantLost(t *testing.T, what string, s disk.Store, saved []byte, stamp string) {
	t.Helper()
	var e *disk.Error
	tr, err := disk.LoadTracker(s, saved, stamp)
	if tr != nil || !errors.Is(err, disk.ErrTrackingLost) || !errors.As(err, &e) || e.Off < 0 || e.Off > int64(len(saved)) {
		t.Errorf("%s: %v, want a place in %d bytes", what, err, len(saved))
	}
}

// Whatever is cut off, damaged or of another disk is not believed.
func TestLoadTrackerRefuses(t *testing.T) {
	m, saved := disk.NewMemory(1<<20), savedTracker(t)
	if _, err := disk.LoadTracker(m, saved, "disk 7"); err != nil {
		t.Fatal(err)
	}
	wantLost(t, "another disk", m, saved, "disk 8")
	wantLost(t, "another size", disk.NewMemory(1<<20+1), saved, "disk 7")
	wantLost(t, "more bytes", m, append(slices.Clone(saved), 0), "disk 7")
	for i := range saved {
		wantLost(t, fmt.Sprintf("the first %d bytes", i), m, saved[:i], "disk 7")
		bad := slices.Clone(saved)
		bad[i] ^= 4
		wantLost(t, fmt.Sprintf("byte %d wrong", i), m, bad, "disk 7")
	}
	body := saved[:len(saved)-4]
	wantLost(t, "a byte too many", m, sealed(append(slices.Clone(body), 0)), "disk 7")
	for i := len("shadowsim tracker 1\n"); i < len(body); i++ {
		wantLost(t, fmt.Sprintf("the first %d bytes, sealed", i), m, sealed(body[:i]), "disk 7")
	}
	head := []byte("shadowsim tracker 1\n\x00")
	uvarints := func(ns ...uint64) []byte {
		b := slices.Clone(head)
		for _, n := range ns {
			b = binary.AppendUvarint(b, n)
		}
		return sealed(b)
	}
	for what, b := range map[string][]byte{
		"a grain of 0":            uvarints(1<<20, 0, 0, 0),
		"a size above all":        uvarints(1<<63, 4096, 0, 0),
		"neither on nor off":      uvarints(1<<20, 4096, 2, 0),
		"points without tracking": uvarints(1<<20, 4096, 1, 1, 0, 0, 0),
		"more points than bytes":  uvarints(1<<20, 4096, 0, 1<<40),
		"a point twice":           uvarints(1<<20, 4096, 0, 2, 0, 0, 0, 0, 0, 0),
		"more runs than bytes":    uvarints(1<<20, 4096, 0, 1, 0, 0, 1<<40),
		"a run behind the end":    uvarints(1<<20, 4096, 0, 1, 0, 0, 1, 250, 7),
		"an empty run":            uvarints(1<<20, 4096, 0, 1, 0, 0, 1, 0, 0),
		"runs that touch":         uvarints(1<<20, 4096, 0, 1, 0, 0, 2, 0, 1, 0, 1),
	} {
		wantLost(t, what, m, b, "")
	}
	if _, err := disk.LoadTracker(m, uvarints(1<<20, 4096, 0, 1, 0, 0, 2, 0, 1, 1, 254), ""); err != nil {
		t.Errorf("two runs up to the end: %v", err)
	}
}

// FuzzLoadTracker looks for bytes that are neither refused nor what the tracker
// made of them would save.
func FuzzLoadTracker(f *testing.F) {
	saved := savedTracker(f)
	body := saved[:len(saved)-4]
	f.Add(body, "disk 7", int64(1<<20))
	f.Add(body[:len(body)-3], "disk 7", int64(1<<20))
	f.Add([]byte("shadowsim tracker 1\n\x00\x00\x80\x04\x00\x00"), "", int64(0))
	f.Add([]byte("shadowsim tracker 1\n\x00\x80\x08\x80\x04\x00\x01\x00\x01\x01\x00\x02"), "", int64(1024))
	off := disk.Track(disk.NewMemory(9), 0)
	off.Stop()
	b := off.Save("")
	f.Add(b[:len(b)-4], "", int64(9))
	f.Fuzz(func(t *testing.T, body []byte, stamp string, size int64) {
		m := disk.NewMemory(max(size, 0) % (4 << 30))
		tr, err := disk.LoadTracker(m, sealed(body), stamp)
		if err != nil {
			if !errors.Is(err, disk.ErrTrackingLost) {
				t.Fatal(err)
			}
			return
		}
		again, err := disk.LoadTracker(m, tr.Save(stamp), stamp)
		if err != nil || !bytes.Equal(again.Save(stamp), tr.Save(stamp)) {
			t.Fatalf("what was loaded cannot be saved: %v", err)
		}
		for _, id := range tr.Points() {
			seq, err := tr.Changed(id, 0, m.Size())
			if err != nil && !errors.Is(err, disk.ErrTrackingLost) {
				t.Fatal(err)
			} else if err != nil {
				continue
			}
			for e := range seq {
				if e.Len <= 0 || e.Off < 0 || e.End() > m.Size() {
					t.Fatalf("change %+v of %d bytes", e, m.Size())
				}
			}
		}
	})
}
