package vhdx_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// A whole image is millions of bytes, most of them zero. The fuzzers change a
// few sectors of one: at each place stand the bytes that follow it.

// patches undoes patch: how a file differs from a small image.
func patches(k, from knife) (b []byte) {
	size := k.Size()
	diff := must(disk.Diff(k.Memory, from.Memory))
	b = le.AppendUint32(b, uint32(size>>9))
	for e := range diff {
		for at := e.Off; at < e.End() && at < 8*mib; at += 512 {
			var p, q [512]byte
			k.ReadAt(p[:], at)
			from.ReadAt(q[:], at)
			if p != q {
				b = append(le.AppendUint32(b, uint32(at>>9)), p[:]...)
			}
		}
	}
	return b
}

// patch applies what the fuzzer says to a small image.
func patch(k knife, b []byte) knife {
	if len(b) < 4 {
		return k
	}
	must(0, k.Resize(int64(le.Uint32(b)%(64*2048))<<9))
	for b = b[4:]; len(b) >= 4+512; b = b[4+512:] {
		at := int64(le.Uint32(b)) << 9
		if at < k.Size() {
			k.WriteAt(b[4:4+512], at)
		}
	}
	return k
}

// putRight makes checksums match what they sum up.
func putRight(k knife) {
	for _, x := range []struct {
		off int64
		n   int
	}{{64 << 10, 4096}, {128 << 10, 4096}, {192 << 10, 64 << 10}, {256 << 10, 64 << 10}} {
		if x.off+int64(x.n) <= k.Size() {
			k.resum(x.off, x.n, func([]byte) {})
		}
	}
	for at := int64(logPlace); at < 2*mib && at+4096 <= k.Size(); at += 4096 {
		var head [12]byte
		k.ReadAt(head[:], at)
		if n := int64(le.Uint32(head[8:])); string(head[:4]) == "loge" && n >= 64 && at+n <= 2*mib && at+n <= k.Size() {
			k.resum(at, int(n), func([]byte) {})
		}
	}
}

// FuzzOpen opens anything, with the checksums put right if resum is set. What
// opens can be read, looked through, checked and written, and is then still an
// image with what was written.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, false, true)
	f.Add([]byte{}, true, true)
	for _, c := range rejections() {
		f.Add(patches(c.file, small()), false, false)
	}
	f.Add(patches(small().logged(9, 0, logEntry(9, 5, 0, end, end, put(0, 1), logItem{off: tablePlace, n: 4096})), small()), false, true)
	f.Fuzz(func(t *testing.T, b []byte, child, resum bool) {
		k := small()
		if child {
			k = smallChild()
		}
		if k = patch(k, b); resum {
			putRight(k)
		}
		openAny(t, k)
	})
}

// openAny opens a file that may be anything.
func openAny(t *testing.T, k knife) {
	im, err := vhdx.Open(k, k.Size())
	if err != nil {
		wantCode(t, err, codeOf(err))
		if _, err := vhdx.OpenFile(k); err == nil {
			t.Fatalf("for writing it opens, for reading: %v", err)
		}
		return
	}
	if im.Size() <= 0 || im.Size() > vhdx.MaxSize {
		t.Fatalf("a disk of %d bytes", im.Size())
	}
	if im.Type() == vhdx.Differencing {
		must(0, ignoreSectors(im.SetParent(smallParent(), vhdx.CheckNone)))
	}
	for _, off := range []int64{0, im.Size() / 2, max(im.Size()-mib/2, 0)} {
		readSome(t, im, off)
	}
	n := 0
	for range im.Extents(0, min(im.Size(), 1<<40)) {
		if n++; n > 100000 {
			break
		}
	}
	for range im.Spans(0, min(im.Size(), 1<<40)) {
	}
	im.Check()
	writeSome(t, k)
}

// ignoreSectors lets a parent with other sectors be no parent.
func ignoreSectors(err error) error {
	if errors.Is(err, vhdx.ErrSectorSize) {
		return nil
	}
	return err
}

// codeOf returns the code in an error of Open, or one that is never there.
func codeOf(err error) error {
	for _, c := range []vhdx.Code{
		vhdx.ErrHeader, vhdx.ErrFormatUnknown, vhdx.ErrFormatVersion, vhdx.ErrBAT, vhdx.ErrBlockSize, vhdx.ErrBitmap,
		vhdx.ErrParentNotFound, vhdx.ErrMetadataRead, vhdx.ErrSize, vhdx.ErrFileSize, vhdx.ErrLimit, vhdx.ErrSectorSize,
	} {
		if errors.Is(err, c) {
			return c
		}
	}
	return errCable
}

// readSome reads some of the disk, at once and in odd pieces, which is the same
// or the same error.
func readSome(t *testing.T, im *vhdx.Image, off int64) {
	want := make([]byte, min(im.Size()-off, mib/2))
	n, err := im.ReadAt(want, off)
	if err != nil && err != io.EOF {
		wantCode(t, err, err.(*vhdx.Error).Err)
		return
	}
	got := make([]byte, 0, n)
	for len(got) < n {
		p := got[len(got):min(len(got)+4321, n)]
		must(im.ReadAt(p, off+int64(len(got))))
		got = got[:len(got)+len(p)]
	}
	same(t, "pieces", got, want)
}

// writeSome writes a little at both ends of the disk, in place.
func writeSome(t *testing.T, k knife) {
	im, err := vhdx.OpenFile(k)
	if err != nil {
		return // a table that Open has not looked at, or no log
	}
	if im.Type() == vhdx.Differencing && im.SetParent(smallParent(), vhdx.CheckNone) != nil {
		return
	}
	first, last := pattern(1, int(min(700, im.Size()))), pattern(2, 1)
	for off, p := range map[int64][]byte{0: first, im.Size() - 1: last} {
		if _, err := im.WriteAt(p, off); err != nil {
			wantCode(t, err, vhdx.ErrHeader) // no sequence number is left
			return
		}
	}
	if im.Close() != nil {
		return
	}
	again := must(vhdx.Open(k, k.Size()))
	if again.Type() == vhdx.Differencing {
		must(0, again.SetParent(smallParent(), vhdx.CheckNone))
	}
	got := make([]byte, len(first))
	must(again.ReadAt(got[:1], im.Size()-1))
	same(t, "end", got[:1], last)
	if im.Size() > int64(len(first)) {
		must(again.ReadAt(got, 0))
		same(t, "start", got, first)
	}
}

// structure is a fuzzer of a structure inside a small image: the bytes stand at
// a place, with the checksum put right.
func structure(f *testing.F, k func() knife, at int64, n int, checked bool) {
	b := make([]byte, n)
	must(k().ReadAt(b, at))
	f.Add(b)
	f.Add(b[:n/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		k := k()
		p := make([]byte, n)
		copy(p, b)
		if checked {
			sum(p)
		}
		must(k.WriteAt(p, at))
		openAny(t, k)
	})
}

func FuzzFileIdentifier(f *testing.F) { structure(f, small, 0, 520, false) }
func FuzzMetadata(f *testing.F)       { structure(f, small, metaPlace, 256, false) }
func FuzzMetadataItems(f *testing.F)  { structure(f, smallChild, metaPlace+64<<10, 400, false) }
func FuzzTable(f *testing.F)          { structure(f, small, tablePlace, 128, false) }
func FuzzChildTable(f *testing.F)     { structure(f, smallChild, tablePlace, 128, false) }

// FuzzHeader replaces header 1, whose number is made the larger.
func FuzzHeader(f *testing.F) {
	h := vhdx.Header{SequenceNumber: 1 << 40, Version: 1, LogLength: mib, LogOffset: mib}.Bytes()
	f.Add(h[:128])
	f.Fuzz(func(t *testing.T, b []byte) {
		p := make([]byte, 4096)
		copy(p, b)
		sum(p)
		if h, err := vhdx.ParseHeader(p); err == nil {
			got := h.Bytes()
			if again, err := vhdx.ParseHeader(got[:]); err != nil || again != h {
				t.Fatalf("header changed on its way: %+v, %+v, %v", h, again, err)
			}
		}
		k := small()
		must(k.WriteAt(p, 64<<10))
		openAny(t, k)
	})
}

// FuzzRegionTable replaces both region tables.
func FuzzRegionTable(f *testing.F) {
	b := make([]byte, 160)
	must(small().ReadAt(b, 192<<10))
	f.Add(b)
	must(small().addRegion(3, 4*mib, mib, 0).ReadAt(b, 192<<10))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p := make([]byte, 64<<10)
		copy(p, b)
		sum(p)
		k := small()
		must(k.WriteAt(p, 192<<10))
		must(k.WriteAt(p, 256<<10))
		openAny(t, k)
	})
}

// FuzzLog fills the log, with the entry sums put right, and asks for replay.
func FuzzLog(f *testing.F) {
	e := logEntry(9, 5, 0, end, end, put(0, 1), logItem{off: pad, n: 8192})
	f.Add(e, int64(0))
	f.Add(e, int64(mib-4096))
	f.Add(append(bytes.Clone(e), logEntry(9, 6, 0, end, 9*mib, logItem{off: 8 * mib, n: mib})...), int64(mib-8192))
	f.Add(logEntry(9, 5, 0, end, end, logItem{off: 0, n: 4096}), int64(4096))
	f.Fuzz(func(t *testing.T, b []byte, at int64) {
		if len(b) > mib {
			t.Skip("longer than the log")
		}
		b = append(bytes.Clone(b), make([]byte, -len(b)&4095)...)
		for i := 0; i+4096 <= len(b); i += 4096 {
			if n := int(le.Uint32(b[i+8:])); string(b[i:i+4]) == "loge" && n >= 64 && n <= len(b)-i {
				sum(b[i : i+n])
			}
		}
		k := small().logged(9, at&(mib-1)&^4095, b)
		openAny(t, k)
	})
}

// FuzzParentLocator reads a locator apart from an image, and as part of one.
func FuzzParentLocator(f *testing.F) {
	b := make([]byte, 500)
	smallChild().value(vhdx.ItemParentLocator, func(p []byte) { copy(b, p) })
	f.Add(b)
	for _, c := range locatorRejections() {
		p := make([]byte, 500)
		must(c.file.ReadAt(p, metaPlace+64<<10+40))
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := vhdx.ParseParentLocator(b)
		if err != nil {
			wantCode(t, err, codeOf(err))
		} else if len(l.Candidates()) == 0 {
			t.Fatalf("a locator without a path: %+v", l)
		}
		if len(b) > 1000 {
			return
		}
		k := smallChild().value(vhdx.ItemParentLocator, func(p []byte) { copy(p, b) })
		openAny(t, k)
	})
}
