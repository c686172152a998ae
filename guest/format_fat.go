package guest

// A fatPlan is the geometry of a new FAT volume, in sectors.
type fatPlan struct {
	fs        FileSystem
	bits      int64 // of a table entry
	reserved  int64
	roots     int64 // sectors of the fixed root directory, none in FAT32
	tableSize int64
	clusters  int64
}

const (
	fatTables      = 2
	fatMaxPer      = 128 // sectors in a cluster
	fat32Clusters  = 0x0FFFFFF5
	fat32BackupAt  = 6
	fat32RootClust = 2
	fatNoLabel     = "NO NAME"
)

// fatChunks makes an empty volume that is complete: boot sector, heads of both
// tables, the label in the root directory; for FAT32 the information sector and
// the copies of both sectors, too.
func (fs FileSystem) fatChunks(off, size int64) ([]chunk, Code) {
	fs.Sectors = size / sectorSize
	if !fatLabelFits(fs.Label) || fs.Serial>>32 != 0 || fs.Sectors > 1<<32-1 {
		return nil, ErrSpec
	}
	p, ok := planFAT(fs)
	if !ok {
		return nil, ErrSpec
	}
	boot := p.boot(off)
	chunks := []chunk{{0, boot}}
	if p.bits == 32 {
		info := p.information()
		chunks = append(chunks, chunk{sectorSize, info},
			chunk{fat32BackupAt * sectorSize, boot}, chunk{(fat32BackupAt + 1) * sectorSize, info})
	}
	for i := range int64(fatTables) {
		chunks = append(chunks, chunk{(p.reserved + i*p.tableSize) * sectorSize, p.tableHead()})
	}
	if fs.Label != "" {
		entry := make(block, 32)
		entry.putPadded(0, fs.Label)
		entry[11] = 0x08 // the volume's label
		chunks = append(chunks, chunk{(p.reserved + fatTables*p.tableSize) * sectorSize, entry})
	}
	return chunks, 0
}

// planFAT finds a cluster size with which the number of clusters is one of the
// kind, unless the spec names one.
func planFAT(fs FileSystem) (fatPlan, bool) {
	p := fatPlan{fs: fs, bits: 16, reserved: 1, roots: 32}
	least, most := int64(fat12Clusters), int64(fat16Clusters)
	switch fs.Kind {
	case FAT12:
		p.bits, least, most = 12, 1, fat12Clusters
	case FAT32:
		p.bits, p.reserved, p.roots, least, most = 32, 32, 0, 1, fat32Clusters
	}
	first, last := int64(1), int64(fatMaxPer)
	switch {
	case fs.ClusterSize%sectorSize != 0:
		return p, false
	case fs.ClusterSize != 0:
		first = fs.ClusterSize / sectorSize
		last = first
	case fs.Kind == FAT32 && fs.Sectors >= 8*fat16Clusters:
		first = 8
	}
	for per := first; per <= min(last, fatMaxPer) && isPowerOfTwo(per); per *= 2 {
		p.fs.ClusterSize = per * sectorSize
		if p.fill(per); p.clusters >= least && p.clusters < most {
			return p, true
		}
	}
	return p, false
}

// fill divides the volume into tables and clusters.
func (p *fatPlan) fill(per int64) {
	p.tableSize = 1
	for {
		p.clusters = max((p.fs.Sectors-p.reserved-p.roots-fatTables*p.tableSize)/per, 0)
		need := alignUp((p.clusters+2)*p.bits, 8*sectorSize) / (8 * sectorSize)
		if need <= p.tableSize {
			return
		}
		p.tableSize = need
	}
}

func (p fatPlan) boot(off int64) block {
	b := make(block, sectorSize)
	b.putText(0, "\xEB\x58\x90MSDOS5.0")
	b.put16(11, sectorSize)
	b[13] = byte(p.fs.ClusterSize / sectorSize)
	b.put16(14, uint16(p.reserved))
	b[16] = fatTables
	b.put16(17, uint16(p.roots*sectorSize/32))
	b[21] = 0xF8
	b.putTrack(off)
	if p.fs.Sectors <= 0xFFFF && p.bits != 32 {
		b.put16(19, uint16(p.fs.Sectors))
	} else {
		b.put32(32, uint32(p.fs.Sectors))
	}
	extended := 36
	if p.bits == 32 {
		b.put32(36, uint32(p.tableSize))
		b.put32(44, fat32RootClust)
		b.put16(48, 1)
		b.put16(50, fat32BackupAt)
		extended = 64
	} else {
		b[1] = 0x3C
		b.put16(22, uint16(p.tableSize))
	}
	b[extended] = 0x80
	b[extended+2] = 0x29
	b.put32(extended+3, uint32(p.fs.Serial))
	label := p.fs.Label
	if label == "" {
		label = fatNoLabel
	}
	b.putPadded(extended+7, label)
	b.putText(extended+18, (p.fs.Kind.String() + "   ")[:8])
	b.sign()
	return b
}

// information makes the sector that counts the free clusters of FAT32.
func (p fatPlan) information() block {
	b := make(block, sectorSize)
	b.putText(0, "RRaA")
	b.putText(484, "rrAa")
	b.put32(488, uint32(p.clusters-1))
	b.put32(492, fat32RootClust+1)
	b.sign()
	return b
}

// tableHead makes the entries that stand for no cluster, and the one of the
// root directory.
func (p fatPlan) tableHead() block {
	switch p.bits {
	case 12:
		return block{0xF8, 0xFF, 0xFF}
	case 16:
		return block{0xF8, 0xFF, 0xFF, 0xFF}
	}
	b := make(block, 12)
	b.put32(0, 0x0FFFFFF8)
	b.put32(4, 0x0FFFFFFF)
	b.put32(8, 0x0FFFFFFF)
	return b
}

// putPadded writes a label of eleven characters.
func (b block) putPadded(at int, s string) { copy(b[at:at+11], s+"           ") }

// fatLabelFits tells a label that comes back as it went in: eleven printable
// characters of ASCII at most, none of them lower case.
func fatLabelFits(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c >= 'a' && c <= 'z' {
			return false
		}
	}
	return len(s) <= 11 && s != fatNoLabel && (s == "" || s[0] != ' ' && s[len(s)-1] != ' ')
}
