package virtdisk

import "github.com/shadowsim/shadowsim/disk"

// A Joiner passes ascending extents on and makes one of those that touch.
type Joiner struct {
	Yield func(disk.Extent) bool
	Done  bool // Yield wants no more
	last  disk.Extent
}

// Add takes one extent, and reports whether more is wanted.
func (j *Joiner) Add(e disk.Extent) bool {
	if j.last.Len > 0 && e.Off == j.last.End() {
		j.last.Len += e.Len
		return true
	}
	j.Flush()
	j.last = e
	return !j.Done
}

// Flush passes on what Add has kept back.
func (j *Joiner) Flush() {
	if j.last.Len > 0 && !j.Done {
		j.Done = !j.Yield(j.last)
	}
	j.last = disk.Extent{}
}
