package volume

import (
	"errors"
	"strings"

	"github.com/shadowsim/shadowsim/disk"
)

// Mkdir makes a directory. Its parent must exist; what exists is
// [ErrAlreadyExists].
func (v *Volume) Mkdir(path string) error { return v.do("Mkdir", path, true, v.mkdir) }

// MkdirAll makes a directory and those above it that are missing. A directory
// that exists is fine.
func (v *Volume) MkdirAll(path string) error {
	return v.do("MkdirAll", path, true, func(elems []string) error {
		if p, err := v.find(elems, true); err == nil && v.files.get(p.id).kind == isDir {
			return nil
		}
		for i := range elems {
			if err := v.mkdir(elems[:i+1]); err != nil && !errors.Is(err, ErrAlreadyExists) {
				return err
			}
		}
		p, err := v.find(elems, true)
		if err == nil && v.files.get(p.id).kind != isDir {
			err = ErrAlreadyExists
		}
		return err
	})
}

func (v *Volume) mkdir(elems []string) error {
	p, err := v.walk(elems, false)
	if err != nil {
		return err
	}
	if p.id != 0 {
		return ErrAlreadyExists
	}
	v.add(&p, isDir)
	return nil
}

// Symlink makes a symbolic link. A target with a drive letter stays as it is and
// leads out of the volume, see [Elsewhere]; one that begins with a slash is a
// path from the volume's root; any other is relative to the link's directory.
// When the target is a directory of this volume the link is one to a directory,
// else one to a file, which is what its attributes say; following it works
// either way, where Windows would refuse a link of the wrong kind.
func (v *Volume) Symlink(target, link string) error {
	return v.do("Symlink", link, true, func(elems []string) error {
		return v.symlink(target, elems, v.leadsToDir(target, elems))
	})
}

// SymlinkDir makes a symbolic link to a directory, whether or not the target
// exists.
func (v *Volume) SymlinkDir(target, link string) error {
	return v.do("SymlinkDir", link, true, func(elems []string) error {
		return v.symlink(target, elems, true)
	})
}

func (v *Volume) symlink(target string, link []string, dir bool) error {
	target, err := cleanTarget(target)
	if err != nil {
		return err
	}
	p, err := v.walk(link, false)
	if err != nil {
		return err
	}
	if p.id != 0 {
		return ErrAlreadyExists
	}
	n := v.add(&p, isLink)
	n.target, n.linkDir = target, dir
	return nil
}

// cleanTarget gives a link's target the form it is kept in: backslashes, and
// names that Windows allows. Network and GUID paths are kept as they are; they
// lead elsewhere.
func cleanTarget(target string) (string, error) {
	if target == "" || checkLength(target) != nil || strings.ContainsRune(target, 0) {
		return "", ErrInvalidName
	}
	target = strings.ReplaceAll(target, "/", `\`)
	drive, _ := cutDrive(target)
	if drive == "" && (strings.HasPrefix(target, `\\`) || strings.HasPrefix(target, `\??\`)) {
		return target, nil
	}
	_, _, err := parse(nil, target)
	return target, err
}

// leadsToDir tells whether a link of this target at this place would lead to a
// directory of the volume.
func (v *Volume) leadsToDir(target string, link []string) bool {
	target, err := cleanTarget(target)
	if err != nil || len(link) == 0 {
		return false
	}
	elems, err := redirect(target, link[:len(link)-1], nil)
	if err != nil {
		return false
	}
	p, err := v.find(elems, true)
	return err == nil && v.files.get(p.id).kind == isDir
}

// Readlink returns the target of a symbolic link.
func (v *Volume) Readlink(path string) (target string, err error) {
	err = v.do("Readlink", path, false, func(elems []string) error {
		target, err = v.readlink(elems)
		return err
	})
	return target, err
}

func (v *Volume) readlink(elems []string) (string, error) {
	p, err := v.find(elems, false)
	if err != nil {
		return "", err
	}
	n := v.files.get(p.id)
	if n.kind != isLink {
		return "", ErrNotReparsePoint
	}
	return n.target, nil
}

// Remove removes a file, a link or an empty directory. A file that is open for
// writing is [ErrSharingViolation], a read-only one [ErrAccessDenied], a
// directory with entries [ErrDirNotEmpty].
func (v *Volume) Remove(path string) error { return v.do("Remove", path, true, v.remove) }

func (v *Volume) remove(elems []string) error {
	p, err := v.find(elems, false)
	if err != nil {
		return err
	}
	if p.id != rootID && v.files.get(p.id).dir.len > 0 {
		return ErrDirNotEmpty
	}
	return v.unlink(p)
}

// RemoveAll removes a path and all below it. When something there is read-only
// or open for writing it fails and removes nothing; a path that does not exist
// is fine.
func (v *Volume) RemoveAll(path string) error {
	return v.do("RemoveAll", path, true, func(elems []string) error {
		p, err := v.walk(elems, false)
		if err != nil || p.id == 0 {
			if err == ErrPathNotFound {
				return nil
			}
			return err
		}
		return v.unlink(p)
	})
}

// unlink removes what is at a place, with all below it.
func (v *Volume) unlink(p place) error {
	if p.id == rootID {
		return ErrAccessDenied
	}
	if err := v.removable(p.id); err != nil {
		return err
	}
	v.drop(p.id)
	v.leave(p.dir, p.name)
	return nil
}

// removable tells why an inode or one below it may not be removed.
func (v *Volume) removable(id inodeID) (err error) {
	n := v.files.get(id)
	if n.attrs&ReadOnly != 0 {
		return ErrAccessDenied
	}
	n.dir.all(func(x entry) bool {
		err = v.removable(x.id)
		return err == nil
	})
	if err == nil {
		err = v.busy(id)
	}
	return err
}

// Rename gives a file, a link or a directory another name or place on the
// volume. A file or link that has the new name is replaced; a directory is not,
// it is [ErrAlreadyExists]. What does not fit below a quota of the new place is
// [ErrDiskFull]. Files that are open for writing keep their names,
// [ErrSharingViolation], and so do the directories above them, [ErrAccessDenied].
func (v *Volume) Rename(old, new string) error {
	return v.do("Rename", old, true, func(from []string) error {
		to, err := parseLocal(nil, new)
		if err != nil {
			return err
		}
		return v.rename(from, to)
	})
}

func (v *Volume) rename(old, new []string) error {
	from, err := v.find(old, false)
	if err != nil {
		return err
	}
	to, err := v.walk(new, false)
	if err != nil {
		return err
	}
	if err := v.movable(from, to); err != nil {
		return err
	}
	replaces := to.id != 0 && to.id != from.id
	if replaces {
		if err := v.replaceable(from, to); err != nil {
			return err
		}
	}
	rebill, err := v.moveQuota(from, to)
	if err != nil {
		return err
	}
	if replaces {
		v.drop(to.id) // its name goes when the new one is entered
	}
	rebill()
	to.name = new[len(new)-1]
	v.forget(from.id)
	v.leave(from.dir, from.name)
	v.enter(to.dir, entry{to.name, from.id})
	n := v.own(from.id)
	n.parent, n.name = to.dir, to.name
	return nil
}

// movable tells why an inode cannot leave its place for another.
func (v *Volume) movable(from, to place) error {
	switch {
	case from.id == rootID || to.id == rootID:
		return ErrAccessDenied
	case v.busy(from.id) != nil:
		return ErrSharingViolation
	case v.files.get(from.id).kind == isDir && v.busyBelow(from.id):
		return ErrAccessDenied
	case v.within(to.dir, from.id):
		return ErrInvalidParameter
	}
	return nil
}

// replaceable tells why a rename cannot replace what has the new name.
func (v *Volume) replaceable(from, to place) error {
	if v.files.get(from.id).kind == isDir || v.files.get(to.id).kind == isDir {
		return ErrAlreadyExists
	}
	return v.removable(to.id)
}

// Adopt makes a file of bytes that exist already, in place of the file that has
// the name, and copies none: the pages are shared until one side writes them.
// The caller keeps m. Every file of a volume can be passed on like this, see
// [File.Bytes].
func (v *Volume) Adopt(path string, m *disk.Memory) error {
	return v.do("Adopt", path, true, func(elems []string) error { return v.adopt(elems, m.Fork()) })
}
