package virtdisk

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
)

// TestUsedBlocks compares with a look at every byte.
func TestUsedBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		block := int64(512) << rapid.IntRange(0, 10).Draw(t, "block")
		m := disk.NewMemory(rapid.Int64Range(1, 1<<20).Draw(t, "size"))
		for range rapid.IntRange(0, 6).Draw(t, "writes") {
			off := rapid.Int64Range(0, m.Size()-1).Draw(t, "off")
			p := make([]byte, rapid.Int64Range(1, min(100_000, m.Size()-off)).Draw(t, "n"))
			p[0] = 1
			m.WriteAt(p, off) // zeros but for the first byte
			if rapid.Bool().Draw(t, "zero again") {
				m.WriteAt([]byte{0}, off)
			}
		}
		all := make([]byte, m.Size())
		read := func(p []byte, off int64) error { _, err := m.ReadAt(p, off); return err }
		read(all, 0)
		var want []int64
		for b := int64(0); b*block < m.Size(); b++ {
			if slices.Max(all[b*block:min((b+1)*block, m.Size())]) != 0 {
				want = append(want, b)
			}
		}
		var got []int64
		for b, err := range UsedBlocks(m, block, read) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d bytes in blocks of %d: %v, want %v", m.Size(), block, got, want)
		}
	})
}

func TestUsedBlocksEnds(t *testing.T) {
	m := disk.NewMemory(8 << 20)
	for off := int64(0); off < m.Size(); off += 1 << 20 {
		m.WriteAt([]byte{1}, off)
	}
	broken := errors.New("broken")
	reads := 0
	read := func(p []byte, off int64) error {
		if reads++; reads == 3 {
			return broken
		}
		_, err := m.ReadAt(p, off)
		return err
	}
	var got []int64
	for b, err := range UsedBlocks(m, 1<<20, read) {
		if err != nil {
			if err != broken {
				t.Errorf("error %v, want %v", err, broken)
			}
			break
		}
		got = append(got, b)
	}
	if !slices.Equal(got, []int64{0, 1}) || reads != 3 {
		t.Errorf("blocks %v before the third read failed, %d reads", got, reads)
	}
	for range UsedBlocks(m, 1<<20, read) {
		break
	}
	if reads != 4 {
		t.Errorf("%d reads, want 4: one block was asked for", reads)
	}
}
