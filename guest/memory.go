package guest

import (
	"bytes"
	"hash/crc32"
	"time"

	"github.com/shadowsim/shadowsim/disk"
)

// DefaultMemory is the RAM of a machine whose configuration names none.
const DefaultMemory = 512 << 20

// MinMemory is the least RAM a machine runs with.
const MinMemory = 1 << 20

// A Memory is a machine's RAM: bytes, sparse, with a table of regions at their
// start, one region a program. The table is what a resumed machine finds its
// programs by.
type Memory struct {
	ram     *disk.Memory
	regions []Region
}

// A Region is a program's share of the memory.
type Region struct {
	Name string        // of the program; the second of one name has "#2" behind it
	Rest time.Duration // at the time of a save: until its next step
	disk.Extent
}

// The table: magic, checksum, number of entries, the entries. The checksum is
// over everything behind it, up to the last entry. Numbers are little-endian.
const (
	memoryMagic   = "shadowsim memory v01"
	tableSum      = 24
	tableCount    = 28
	tableHead     = 32
	regionName    = 264
	regionEntry   = regionName + 3*8
	maxRegions    = maxPrograms
	regionsOffset = 64 << 10
	regionAlign   = 4 << 10
)

// NewMemory returns memory that is all zero but for its empty table.
func NewMemory(size int64) (*Memory, error) {
	if size == 0 {
		size = DefaultMemory
	}
	if size < MinMemory {
		return nil, &Error{Op: "NewMemory", Err: ErrNoMemory}
	}
	m := &Memory{ram: disk.NewMemory(size)}
	return m, m.writeTable()
}

// OpenMemory reads the table of a saved memory and makes a copy of its bytes.
// Bytes that are not a machine's memory are [ErrBadMemory].
func OpenMemory(src disk.Source) (*Memory, error) {
	if src.Size() < MinMemory {
		return nil, &Error{Op: "OpenMemory", Err: ErrBadMemory}
	}
	m := &Memory{ram: disk.NewMemory(src.Size())}
	if err := disk.Copy(m.ram, src); err != nil {
		return nil, &Error{Op: "OpenMemory", Err: err}
	}
	return m, m.readTable()
}

// Size returns the RAM's size in bytes.
func (m *Memory) Size() int64 { return m.ram.Size() }

// Regions lists the programs' regions in the order they were made.
func (m *Memory) Regions() []Region { return append([]Region(nil), m.regions...) }

// Region returns a program's bytes.
func (m *Memory) Region(name string) (disk.Store, bool) {
	for _, r := range m.regions {
		if r.Name == name {
			return disk.Section(m.ram, r.Off, r.Len), true
		}
	}
	return nil, false
}

// Freeze returns the bytes as they are now, for good.
func (m *Memory) Freeze() *disk.Memory { return m.ram.Freeze() }

// ensure makes a region unless there is one of the name, and returns how long
// its program has to rest.
func (m *Memory) ensure(name string, size int64) (rest time.Duration, err error) {
	for _, r := range m.regions {
		if r.Name == name {
			return r.Rest, nil
		}
	}
	return 0, m.allocate(name, size)
}

// allocate makes a region, or fails with [ErrNoMemory].
func (m *Memory) allocate(name string, size int64) error {
	off := int64(regionsOffset)
	if n := len(m.regions); n > 0 {
		off = alignUp(m.regions[n-1].End(), regionAlign)
	}
	if size <= 0 || len(m.regions) >= maxRegions || len(name) > regionName || size > m.Size()-off {
		return &Error{Op: "allocate", On: name, Err: ErrNoMemory}
	}
	m.regions = append(m.regions, Region{Name: name, Extent: disk.Extent{Off: off, Len: size}})
	return m.writeTable()
}

// setRest notes how long a program has to rest yet.
func (m *Memory) setRest(name string, rest time.Duration) {
	for i := range m.regions {
		if m.regions[i].Name == name {
			m.regions[i].Rest = rest
		}
	}
}

func (m *Memory) writeTable() error {
	t := make(block, tableHead+len(m.regions)*regionEntry)
	t.putText(0, memoryMagic)
	t.put32(tableCount, uint32(len(m.regions)))
	for i, r := range m.regions {
		e := t[tableHead+i*regionEntry:]
		e.putText(0, r.Name)
		e.put64(regionName, uint64(r.Off))
		e.put64(regionName+8, uint64(r.Len))
		e.put64(regionName+16, uint64(r.Rest))
	}
	t.put32(tableSum, crc32.ChecksumIEEE(t[tableCount:]))
	_, err := m.ram.WriteAt(t, 0)
	return err
}

func (m *Memory) readTable() error {
	bad := &Error{Op: "OpenMemory", Err: ErrBadMemory}
	t := make(block, tableHead)
	if _, err := m.ram.ReadAt(t, 0); err != nil {
		return &Error{Op: "OpenMemory", Err: err}
	}
	n := int64(t.u32(tableCount))
	if !t.is(0, memoryMagic) || n > maxRegions {
		return bad
	}
	t = make(block, tableHead+n*regionEntry)
	if _, err := m.ram.ReadAt(t, 0); err != nil {
		return &Error{Op: "OpenMemory", Err: err}
	}
	if t.u32(tableSum) != crc32.ChecksumIEEE(t[tableCount:]) {
		return bad
	}
	for i := range n {
		r, ok := m.readRegion(t[tableHead+i*regionEntry:])
		if !ok {
			return bad
		}
		m.regions = append(m.regions, r)
	}
	return nil
}

// readRegion reads an entry, which must lie behind those before it.
func (m *Memory) readRegion(e block) (Region, bool) {
	name, _, _ := bytes.Cut(e[:regionName], []byte{0})
	r := Region{Name: string(name), Rest: time.Duration(e.u64(regionName + 16))}
	r.Off, r.Len = int64(e.u64(regionName)), int64(e.u64(regionName+8))
	end := int64(regionsOffset)
	if k := len(m.regions); k > 0 {
		end = m.regions[k-1].End()
	}
	sound := r.Name != "" && r.Rest >= 0 && r.Off >= end && r.Len > 0 && r.Off <= m.Size() && r.Len <= m.Size()-r.Off
	return r, sound
}
