package hyperv

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// A vhdDisk is a VHD file of the host attached to a machine: the machine's reads
// and writes go to the bytes of the file. Snapshots that the guest takes are
// kept beside the bytes, in named streams of the file, so that a shadow copy of
// the volume has them and a copy of the file's bytes has not.
type vhdDisk struct {
	host *Host
	vol  *hostVolume
	vm   *VM    // whose it is
	path string // whole: `D:\VMs\data.vhd`
	rest string // within the volume
	*chain

	below []*hostVolume // where the disks are that it stands on
}

var _ guest.Disk = (*vhdDisk)(nil)

// attach opens a VHD file for a machine alone, and what it stands on for reading.
func (h *Host) attach(path string, vm *VM) (*vhdDisk, error) {
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return nil, err
	}
	c, err := openChain(h.live, path)
	if err != nil {
		return nil, h.noteChain(err)
	}
	d := &vhdDisk{host: h, vol: v, vm: vm, path: path, rest: rest, chain: c}
	for _, parent := range c.paths {
		if on, _, err := h.volumeOf(parent); err == nil && on != v {
			d.below = append(d.below, on)
		}
	}
	v.shared.opened(d)
	return d, nil
}

func (d *vhdDisk) detach() {
	d.close()
	d.vol.shared.closed(d)
}

// ID is the identity of the disk, from the footer of its file.
func (d *vhdDisk) ID() [16]byte { return d.Image.ID() }

// WriteAt waits while the host's volume holds writes, and while the machine is stopped
// because its storage failed.
func (d *vhdDisk) WriteAt(p []byte, off int64) (int, error) {
	return d.access(func() (int, error) {
		if err := d.vol.pass(d.host.world); err != nil {
			return 0, err
		}
		return d.Image.WriteAt(p, off)
	})
}

// ReadAt waits while the machine is stopped because its storage failed.
func (d *vhdDisk) ReadAt(p []byte, off int64) (int, error) {
	return d.access(func() (int, error) { return d.Image.ReadAt(p, off) })
}

func (d *vhdDisk) access(do func() (int, error)) (n int, err error) {
	for {
		if err = d.reach(); err == nil {
			n, err = do()
		}
		if err == nil || d.vm == nil || !d.vm.awaitStorage(d.path, err) {
			return n, err
		}
	}
}

func (d *vhdDisk) reach() error {
	if d.vol.offline || slices.ContainsFunc(d.below, func(v *hostVolume) bool { return v.offline }) {
		return &Error{Op: "Access", On: d.path, Err: volume.ErrNotReady}
	}
	return nil
}

// Unwrap is the image.
func (d *vhdDisk) Unwrap() disk.Store { return d.Image }

const keptPrefix = "shadowcopy."

func keptStream(id [16]byte) string { return keptPrefix + guid.String(id) }

// Keep takes a snapshot of the disk as it is now, in constant time.
func (d *vhdDisk) Keep(id [16]byte) error {
	if slices.Contains(d.KeptIDs(), id) {
		return &Error{Op: "Keep", On: d.path, Err: guest.ErrShadowExists}
	}
	return d.vol.AdoptStream(d.rest, keptStream(id), d.file.Bytes())
}

// Kept opens a snapshot.
func (d *vhdDisk) Kept(id [16]byte) (disk.Store, error) {
	return openKept(d.vol.Volume, d.rest, id, d.Parent())
}

// Seal makes a snapshot read-only.
func (d *vhdDisk) Seal(id [16]byte) error {
	return keptError("Seal", d.path, d.vol.SealStream(d.rest, keptStream(id)))
}

// Drop removes a snapshot.
func (d *vhdDisk) Drop(id [16]byte) error { return dropKept(d.vol.Volume, d.rest, id) }

// KeptIDs lists the snapshots in the order they were taken.
func (d *vhdDisk) KeptIDs() [][16]byte { return keptIDs(d.vol.Volume, d.rest) }

// openKept opens a snapshot that is kept in a VHD file, be it the live one or
// its copy on a shadow copy of the volume. Of a differencing one it stands on the
// same parent.
func openKept(v *volume.Volume, rest string, id [16]byte, parent *vhd.Image) (disk.Store, error) {
	f, err := v.OpenStream(rest, keptStream(id))
	if err != nil {
		return nil, keptError("Kept", rest, err)
	}
	image, err := vhd.OpenFile(f)
	if err != nil {
		return nil, keptError("Kept", rest, err)
	}
	if parent != nil {
		if err := image.SetParent(parent, vhd.CheckTime); err != nil {
			return nil, keptError("Kept", rest, err)
		}
	}
	return image, nil
}

func dropKept(v *volume.Volume, rest string, id [16]byte) error {
	return keptError("Drop", rest, v.RemoveStream(rest, keptStream(id)))
}

func keptIDs(v *volume.Volume, rest string) [][16]byte {
	names, err := v.Streams(rest)
	if err != nil {
		return nil
	}
	var ids [][16]byte
	for _, name := range names {
		text, ok := strings.CutPrefix(name, keptPrefix)
		if id, err := guid.Parse(text); ok && err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// keptError says in the vocabulary of package guest that a snapshot is missing.
func keptError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", guest.ErrNoShadow, err)
	}
	return &Error{Op: op, On: path, Err: err}
}
