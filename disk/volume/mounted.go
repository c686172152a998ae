package volume

import (
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A folder is a mounted folder of a host.
type folder struct {
	path string // whole: `C:\ClusterStorage\Volume1`
	name string // of the volume: "Volume{GUID}"
	fsys *FS
}

// MountFolder shows a volume in a folder of a drive, which is a volume too: a
// mounted folder ("Assign a mount point folder path to a drive"). At the path,
// which must have nothing but such a folder, stands a link to the volume's GUID
// path from then on, `\\?\Volume{GUID}\`; folders above it are made.
func (h *Host) MountFolder(path string, fsys *FS) error {
	letter, rest, err := Split(path)
	if err != nil || letter == "" || rest == `\` {
		return fail("MountFolder", path, ErrInvalidName)
	}
	drive, ok := h.at(index(letter)).(*FS)
	name := "Volume" + guid.Braced(fsys.v.id)
	switch {
	case !ok:
		return fail("MountFolder", path, ErrPathNotFound)
	case h.folder(name) != nil:
		return fail("MountFolder", path, ErrAlreadyExists)
	}
	if err := drive.v.mountPoint(rest, `\\?\`+name+`\`); err != nil {
		return fail("MountFolder", path, bare(err))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.folders = append(h.folders, folder{letter + ":" + rest, name, fsys})
	return nil
}

// mountPoint makes the link of a mounted folder, in place of an earlier one.
func (v *Volume) mountPoint(path, target string) error {
	if err := v.MkdirAll(Dir(path)); err != nil {
		return err
	}
	if was, err := v.Readlink(path); err == nil && isVolumePath(was) {
		if err := v.Remove(path); err != nil {
			return err
		}
	}
	return v.SymlinkDir(target, path)
}

// UnmountFolder takes a volume away that [Host.MountFolder] has shown. The link
// stays and leads nowhere. Without such a folder it does nothing.
func (h *Host) UnmountFolder(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, f := range h.folders {
		if Equal(f.path, path) {
			h.folders = append(h.folders[:i:i], h.folders[i+1:]...)
			return
		}
	}
}

// folder finds a mounted folder by the name of its volume.
func (h *Host) folder(name string) *folder {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for i, f := range h.folders {
		if compareFold(f.name, name) == 0 {
			return &h.folders[i]
		}
	}
	return nil
}

const volumePrefix = `\\?\Volume{`

func isVolumePath(path string) bool { return strings.HasPrefix(path, volumePrefix) }

// nameBehind is [Name] for what a link leads to: a path by volume GUID may be a
// mounted folder's, `\\?\Volume{GUID}\VMs` is "Volume{GUID}/VMs".
func nameBehind(path string) (string, error) {
	if !isVolumePath(path) {
		return Name(path)
	}
	id, rest, ok := strings.Cut(path[len(volumePrefix):], "}")
	if !ok {
		return "", fail("Name", path, ErrInvalidName)
	}
	name, err := Name(`\` + rest[min(1, len(rest)):])
	if err != nil || name == "." {
		return "Volume{" + id + "}", err
	}
	return "Volume{" + id + "}/" + name, nil
}
