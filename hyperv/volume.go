package hyperv

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A hostVolume is a volume of the host as its Volume Shadow Copy Service sees
// it, with the gate that holds writes at the instant of a shadow copy.
type hostVolume struct {
	*volume.Volume
	letter string // "D", or "" of one that is in a folder
	folder string // `C:\ClusterStorage\Volume1`, or ""
	also   string // a folder in which one with a letter is seen as well, or ""
	gate   *holdGate
	shared *sharing // nil if it is the host's alone

	offline bool              // it was taken away
	kept    map[[16]byte]bool // the shadow copies that it comes back with
}

var _ vss.Volume = (*hostVolume)(nil)

// Name is the root path: `D:\`, or `C:\ClusterStorage\Volume1\`.
func (v *hostVolume) Name() string {
	if v.folder != "" {
		return v.folder + `\`
	}
	return v.letter + `:\`
}

// FlushAndHold makes every write wait until Release. Nothing is cached, so there
// is nothing to flush.
func (v *hostVolume) FlushAndHold(context.Context) error {
	v.gate.hold(v)
	return nil
}

// Release lets writes go on.
func (v *hostVolume) Release() { v.gate.release(v) }

// CreateShadow takes the shadow copy, in constant time.
func (v *hostVolume) CreateShadow(_ context.Context, id [16]byte) error {
	if err := v.shared.admit(); err != nil {
		return &Error{Op: "CreateShadow", On: v.Name(), Err: err}
	}
	if err := v.Volume.CreateShadow(id); err != nil {
		return err
	}
	v.shared.taken(id)
	return nil
}

// SealShadow makes a shadow copy read-only.
func (v *hostVolume) SealShadow(_ context.Context, id [16]byte) error {
	return v.Volume.SealShadow(id)
}

// DeleteShadow forgets a shadow copy.
func (v *hostVolume) DeleteShadow(_ context.Context, id [16]byte) error {
	return v.Volume.DeleteShadow(id)
}

// pass waits while writes are held. A virtual machine's disk calls it from
// whichever process writes.
func (v *hostVolume) pass(w *sim.World) error {
	if !v.gate.IsShut() {
		return nil
	}
	ctx := w.Current()
	if ctx == nil {
		return &Error{Op: "Write", On: v.Name(), Err: errHeld}
	}
	return v.gate.Pass(ctx)
}

var errHeld = errors.New("writes are held, and nobody runs who could wait")

// volumeOf finds the volume a path lies on and the path within.
func (h *Host) volumeOf(path string) (*hostVolume, string, error) {
	letter, rest, err := volume.Split(path)
	if err != nil {
		return nil, "", err
	}
	var on *hostVolume
	for _, v := range h.volumes {
		if folder := cmp.Or(v.folder, v.also); folder != "" {
			if within, ok := cutFolder(letter+":"+rest, folder); ok {
				on, rest = v, within
				break
			}
		}
		if v.folder == "" && v.letter == letter {
			on = v
		}
	}
	if on != nil && on.offline {
		return nil, "", &fs.PathError{Op: "open", Path: path, Err: volume.ErrNotReady}
	}
	if on != nil {
		return on, rest, nil
	}
	return nil, "", &fs.PathError{Op: "open", Path: path, Err: volume.ErrPathNotFound}
}

// cutFolder takes the folder off a clean path that lies in it.
func cutFolder(path, folder string) (rest string, ok bool) {
	if len(path) < len(folder) || !strings.EqualFold(path[:len(folder)], folder) {
		return "", false
	}
	switch rest = path[len(folder):]; {
	case rest == "":
		return `\`, true
	case rest[0] == '\\':
		return rest, true
	}
	return "", false
}

// folders lists the folders in which volumes are mounted.
func (h *Host) folders() []string {
	var out []string
	for _, v := range h.volumes {
		if v.folder != "" {
			out = append(out, v.folder)
		}
	}
	return out
}

// Volume returns the volume with the drive letter ("D" or "D:"), or nil.
func (h *Host) Volume(letter string) *volume.Volume {
	if v, _, err := h.volumeOf(letter[:min(1, len(letter))] + `:\`); err == nil {
		return v.Volume
	}
	return nil
}
