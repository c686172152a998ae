package vhd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// FuzzOpen opens anything, with the checksums put right if resum is set. What
// opens can be read, looked through, checked and written, and is then still an
// image with what was written.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(small()), true)
	f.Add([]byte(smallFixed()), true)
	f.Add([]byte(small()[:len(small())-1]), false)
	f.Add([]byte(small()[:len(small())-512]), false)
	b, _ := foreign()
	f.Add([]byte(b), true)
	f.Add([]byte(smallChild()), true)
	for i, data := range []string{"C\x00:\x00\\\x00", "\x00C\x00:\x00\\", "file:///p"} {
		f.Add([]byte(smallChild().locator(2+i, []string{"W2ku", "W2ru", "MacX"}[i], []byte(data))), true)
	}
	for _, c := range rejections {
		f.Add([]byte(c.file), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, resum bool) {
		if len(b) > 1<<20 {
			t.Skip("large")
		}
		if b = bytes.Clone(b); resum {
			putRight(b)
		}
		openAny(t, b)
	})
}

// openAny opens a file that may be anything.
func openAny(t *testing.T, b []byte) {
	if _, err := vhd.Detect(bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
	im, err := vhd.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		wantCode(t, err, codeOf(err))
		return
	}
	if im.Size() <= 0 || im.Size() > vhd.MaxSize {
		t.Fatalf("a disk of %d bytes", im.Size())
	}
	if l, ok := im.Link(); ok {
		l.Candidates()
		standIn(t, im)
	}
	for _, off := range []int64{0, im.Size() / 2, max(im.Size()-1<<20, 0)} {
		readSome(t, im, off)
	}
	for range im.Spans(0, im.Size()) {
	}
	for range im.Extents(0, im.Size()) {
	}
	im.Check()
	writeSome(t, b)
}

// structure is a fuzzer of a structure inside a small image: the bytes stand at
// each of some places, and the checksums are right.
func structure(f *testing.F, file fileBytes, n int, places ...int) {
	f.Add([]byte(file[places[0]:][:n]))
	f.Add([]byte(file[places[0]:][:n/2]))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := bytes.Clone(file)
		for _, at := range places {
			p := k[at:][:n]
			clear(p)
			copy(p, b)
		}
		putRight(k)
		openAny(t, k)
	})
}

func FuzzFooters(f *testing.F)     { structure(f, small(), 512, 0, len(small())-512) }
func FuzzFixedFooter(f *testing.F) { structure(f, smallFixed(), 512, len(smallFixed())-512) }
func FuzzHeader(f *testing.F)      { structure(f, small(), 1024, 512) }
func FuzzChildHeader(f *testing.F) { structure(f, smallChild(), 1024, 512) }

func FuzzTable(f *testing.F)      { structure(f, small(), 32, tableOf(small())) }
func FuzzChildTable(f *testing.F) { structure(f, smallChild(), 16, tableOf(smallChild())) }

// FuzzBitmap replaces the bitmap of a child's block, FuzzParentLocator what its
// first locator says.
func FuzzBitmap(f *testing.F) { structure(f, smallChild(), 512, bitmapOf(smallChild())) }

func FuzzParentLocator(f *testing.F) {
	k := smallChild()
	at := binary.BigEndian.Uint64(k[512+576+16:])
	structure(f, k, int(binary.BigEndian.Uint32(k[512+576+8:])), int(at))
}

// tableOf returns where an image has its table, bitmapOf where the first block
// that is there begins.
func tableOf(b fileBytes) int { return int(binary.BigEndian.Uint64(b[512+16:])) }

func bitmapOf(b fileBytes) int {
	for at := tableOf(b); ; at += 4 {
		if n := binary.BigEndian.Uint32(b[at:]); n != 1<<32-1 {
			return int(n) * 512
		}
	}
}

// standIn puts a child over an empty disk of its size, or leaves any other
// image alone.
func standIn(t *testing.T, im *vhd.Image) {
	if im.Type() != vhd.Differencing {
		return
	}
	p := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: im.Size(), Type: vhd.Fixed}))
	if err := im.SetParent(p, vhd.CheckSize); err != nil {
		t.Fatal(err)
	}
}

// putRight makes the checksums of footers and header match what they sum up.
func putRight(b []byte) {
	if len(b) < 512 {
		return
	}
	for _, p := range [][]byte{b[:512], b[len(b)-512:]} {
		good := sum([512]byte(p), 64)
		copy(p, good[:])
	}
	at := binary.BigEndian.Uint64(b[len(b)-512+16:])
	if at <= uint64(len(b)) && len(b)-int(at) >= 1024 {
		good := sumHeader([1024]byte(b[at:]))
		copy(b[at:], good[:])
	}
}

// codeOf returns the code in an error of Open, or one that is never there.
func codeOf(err error) error {
	for _, c := range []vhd.Code{
		vhd.ErrFooterMissing, vhd.ErrFooterChecksum, vhd.ErrFooterCorrupt, vhd.ErrFormatUnknown,
		vhd.ErrFormatVersion, vhd.ErrSparseChecksum, vhd.ErrSparseVersion, vhd.ErrSparseCorrupt,
		vhd.ErrBAT, vhd.ErrBlockSize, vhd.ErrSize, vhd.ErrFileSize, vhd.ErrType,
	} {
		if errors.Is(err, c) {
			return c
		}
	}
	return errCable
}

// readSome reads up to a mebibyte, at once and in odd pieces.
func readSome(t *testing.T, im *vhd.Image, off int64) {
	want := make([]byte, min(im.Size()-off, 1<<20))
	if n, err := im.ReadAt(want, off); n != len(want) || err != nil && err != io.EOF {
		t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", len(want), off, n, err)
	}
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		p := got[len(got):min(len(got)+4321, len(want))]
		must(im.ReadAt(p, off+int64(len(got))))
		got = got[:len(got)+len(p)]
	}
	same(t, "pieces", got, want)
}

// writeSome writes a little at both ends of the disk, in place.
func writeSome(t *testing.T, b []byte) {
	f := disk.NewMemory(int64(len(b)))
	must(f.WriteAt(b, 0))
	im, err := vhd.OpenFile(f)
	if err != nil {
		return // the end of the file is lost
	}
	standIn(t, im)
	first, last := pattern(1, int(min(700, im.Size()))), pattern(2, 1)
	must(im.WriteAt(first, 0))
	must(im.WriteAt(last, im.Size()-1))
	again := must(vhd.Open(f, f.Size()))
	standIn(t, again)
	got := make([]byte, len(first))
	must(again.ReadAt(got, 0))
	if im.Size() > int64(len(first)) {
		same(t, "start", got, first)
	}
	must(again.ReadAt(got[:1], im.Size()-1))
	same(t, "end", got[:1], last)
}

// FuzzFooter reads a footer, with its checksum put right if resum is set. What
// is one is written again as it was.
func FuzzFooter(f *testing.F) {
	f.Add([]byte(small()[:512]), false)
	f.Add([]byte(smallChild()[:512]), true)
	f.Add([]byte(small()[:511]), false)
	f.Fuzz(func(t *testing.T, b []byte, resum bool) {
		if len(b) == 512 && resum {
			good := sum([512]byte(b), 64)
			b = good[:]
		}
		footer, err := vhd.ParseFooter(b)
		if err != nil {
			wantCode(t, err, codeOf(err))
			return
		}
		got := footer.Bytes()
		same(t, "footer", got[:len(b)], b)
	})
}

// FuzzDynamicHeader is FuzzFooter for the dynamic header.
func FuzzDynamicHeader(f *testing.F) {
	f.Add([]byte(small()[512:1536]), false)
	f.Add([]byte(smallChild()[512:1536]), true)
	f.Fuzz(func(t *testing.T, b []byte, resum bool) {
		if len(b) == 1024 && resum {
			good := sumHeader([1024]byte(b))
			b = good[:]
		}
		header, err := vhd.ParseDynamicHeader(b)
		if err != nil {
			wantCode(t, err, codeOf(err))
			return
		}
		got := header.Bytes()
		same(t, "header", got[:], b)
	})
}
