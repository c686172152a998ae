package vhd

// Geometry is the cylinders, heads and sectors a footer shows to programs that
// still address a disk so. It rounds down: the disk is often larger, and zeros
// occur in images of other tools, so nothing may divide by it.
type Geometry struct {
	Cylinders       uint16
	Heads           uint8
	SectorsPerTrack uint8
}

// Sectors returns how many sectors the geometry reaches.
func (g Geometry) Sectors() int64 {
	return int64(g.Cylinders) * int64(g.Heads) * int64(g.SectorsPerTrack)
}

// GeometryOf returns the geometry that the Virtual Hard Disk Image Format
// Specification computes for a disk of size bytes.
func GeometryOf(size int64) Geometry {
	const most = 65535 * 16 * 255
	total := min(size/SectorSize, most)
	var tracks, heads, sectors int64
	switch {
	case total >= 65535*16*63:
		sectors, heads = 255, 16
		tracks = total / sectors
	default:
		sectors = 17
		tracks = total / sectors
		heads = max((tracks+1023)/1024, 4)
		if tracks >= heads*1024 || heads > 16 {
			sectors, heads = 31, 16
			tracks = total / sectors
		}
		if tracks >= heads*1024 {
			sectors, heads = 63, 16
			tracks = total / sectors
		}
	}
	return Geometry{uint16(tracks / heads), uint8(heads), uint8(sectors)}
}
