package hyperv

import (
	"errors"
	"slices"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// mountFolders shows volumes in the folders that they are to be seen in as well, and
// knows the default location by its own path.
func (h *Host) mountFolders(volumes []VolumeConfig) error {
	for i, c := range volumes {
		if c.Folder == "" {
			continue
		}
		folder, err := volume.Clean(c.Folder)
		if slices.ContainsFunc(h.volumes[:i], func(v *hostVolume) bool { return v.also != "" && volume.Equal(v.also, folder) }) {
			err = volume.ErrAlreadyExists
		}
		if err == nil {
			err = h.files.MountFolder(folder, h.volumes[i].FS())
		}
		if err != nil {
			return &Error{Op: "NewHost", On: c.Folder, Err: errors.Join(ErrParameter, err)}
		}
		h.volumes[i].also = folder
	}
	h.root = h.ownPath(h.root)
	h.folder = filesBelow(h.root, [16]byte{}).folder
	return nil
}

// ownPath is a path under the name that its volume has: one that leads through a
// further folder of a volume begins with the volume's letter instead. Any other is
// as it is; volumes have no short names ("PROGRA~1") that it could go by.
func (h *Host) ownPath(path string) string {
	for _, v := range h.volumes {
		if v.also == "" {
			continue
		}
		clean, err := volume.Clean(path)
		if err != nil {
			return path
		}
		if rest, ok := cutFolder(clean, v.also); ok {
			return v.letter + ":" + rest
		}
	}
	return path
}

// ownPaths is ownPath for several.
func (h *Host) ownPaths(paths []string) []string {
	if !slices.ContainsFunc(h.volumes, func(v *hostVolume) bool { return v.also != "" }) {
		return paths
	}
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = h.ownPath(p)
	}
	return out
}

// placeOf is where a file really is: links and further names of volumes resolve. A
// path that leads nowhere stays as it is.
func (h *Host) placeOf(path string) string {
	if real, err := h.resolve(path); err == nil {
		return real
	}
	return path
}
