package volume

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
)

// A Host is what a machine sees of its volumes: one tree with a directory for
// each drive letter, "C/Windows", "D/VMs/sql01". Symbolic links lead from one
// volume to another, mounted folders to volumes that may have no letter at all
// ([Host.MountFolder]). It implements what [FS] implements, with the same errors;
// writing to a drive that is not a [Files] is [ErrWriteProtect].
//
// A host of shadow copies shows all of them as one machine, and its links lead
// from shadow copy to shadow copy.
//
// Its methods may be called at the same time, Mount and Unmount too.
type Host struct {
	mu      sync.RWMutex
	drives  [26]fs.FS
	folders []folder
}

var (
	_ Files         = (*Host)(nil)
	_ fs.ReadDirFS  = (*Host)(nil)
	_ fs.ReadFileFS = (*Host)(nil)
	_ fs.StatFS     = (*Host)(nil)
	_ fs.ReadLinkFS = (*Host)(nil)
)

// NewHost puts drives together. Letters are given as "C", "c" or "C:"; a drive
// is the [FS] of a volume, a shadow copy from [Volume.OpenShadow], or any other
// file system, whose own rules for names and links then hold. What is no letter,
// or the same one again, is [ErrInvalidName].
func NewHost(drives map[string]fs.FS) (*Host, error) {
	h := new(Host)
	for name, fsys := range drives { // the result is the same in any order
		if err := h.Mount(name, fsys); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Mount adds a drive, by the rules of [NewHost].
func (h *Host) Mount(name string, fsys fs.FS) error {
	letter := strings.TrimSuffix(name, ":")
	if len(letter) != 1 || !isLetter(letter[0]) || fsys == nil {
		return failName("host", name, ErrInvalidName)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.drives[index(letter)] != nil {
		return failName("host", name, ErrInvalidName)
	}
	h.drives[index(letter)] = fsys
	return nil
}

// Unmount takes a drive away; whoever asks for something on it finds nothing.
// Files that are open stay so. Without the drive it does nothing.
func (h *Host) Unmount(name string) {
	if letter := strings.TrimSuffix(name, ":"); len(letter) == 1 && isLetter(letter[0]) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drives[index(letter)] = nil
	}
}

// at is the drive at a place in the alphabet, or nil.
func (h *Host) at(i int) fs.FS {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.drives[i]
}

// index is the place of a letter in the alphabet.
func index(letter string) int { return int(letter[0]|0x20) - 'a' }

// follow runs a call on the drive that a name leads to, and again where a link
// leads on. It returns the name at which the call was done.
func (h *Host) follow(op, name string, call func(fsys fs.FS, rest string) error) (at string, err error) {
	at = name
	for range maxLinks + 1 {
		fsys, rest, err := h.drive(at)
		if err == nil {
			err = call(fsys, rest)
		}
		next, onward := errors.AsType[*Elsewhere](err)
		if !onward {
			return at, failName(op, name, err)
		}
		if at, err = nameBehind(next.Path); err != nil {
			return at, failName(op, name, next)
		}
	}
	return at, failName(op, name, ErrCantResolveName)
}

// drive takes a name apart into its drive and the name there.
func (h *Host) drive(name string) (fsys fs.FS, rest string, err error) {
	if !fs.ValidPath(name) {
		return nil, "", fs.ErrInvalid
	}
	letter, rest, below := strings.Cut(name, "/")
	if name == "." {
		return nil, "", ErrAccessDenied // nothing but the drives stands there
	}
	if len(letter) == 1 && isLetter(letter[0]) {
		if fsys := h.at(index(letter)); fsys != nil {
			if !below {
				rest = "."
			}
			return fsys, rest, nil
		}
	}
	if f := h.folder(letter); f != nil {
		if !below {
			rest = "."
		}
		return f.fsys, rest, nil
	}
	if below {
		return nil, "", ErrPathNotFound
	}
	return nil, "", ErrFileNotFound
}

// Open opens a file for reading as it stands, or a directory.
func (h *Host) Open(name string) (file fs.File, err error) {
	if name == "." {
		return &dir{info: rootInfo(), name: ".", list: h.list(), listed: true}, nil
	}
	_, err = h.follow("open", name, func(fsys fs.FS, rest string) (err error) {
		file, err = fsys.Open(rest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return label(file, name), nil
}

// Stat describes a file, a directory, or what a link leads to.
func (h *Host) Stat(name string) (fs.FileInfo, error) { return h.stat("stat", name, fs.Stat) }

// Lstat describes a file, a directory, or a link itself.
func (h *Host) Lstat(name string) (fs.FileInfo, error) { return h.stat("lstat", name, fs.Lstat) }

func (h *Host) stat(op, name string, ask func(fs.FS, string) (fs.FileInfo, error)) (info fs.FileInfo, err error) {
	if name == "." {
		return rootInfo(), nil
	}
	_, err = h.follow(op, name, func(fsys fs.FS, rest string) (err error) {
		info, err = ask(fsys, rest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return labelInfo(info, name), nil
}

// ReadDir lists a directory, sorted by name.
func (h *Host) ReadDir(name string) (list []fs.DirEntry, err error) {
	if name == "." {
		return h.list(), nil
	}
	_, err = h.follow("readdir", name, func(fsys fs.FS, rest string) (err error) {
		list, err = fs.ReadDir(fsys, rest)
		return err
	})
	return list, err
}

// ReadNamed lists the entries of a directory that have a name, as [FS.ReadNamed]
// does. Another file system that has no such method is errors.ErrUnsupported; so
// are the drives.
func (h *Host) ReadNamed(dir, name string) (list []fs.DirEntry, err error) {
	if dir == "." {
		return nil, failName("readdir", dir, errors.ErrUnsupported)
	}
	_, err = h.follow("readdir", dir, func(fsys fs.FS, rest string) (err error) {
		named, ok := fsys.(interface {
			ReadNamed(dir, name string) ([]fs.DirEntry, error)
		})
		if !ok {
			return errors.ErrUnsupported
		}
		list, err = named.ReadNamed(rest, name)
		return err
	})
	return list, err
}

// list describes the drives. One that cannot be read is left out, as a drive
// without a medium.
func (h *Host) list() []fs.DirEntry {
	var list []fs.DirEntry
	for i := range h.drives {
		if h.at(i) == nil {
			continue
		}
		if info, err := h.Stat(string(rune('A' + i))); err == nil {
			list = append(list, fs.FileInfoToDirEntry(info))
		}
	}
	return list
}

// ReadFile returns the bytes of a file.
func (h *Host) ReadFile(name string) (data []byte, err error) {
	_, err = h.follow("readfile", name, func(fsys fs.FS, rest string) (err error) {
		data, err = fs.ReadFile(fsys, rest)
		return err
	})
	return data, err
}

// AppendFile is ReadFile into the memory behind b, if there is enough.
func (h *Host) AppendFile(b []byte, name string) ([]byte, error) {
	_, err := h.follow("readfile", name, func(fsys fs.FS, rest string) (err error) {
		if f, ok := fsys.(*FS); ok {
			b, err = f.appendFile(b, rest)
			return err
		}
		data, err := fs.ReadFile(fsys, rest)
		b = append(b, data...)
		return err
	})
	return b, err
}

// ReadLink returns the target of a link, see [FS.ReadLink].
func (h *Host) ReadLink(name string) (target string, err error) {
	_, err = h.follow("readlink", name, func(fsys fs.FS, rest string) (err error) {
		target, err = fs.ReadLink(fsys, rest)
		return err
	})
	return target, err
}

// Resolve follows the links on the way to a Windows path, and one at its end, and
// returns the path of the place itself with the letters it has there. Only the
// last element may be missing. Drives that are not volumes are as they say.
func (h *Host) Resolve(winPath string) (resolved string, err error) {
	name, err := Name(winPath)
	if err != nil {
		return "", fail("Resolve", winPath, bare(err))
	}
	at, err := h.follow("resolve", name, func(fsys fs.FS, rest string) error {
		resolved = `\` + strings.ReplaceAll(strings.TrimPrefix(rest, "."), "/", `\`)
		if f, ok := fsys.(*FS); ok {
			resolved, err = f.v.Resolve(resolved)
			return err
		}
		return nil
	})
	if err != nil {
		return "", fail("Resolve", winPath, bare(err))
	}
	root, _, _ := strings.Cut(at, "/")
	if f := h.folder(root); f != nil {
		return Join(f.path, strings.TrimPrefix(resolved, `\`)), nil
	}
	return strings.ToUpper(root) + ":" + resolved, nil
}
