package hyperv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A place finds files by their whole path: on the volumes of a host, or on shadow
// copies of them.
type place func(path string) (v *volume.Volume, rest string, err error)

// live finds files on the host's volumes.
func (h *Host) live(path string) (*volume.Volume, string, error) {
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return nil, "", err
	}
	return v.Volume, rest, nil
}

// A chain is a VHD file that is open, over the parents that it stands on if it is
// a differencing one. As long as it is open nobody else can write any of them;
// other children may stand on the same parents.
type chain struct {
	*vhd.Image
	file    *volume.File
	parents []*volume.File // the nearest first
	paths   []string       // of the parents
}

// openChain opens a VHD file for writing, alone, and its parents for reading.
func openChain(at place, path string) (*chain, error) {
	file, err := openAt(at, path, volume.Exclusive)
	if err != nil {
		return nil, err
	}
	image, err := vhd.OpenFile(file)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return (&chain{Image: image, file: file}).overParents(at, path)
}

// openParent opens a VHD file that others stand on, and its parents, for reading.
func openParent(at place, path string) (*chain, error) {
	file, image, err := openShared(at, path)
	if err != nil {
		return nil, err
	}
	return (&chain{Image: image, file: file}).overParents(at, path)
}

func (c *chain) overParents(at place, path string) (*chain, error) {
	if err := c.openParents(at, path); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func openAt(at place, path string, share volume.Share) (*volume.File, error) {
	v, rest, err := at(path)
	if err != nil {
		return nil, err
	}
	f, err := v.OpenFile(rest, volume.ReadWrite, share)
	if share != volume.Exclusive && errors.Is(err, volume.ErrAccessDenied) { // it is read-only: nobody can write it anyway
		return v.OpenFile(rest, volume.Read, share)
	}
	return f, err
}

// openShared opens an image for reading, so that nobody can open it alone.
func openShared(at place, path string) (*volume.File, *vhd.Image, error) {
	f, err := openAt(at, path, volume.ShareWrite)
	if err != nil {
		return nil, nil, err
	}
	image, err := vhd.Open(f, f.Size())
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, image, nil
}

// openParents opens what the images of a chain stand on, one after another.
func (c *chain) openParents(at place, path string) error {
	child := c.Image
	for {
		link, ok := child.Link()
		if !ok {
			return nil
		}
		if len(c.parents) >= vhd.MaxChain {
			return fmt.Errorf("%s: %w", path, vhd.ErrChainCycle)
		}
		parent, err := findParent(at, path, link)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		file, image, err := openShared(at, parent)
		if err != nil {
			return fmt.Errorf("%s: its parent: %w", path, err)
		}
		c.parents, c.paths = append(c.parents, file), append(c.paths, parent)
		if err := child.SetParent(image, vhd.CheckTime); err != nil {
			return &ChainError{Child: path, Parent: parent, Err: err}
		}
		path, child = parent, image
	}
}

// A ParentError says that the parent of a differencing VHD is nowhere it could be.
type ParentError struct {
	Looked []string // whole paths, in the order in which Windows looks there
}

// Error lists the places.
func (e *ParentError) Error() string {
	return "its parent is not there: " + strings.Join(e.Looked, ", ")
}

// Unwrap is what other packages say for that.
func (e *ParentError) Unwrap() []error { return []error{vhd.ErrParentNotFound, volume.ErrFileNotFound} }

// findParent tells where the parent of an image lies.
func findParent(at place, path string, link vhd.Link) (string, error) {
	return firstThere(at, parentPlaces(path, link))
}

// firstThere is the first of several paths where a file is.
func firstThere(at place, places []string) (string, error) {
	for _, p := range places {
		v, rest, err := at(p)
		if err != nil {
			continue
		}
		if info, err := v.Describe(rest); err == nil && !info.IsDir() {
			return p, nil
		}
	}
	return "", &ParentError{Looked: places}
}

// parentPlaces lists the whole paths under which to look for a parent.
func parentPlaces(path string, link vhd.Link) []string {
	var out []string
	for _, c := range link.Candidates() {
		if whole, ok := virtdisk.Join(volume.Dir(path), c); ok && !slices.ContainsFunc(out, func(p string) bool { return volume.Equal(p, whole) }) {
			out = append(out, whole)
		}
	}
	return out
}

func (c *chain) close() {
	_ = c.file.Close()
	for _, p := range c.parents {
		_ = p.Close()
	}
}

// OpenVHD opens a VHD file of the host for reading, with what it stands on, from
// their bytes as they are now; somebody may be writing them.
func (h *Host) OpenVHD(path string) (*vhd.Image, error) {
	var leaf, child *vhd.Image
	last := ""
	for range vhd.MaxChain {
		_, image, err := readImage(h.live, path)
		if err != nil {
			return nil, err
		}
		if child == nil {
			leaf = image
		} else if err := child.SetParent(image, vhd.CheckTime); err != nil {
			return nil, h.noteChain(&ChainError{Child: last, Parent: path, Err: err})
		}
		link, ok := image.Link()
		if !ok {
			return leaf, nil
		}
		parent, err := findParent(h.live, path, link)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		last, path, child = path, parent, image
	}
	return nil, fmt.Errorf("%s: %w", path, vhd.ErrChainCycle)
}

// readImage opens an image as it is now, whoever writes it.
func readImage(at place, path string) (*volume.File, *vhd.Image, error) {
	v, rest, err := at(path)
	if err != nil {
		return nil, nil, err
	}
	f, err := v.Open(rest)
	if err != nil {
		return nil, nil, err
	}
	image, err := vhd.Open(f, f.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, image, nil
}

// parentsOf lists the paths of what a VHD file stands on, the nearest first, as far
// as it can be told: of a parent that is missing, the place where it should be.
// A file that is no VHD has none.
func parentsOf(at place, path string) []string {
	var out []string
	for range vhd.MaxChain {
		link, ok := linkIn(at, path)
		if !ok {
			break
		}
		parent, err := findParent(at, path, link)
		if e, missing := errors.AsType[*ParentError](err); missing && len(e.Looked) > 0 {
			return append(out, e.Looked[0])
		}
		if err != nil {
			break
		}
		out = append(out, parent)
		path = parent
	}
	return out
}

// linkIn reads from a file how it finds its parent. The first bytes tell of almost
// all files that they have none.
func linkIn(at place, path string) (vhd.Link, bool) {
	v, rest, err := at(path)
	if err != nil {
		return vhd.Link{}, false
	}
	var head [vhd.FooterSize]byte
	if _, err := v.ReadFileAt(rest, head[:vhd.TypeSize], 0); err != nil || vhd.TypeIn(head[:vhd.TypeSize]) != vhd.Differencing {
		return vhd.Link{}, false
	}
	if _, err := v.ReadFileAt(rest, head[:], 0); err != nil {
		return vhd.Link{}, false
	}
	if footer, err := vhd.ParseFooter(head[:]); err != nil || footer.Type != vhd.Differencing {
		return vhd.Link{}, false
	}
	f, err := v.OpenFile(rest, volume.Read, volume.ShareWrite)
	if err != nil {
		return vhd.Link{}, false
	}
	defer func() { _ = f.Close() }()
	image, err := vhd.Open(f, f.Size())
	if err != nil {
		return vhd.Link{}, false
	}
	return image.Link()
}

// relink makes a differencing VHD stand on a parent at another place, if that is not
// where it looks first anyway.
func relink(at place, path, parent string) (changed bool, err error) {
	link, ok := linkIn(at, path)
	if !ok {
		return false, nil
	}
	if found, err := findParent(at, path, link); err == nil && volume.Equal(found, parent) {
		return false, nil
	}
	_, image, err := readImage(at, parent)
	if err != nil {
		return false, err
	}
	if image.ID() != link.ID {
		return false, &ChainError{Child: path, Parent: parent, Err: vhd.ErrParentID}
	}
	return true, relinkTo(at, path, parent)
}

// relinkTo makes a differencing VHD stand on another file: the same disk at another
// place, or what it was merged into.
func relinkTo(at place, path, parent string) error {
	p, err := openParent(at, parent)
	if err != nil {
		return err
	}
	defer p.close()
	file, err := openAt(at, path, volume.Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	image, err := vhd.OpenFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return image.Relink(vhd.Parent{Image: p.Image, Path: parent, Child: path})
}
