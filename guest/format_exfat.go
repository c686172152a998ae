package guest

import (
	"math/bits"
	"unicode/utf16"
)

// An exFATPlan is the geometry of a new exFAT volume, in sectors and clusters.
type exFATPlan struct {
	fs       FileSystem
	per      int64 // sectors in a cluster
	table    int64 // sectors of the table
	heap     int64 // the sector where the clusters begin
	clusters int64
}

const (
	exFATRegion      = 12 // sectors of the boot region; its copy follows
	exFATTableAt     = 2 * exFATRegion
	exFATRoot        = 4 // behind the clusters of the bitmap and the up-case table
	exFATMinSize     = mib
	exFATMaxClusters = 1<<32 - 11
	exFATLabelUnits  = 11
)

// exFATChunks makes both boot regions with their checksums, the head of the
// table and a root directory that holds the label alone.
func (fs FileSystem) exFATChunks(off, size int64) ([]chunk, Code) {
	label := utf16.Encode([]rune(fs.Label))
	if fs.Serial>>32 != 0 || len(label) > exFATLabelUnits || !plainText(fs.Label, 0, maxText) {
		return nil, ErrSpec
	}
	fs.Sectors = size / sectorSize
	p, cause := planExFAT(fs)
	if cause != 0 {
		return nil, cause
	}
	region := p.region(off)
	entries := make(block, 4*(exFATRoot+1))
	entries.put32(0, 0xFFFFFFF8)
	for i := 1; i <= exFATRoot; i++ {
		entries.put32(4*i, 0xFFFFFFFF)
	}
	root := make(block, 32)
	root[0], root[1] = 0x83, byte(len(label))
	for i, u := range label {
		root.put16(2+2*i, u)
	}
	return []chunk{{0, region}, {exFATRegion * sectorSize, region}, {exFATTableAt * sectorSize, entries},
		{(p.heap + (exFATRoot-2)*p.per) * sectorSize, root}}, 0
}

func planExFAT(fs FileSystem) (exFATPlan, Code) {
	if fs.ClusterSize == 0 {
		fs.ClusterSize = 4096
	}
	p := exFATPlan{fs: fs, per: fs.ClusterSize / sectorSize}
	if fs.ClusterSize < sectorSize || fs.ClusterSize > 1<<maxExFATShift || !isPowerOfTwo(fs.ClusterSize) {
		return p, ErrSpec
	}
	p.table = (fs.Sectors/p.per+2)*4/sectorSize + 1
	p.heap = alignUp(exFATTableAt+p.table, p.per)
	p.clusters = (fs.Sectors - p.heap) / p.per
	switch {
	case fs.Sectors*sectorSize < exFATMinSize || p.clusters < exFATRoot:
		return p, ErrTruncated
	case p.clusters > exFATMaxClusters:
		return p, ErrSpec
	}
	return p, 0
}

// region makes the boot region: the boot sector, eight sectors for more of its
// code, two that are reserved, and one full of the checksum of the others.
func (p exFATPlan) region(off int64) block {
	r := make(block, exFATRegion*sectorSize)
	b := r[:sectorSize]
	b.putText(0, "\xEB\x76\x90EXFAT   ")
	b.put64(64, uint64(off/sectorSize))
	b.put64(72, uint64(p.fs.Sectors))
	b.put32(80, exFATTableAt)
	b.put32(84, uint32(p.table))
	b.put32(88, uint32(p.heap))
	b.put32(92, uint32(p.clusters))
	b.put32(96, exFATRoot)
	b.put32(100, uint32(p.fs.Serial))
	b.put16(104, 0x100)
	b[108] = 9
	b[109] = byte(bits.TrailingZeros64(uint64(p.per)))
	b[110] = 1
	b[111] = 0x80
	b.sign()
	for s := 1; s <= 8; s++ {
		r.put32((s+1)*sectorSize-4, 0xAA550000)
	}
	sum := exFATChecksum(r[:(exFATRegion-1)*sectorSize])
	for i := (exFATRegion - 1) * sectorSize; i < len(r); i += 4 {
		r.put32(i, sum)
	}
	return r
}

// exFATChecksum leaves out the fields that change while the volume is mounted.
func exFATChecksum(b block) (sum uint32) {
	for i, c := range b {
		if i != 106 && i != 107 && i != 112 {
			sum = bits.RotateLeft32(sum, -1) + uint32(c)
		}
	}
	return sum
}
