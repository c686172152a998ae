package vhdx_test

import (
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// Where Create puts things.
const (
	logPlace   = 1 * mib
	metaPlace  = 2 * mib
	tablePlace = 3 * mib
)

var le = binary.LittleEndian

// knife is an image to be broken, sparse as it is.
type knife struct{ *disk.Memory }

// small is a dynamic image of six blocks, the last of them short, of which 4, 0
// and 5 have been written, in this order.
var smallImage = sync.OnceValue(func() *disk.Memory {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: 5*mib + 1024, BlockSize: mib, ID: vhdx.GUID{7}}))
	for _, b := range []int64{4, 0, 5} {
		must(im.WriteAt(pattern(byte(b), 1024), b*mib))
	}
	must(0, im.Close())
	return f.Freeze()
})

func small() knife { return knife{smallImage().Fork()} }

// smallParent is a disk of the same size for children.
var smallParent = sync.OnceValue(func() *vhdx.Image {
	im := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 5*mib + 1024, BlockSize: mib, ID: vhdx.GUID{8}}))
	must(im.WriteAt(pattern(77, 5000), 2*mib-2500))
	must(0, im.Close())
	return im
})

// smallChild has block 1 in part, and block 3 whole.
var smallChildImage = sync.OnceValue(func() *disk.Memory {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{BlockSize: mib, Parent: vhdx.Parent{Image: smallParent(), Path: `C:\d\p.vhdx`, Child: `C:\d\c\x.avhdx`}}))
	must(im.WriteAt(pattern(1, 512), 2*mib-1024))
	must(im.WriteAt(pattern(1, mib), 3*mib))
	must(0, im.Close())
	return f.Freeze()
})

func smallChild() knife { return knife{smallChildImage().Fork()} }

// edit changes n bytes at off.
func (k knife) edit(off int64, n int, change func(p []byte)) knife {
	p := make([]byte, n)
	must(k.ReadAt(p, off))
	change(p)
	must(k.WriteAt(p, off))
	return k
}

// resum is an edit of a structure with a CRC-32C at 4, computed apart from the
// codec's own.
func (k knife) resum(off int64, n int, change func(p []byte)) knife {
	return k.edit(off, n, func(p []byte) {
		change(p)
		sum(p)
	})
}

// sum computes the checksum bit by bit.
func sum(p []byte) {
	copy(p[4:8], make([]byte, 4))
	le.PutUint32(p[4:], crc32.Checksum(p, crc32.MakeTable(0x82F63B78)))
}

func (k knife) header(slot int, change func(p []byte)) knife {
	return k.resum(int64(slot+1)*64<<10, 4096, change)
}

// headers changes both headers.
func (k knife) headers(change func(p []byte)) knife { return k.header(0, change).header(1, change) }

// regions changes both region tables.
func (k knife) regions(change func(p []byte)) knife {
	return k.resum(192<<10, 64<<10, change).resum(256<<10, 64<<10, change)
}

// addRegion adds an entry to the region tables.
func (k knife) addRegion(id byte, off uint64, n, flags uint32) knife {
	return k.regions(func(p []byte) {
		e := p[16+32*le.Uint32(p[8:]):]
		e[0] = id
		le.PutUint64(e[16:], off)
		le.PutUint32(e[24:], n)
		le.PutUint32(e[28:], flags)
		le.PutUint32(p[8:], le.Uint32(p[8:])+1)
	})
}

// meta changes the metadata table and what follows it.
func (k knife) meta(change func(p []byte)) knife { return k.edit(metaPlace, 80<<10, change) }

// item changes the table's entry of an item, value what it holds.
func (k knife) item(id vhdx.GUID, change func(p []byte)) knife {
	return k.meta(func(p []byte) { change(findItem(p, id)) })
}

func (k knife) value(id vhdx.GUID, change func(p []byte)) knife {
	return k.meta(func(p []byte) { change(p[le.Uint32(findItem(p, id)[16:]):]) })
}

func findItem(p []byte, id vhdx.GUID) []byte {
	want := guid.Windows(id)
	for e := p[32:]; ; e = e[32:] {
		if [16]byte(e) == want {
			return e[:32]
		}
	}
}

// addItem adds an entry to the metadata table.
func (k knife) addItem(id byte, off, n, flags uint32) knife {
	return k.meta(func(p []byte) {
		e := p[32+32*int(le.Uint16(p[10:])):]
		e[0] = id
		le.PutUint32(e[16:], off)
		le.PutUint32(e[20:], n)
		le.PutUint32(e[24:], flags)
		le.PutUint16(p[10:], le.Uint16(p[10:])+1)
	})
}

// entry changes the table's entry of a block; behind the last block of a small
// image come padding and, in a child's, the bitmap's entry at 4096.
func (k knife) entry(i int64, state uint64, at int64) knife {
	return k.edit(tablePlace+8*i, 8, func(p []byte) { le.PutUint64(p, state|uint64(at)) })
}

func (k knife) getEntry(i int64) (at int64) {
	k.edit(tablePlace+8*i, 8, func(p []byte) { at = int64(le.Uint64(p) &^ (mib - 1)) })
	return at
}

func (k knife) spoil(off int64) knife {
	return k.edit(off, 1, func(p []byte) { p[0] ^= 0x55 })
}

func (k knife) cut(size int64) knife {
	must(0, k.Resize(size))
	return k
}

func put16(at int, v uint16) func([]byte) { return func(p []byte) { le.PutUint16(p[at:], v) } }
func put32(at int, v uint32) func([]byte) { return func(p []byte) { le.PutUint32(p[at:], v) } }
func put64(at int, v uint64) func([]byte) { return func(p []byte) { le.PutUint64(p[at:], v) } }

// A logItem is something that an entry of a log says: a sector of data, or
// zeros.
type logItem struct {
	off  int64
	data []byte // nil for zeros
	n    int64  // of zeros
}

// logEntry builds an entry as [MS-VHDX] has it, apart from the codec's own way.
func logEntry(id byte, seq uint64, tail uint32, flushed, last uint64, items ...logItem) []byte {
	heads := (64 + 32*len(items) + 4095) / 4096 * 4096
	b := make([]byte, heads)
	copy(b, "loge")
	le.PutUint32(b[12:], tail)
	le.PutUint64(b[16:], seq)
	le.PutUint32(b[24:], uint32(len(items)))
	b[32] = id
	le.PutUint64(b[48:], flushed)
	le.PutUint64(b[56:], last)
	for i, it := range items {
		d := b[64+32*i:][:32]
		le.PutUint64(d[16:], uint64(it.off))
		le.PutUint64(d[24:], seq)
		if it.data == nil {
			copy(d, "zero")
			le.PutUint64(d[8:], uint64(it.n))
			continue
		}
		copy(d, "desc")
		copy(d[4:8], it.data[4092:])
		copy(d[8:16], it.data[:8])
		s := append([]byte{'d', 'a', 't', 'a'}, le.AppendUint32(nil, uint32(seq>>32))...)
		s = append(s, it.data[8:4092]...)
		b = append(b, le.AppendUint32(s, uint32(seq))...)
	}
	le.PutUint32(b[8:], uint32(len(b)))
	sum(b)
	return b
}

// logged puts entries into the ring from a place on, and makes the headers ask
// for their replay.
func (k knife) logged(id byte, at int64, entries ...[]byte) knife {
	for _, e := range entries {
		for len(e) > 0 {
			must(k.WriteAt(e[:4096], logPlace+at))
			e, at = e[4096:], (at+4096)%mib
		}
	}
	return k.headers(func(p []byte) {
		p[48] = id
		le.PutUint64(p[8:], le.Uint64(p[8:])+1)
	}).header(0, func(p []byte) { le.PutUint64(p[8:], le.Uint64(p[8:])+1) })
}

// sector returns 4096 bytes that are nowhere zero.
func sector(seed byte) []byte { return pattern(seed, 4096) }
