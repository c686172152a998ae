package volume

import (
	"sync"
	"time"
)

const (
	rootID inodeID = 1

	cluster  = 4096    // the unit in which NTFS gives out room
	maxBytes = 1 << 48 // what NTFS holds at most, as a file and as a volume
	maxLinks = 63      // symbolic links on one path
)

// A Config says what a new volume is. Its zero value is an NTFS volume without a
// label that holds 256 TiB.
type Config struct {
	ID         [16]byte // the GUID in `\\?\Volume{GUID}\`
	Label      string
	FileSystem string // as it is reported; "" is "NTFS"
	Capacity   int64  // bytes; 0 is as much as NTFS holds

	// Now tells the time for new and written files. It is called while the
	// volume is locked and must not use it. Without it, it is always midnight
	// of the first of January 2008, UTC.
	Now func() time.Time
}

// A Volume is a Windows volume of files. See the package comment for what may be
// done at the same time.
type Volume struct {
	*family
	id         [16]byte
	label      string
	fileSystem string
	clock      func() time.Time
	origin     *Volume // of a shadow copy: the volume it was taken of

	// All below is guarded by family.mu.
	capacity int64
	epoch    epoch
	files    table
	trail    trail
	used     int64
	quotas   int                 // directories that have one
	writers  map[inodeID]writers // of files that are open for writing
	shadows  []*Volume           // in order of creation
	sealed   bool                // a shadow copy that nobody writes any more
	deleted  bool                // a shadow copy that is gone
}

// A family is a volume and its shadow copies: they share bytes and numbers, and
// therefore one lock.
type family struct {
	mu    sync.Mutex
	epoch epoch    // given out most recently
	inode inodeID  // the same
	elems []string // room for the path of the present call

	security *string // set most recently: files that stand together have the same
}

// A writers says who has a file open for writing.
type writers struct {
	count  int
	shared bool
}

// New returns an empty volume.
func New(c Config) *Volume {
	v := &Volume{
		family: &family{epoch: 1, inode: rootID}, epoch: 1,
		id: c.ID, label: c.Label, fileSystem: c.FileSystem, capacity: c.Capacity, clock: c.Now,
	}
	if v.fileSystem == "" {
		v.fileSystem = "NTFS"
	}
	if v.capacity <= 0 {
		v.capacity = maxBytes
	}
	if v.clock == nil {
		v.clock = func() time.Time { return time.Date(2008, time.January, 1, 0, 0, 0, 0, time.UTC) }
	}
	now := v.now()
	v.files.put(v.epoch, rootID, &inode{
		epoch: v.epoch, kind: isDir, parent: rootID, name: `\`, created: now, modified: now,
	})
	return v
}

func (v *Volume) now() ticks { return ticksOf(v.clock()) }

// newEpoch gives out an epoch that nobody had.
func (f *family) newEpoch() epoch {
	f.epoch++
	return f.epoch
}

// newInode gives out a number that no file had.
func (f *family) newInode() inodeID {
	f.inode++
	return f.inode
}

// ID is the volume's GUID; of a shadow copy, the shadow copy's.
func (v *Volume) ID() [16]byte { return v.id }

// Label is the label the volume was made with.
func (v *Volume) Label() string { return v.label }

// FileSystem is the name of the file system: "NTFS". It is a name only; the
// volume follows the rules of NTFS whatever it says.
func (v *Volume) FileSystem() string { return v.fileSystem }

// Capacity is the number of bytes that fit on the volume.
func (v *Volume) Capacity() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.capacity
}

// SetCapacity changes how much fits on the volume. Less than what is used is
// allowed: nothing is lost, and whatever needs more room fails with
// [ErrDiskFull].
func (v *Volume) SetCapacity(bytes int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.capacity = max(bytes, 0)
}

// Free is the room left, in bytes. Files take whole clusters of 4 KiB where they
// are allocated; directories, names and the bytes that only shadow copies hold
// take none, so a real volume is full somewhat earlier.
func (v *Volume) Free() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return max(v.capacity-v.used, 0)
}

// room refuses to take more bytes than are free, on the volume and below the
// directories above the new bytes that have a quota.
func (v *Volume) room(dir inodeID, bytes int64) error {
	if bytes > 0 && bytes > min(v.capacity-v.used, v.allowance(dir)) {
		return ErrDiskFull
	}
	return nil
}

// charge books room that a file has taken, or given back when bytes is negative.
// A stream gives back no more than it has taken: what it was made with is free.
func (v *Volume) charge(n *inode, bytes int64) {
	bytes = max(bytes, -n.allocated)
	n.allocated += bytes
	v.used += bytes
	v.bill(n.parent, bytes)
}

// usable refuses a shadow copy that is deleted, and to write a sealed one.
func (v *Volume) usable(write bool) error {
	if v.deleted {
		return ErrNoSuchDevice
	}
	if write && v.sealed {
		return ErrWriteProtect
	}
	return nil
}

// busy refuses to take a file away from under those who write it.
func (v *Volume) busy(id inodeID) error {
	if v.writers[id].count > 0 {
		return ErrSharingViolation
	}
	return nil
}

// busyBelow tells whether a file below a directory is open for writing.
func (v *Volume) busyBelow(dir inodeID) bool {
	for id := range v.writers { // the answer is the same in any order
		if v.within(id, dir) {
			return true
		}
	}
	return false
}

// do runs a call on a Windows path under the lock.
func (v *Volume) do(op, path string, write bool, call func(elems []string) error) error {
	return fail(op, path, v.parsed(parseLocal, path, write, call))
}

// parsed runs a call on the elements of a path under the lock. They are the
// family's for the time of the call: nobody keeps them.
func (v *Volume) parsed(parse func(buf []string, path string) ([]string, error), path string, write bool, call func(elems []string) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	elems, err := parse(v.elems, path)
	if err != nil {
		return err
	}
	if cap(elems) > cap(v.elems) {
		v.elems = elems
	}
	if err := v.usable(write); err != nil {
		return err
	}
	return call(elems)
}

// locked runs a call under the lock.
func (v *Volume) locked(write bool, call func() error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.usable(write); err != nil {
		return err
	}
	return call()
}
