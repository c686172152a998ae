package vhdx

import (
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// MaxChain is how many images a chain may have.
const MaxChain = 1024

// A Parent says over which image a new differencing one is, and where the two
// lie, in the words of Windows.
type Parent struct {
	Image *Image

	// Path is where the parent lies: absolute, `C:\VMs\base.vhdx`, or as seen
	// from the folder of its child, `.\base.vhdx`.
	Path string

	// Child is where the new image will lie, absolute. It is used to write an
	// absolute Path also as seen from there, by which Windows finds a parent
	// first, so that the folder of both can be moved. Empty leaves that out.
	Child string

	// Volume is the parent's path by the name of its volume,
	// `\\?\Volume{...}\VMs\base.vhdx`. Empty leaves that out.
	Volume string
}

// A ParentCheck says how much of a parent's identity has to be right. The size
// of its logical sectors has to be in any case.
type ParentCheck uint8

// The checks, the usual one first.
const (
	CheckID   ParentCheck = iota // the parent's DataWriteGUID is one that the child names
	CheckNone                    // data may be wrong, by the caller's choice
)

// Link returns what a differencing image says about its parent; others have no
// link.
func (im *Image) Link() (Link, bool) {
	l := im.meta.link
	l.Others = slices.Clone(l.Others)
	return l, im.meta.hasParent
}

// Parent returns the image that im is over, or nil.
func (im *Image) Parent() *Image { return im.parent }

// SetParent puts a differencing image over its parent, which nobody may write
// as long as im is used. Until then only what the image holds itself can be
// read. A parent that does not fit is [ErrParentID] or [ErrSectorSize], one
// that would be its own ancestor [ErrChainCycle]. Sizes may differ: behind its
// parent's end the disk is zero.
func (im *Image) SetParent(p *Image, check ParentCheck) error {
	return during("SetParent", im.setParent(p, check))
}

func (im *Image) setParent(p *Image, check ParentCheck) error {
	if !im.meta.hasParent {
		return bad(ErrType, -1, "disk type", "a %v disk has no parent", im.Type())
	}
	if p == nil {
		return im.orphan()
	}
	if err := checkChain(im, p); err != nil {
		return err
	}
	if l := im.meta.link; check == CheckID && !l.Matches(p.header.DataWriteGUID) {
		return bad(ErrParentID, im.metaAt.Offset, "parent locator", "%s, the parent has %s", guid.Braced(l.Linkage), guid.Braced(p.header.DataWriteGUID))
	}
	if p.lay.sector != im.lay.sector {
		return bad(ErrSectorSize, -1, "logical sector size", "%d over a parent with %d", im.lay.sector, p.lay.sector)
	}
	im.parent = p
	return nil
}

// checkChain refuses a parent among whose ancestors im is, or too many others.
func checkChain(im, p *Image) error {
	n := 1
	for q := p; q != nil; q = q.parent {
		if n++; q == im || n > MaxChain {
			return bad(ErrChainCycle, -1, "parent", "it is over its own child, or over more than %d images", MaxChain)
		}
	}
	return nil
}

// orphan is the error of a differencing image that needs its parent.
func (im *Image) orphan() error {
	return bad(ErrParentNotFound, -1, "parent", "not open: %s", strings.Join(im.meta.link.Candidates(), ", "))
}

// readParent fills p with what the disk shows at off where the file has
// nothing.
func (im *Image) readParent(p []byte, off int64) error {
	if !im.lay.hasParent {
		clear(p)
		return nil
	}
	if im.parent == nil {
		return im.orphan()
	}
	n := min(int64(len(p)), max(im.parent.lay.size-off, 0))
	clear(p[n:])
	_, err := im.parent.read(p[:n], off)
	return err
}

// link returns what a child says about the parent.
func (p Parent) link() (Link, error) {
	l := Link{Linkage: p.Image.header.DataWriteGUID, Volume: p.Volume}
	switch {
	case strings.Contains(p.Path+p.Volume, "\x00"):
		return l, bad(ErrParentNotFound, -1, "parent path", "%q leads nowhere", p.Path+p.Volume)
	case p.Path == "":
		return l, nil
	case !virtdisk.IsAbs(p.Path):
		l.Relative = p.Path
		return l, nil
	}
	l.Absolute = p.Path
	if !strings.HasPrefix(p.Path, `\\`) {
		l.Absolute = `\\?\` + p.Path
	}
	if p.Child == "" {
		return l, nil
	}
	if !virtdisk.IsAbs(p.Child) {
		return l, bad(ErrParentNotFound, -1, "child path", "%q is not absolute", p.Child)
	}
	l.Relative, _ = virtdisk.Rel(virtdisk.Dir(p.Child), p.Path)
	return l, nil
}
