package vhd

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// MaxChain is how many images a chain may have.
const MaxChain = 1024

// A Parent says over which image a new differencing one is, and where the two
// lie, in the words of Windows.
type Parent struct {
	Image *Image

	// Path is where the parent lies: absolute, `C:\VMs\base.vhd`, or as seen
	// from the folder of its child, `.\base.vhd`.
	Path string

	// Child is where the new image will lie, absolute. It is used to write an
	// absolute Path also as seen from there, by which Windows finds a parent
	// first, so that the folder of both can be moved. Empty leaves that out.
	Child string
}

// A Link is what a differencing image says about its parent.
type Link struct {
	ID        [16]byte        // the parent's unique identifier, in file order
	TimeStamp uint32          // the parent's, in seconds since 2000; 0 was not recorded
	Name      string          // path of the parent, cut at 256 UTF-16 units
	Locators  []ParentLocator // those that can be used, in their order

	extents []disk.Extent // where the locators' data is
}

// Path returns the text of the first locator of a platform, or "".
func (l Link) Path(platform Tag) string {
	for _, p := range l.Locators {
		if p.Platform == platform {
			return p.Path
		}
	}
	return ""
}

// Candidates returns the paths under which to look for the parent, in the order
// in which Windows does: relative to the image's folder, absolute, and then the
// last element of the header's name, in that folder.
func (l Link) Candidates() []string {
	var paths []string
	add := func(path string) {
		if path != "" {
			paths = append(paths, path)
		}
	}
	add(l.Path(PlatformW2ru))
	add(l.Path(PlatformW2ku))
	if base := virtdisk.Base(l.Name); base != "" {
		add(`.\` + base)
	}
	return paths
}

// Link returns what a differencing image says about its parent; others have no
// link.
func (im *Image) Link() (Link, bool) {
	if im.link == nil {
		return Link{}, false
	}
	return im.link.clone(), true
}

// Parent returns the image that im is over, or nil.
func (im *Image) Parent() *Image { return im.parent }

// readLink reads how a differencing image names its parent.
func (im *Image) readLink() error {
	h := &im.dyn.header
	im.link = &Link{ID: h.ParentID, TimeStamp: h.ParentTimeStamp, Name: h.ParentName()}
	named := im.link.Name != ""
	for _, l := range h.Locators {
		named = named || l.Platform != Tag{}
	}
	switch {
	case h.ParentID == [16]byte{}:
		return bad(ErrSparseCorrupt, im.dyn.headerAt+40, "dynamic header parent identifier", "all zero in a differencing image")
	case !named:
		return bad(ErrSparseCorrupt, im.dyn.headerAt+64, "dynamic header parent name", "neither a name nor a locator")
	}
	return im.readLocators()
}

// A ParentCheck says how much of a parent's identity has to be right. The size
// has to be in any case.
type ParentCheck uint8

// The checks from the usual to the loosest.
const (
	CheckID   ParentCheck = iota // the identifier; a time stamp that differs is a note
	CheckTime                    // the identifier, and the time stamp where one is recorded
	CheckSize                    // the size alone: data may be wrong, by the caller's choice
)

// SetParent puts a differencing image over its parent, which nobody may write
// as long as im is used. Until then only sectors that the image holds itself
// can be read. A parent that does not fit is [ErrParentID], [ErrParentTime] or
// [ErrParentSize], one that would be its own ancestor [ErrChainCycle].
func (im *Image) SetParent(p *Image, check ParentCheck) error {
	return during("SetParent", im.setParent(p, check))
}

func (im *Image) setParent(p *Image, check ParentCheck) error {
	if im.link == nil {
		return bad(ErrType, -1, "disk type", "a %v disk has no parent", im.Type())
	}
	if p == nil {
		return im.orphan()
	}
	if err := checkChain(im, p); err != nil {
		return err
	}
	if check != CheckSize {
		if err := im.checkIdentity(p, check); err != nil {
			return err
		}
	}
	if im.size != p.size {
		return bad(ErrParentSize, -1, "disk size", "%d over a parent of %d", im.size, p.size)
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

func (im *Image) checkIdentity(p *Image, check ParentCheck) error {
	at := im.dyn.headerAt
	if im.link.ID != p.footer.ID {
		return bad(ErrParentID, at+40, "dynamic header parent identifier", "%x, the parent has %x", im.link.ID, p.footer.ID)
	}
	want, got := im.link.TimeStamp, p.footer.TimeStamp
	if want == 0 || want == got {
		return nil
	}
	err := bad(ErrParentTime, at+56, "dynamic header parent time stamp", "%d, the parent has %d", want, got)
	if check == CheckTime {
		return err
	}
	im.note("%v", err)
	return nil
}

// orphan is the error of a differencing image that needs its parent.
func (im *Image) orphan() error {
	return bad(ErrParentNotFound, -1, "parent", "not open: %s", strings.Join(im.link.Candidates(), ", "))
}

// draftLink fills in what the header of a new differencing image says about
// its parent, but for the places of the locators, and returns their data.
func (p Parent) draftLink(h *DynamicHeader) (data [][]byte, err error) {
	if p.Image == nil {
		return nil, bad(ErrParentNotFound, -1, "parent", "a differencing disk needs one")
	}
	h.ParentID, h.ParentTimeStamp = p.Image.footer.ID, p.Image.footer.TimeStamp
	if h.ParentID == [16]byte{} {
		return nil, bad(ErrParentID, -1, "parent identifier", "all zero: no child can know it")
	}
	absolute, relative, err := p.paths()
	if err != nil {
		return nil, err
	}
	name := encodeUTF16(binary.BigEndian, orElse(absolute, relative))
	copy(h.ParentNameBytes[:], name)
	for _, l := range []struct {
		platform Tag
		path     string
	}{{PlatformW2ku, absolute}, {PlatformW2ru, relative}} {
		if l.path == "" {
			continue
		}
		b := encodeUTF16(binary.LittleEndian, l.path)
		if len(b) > maxLocator {
			return nil, bad(ErrSparseCorrupt, -1, "parent path", "%d bytes are more than %d", len(b), maxLocator)
		}
		h.Locators[len(data)] = Locator{
			Platform: l.platform,
			Space:    uint32(roundUp(int64(len(b)), SectorSize)),
			Length:   uint32(len(b)),
		}
		data = append(data, b)
	}
	return data, nil
}

// paths returns the two forms of the parent's path.
func (p Parent) paths() (absolute, relative string, err error) {
	switch {
	case p.Path == "" || strings.Contains(p.Path, "\x00"):
		return "", "", bad(ErrParentNotFound, -1, "parent path", "%q leads nowhere", p.Path)
	case !virtdisk.IsAbs(p.Path):
		return "", p.Path, nil
	case p.Child == "":
		return p.Path, "", nil
	}
	if !virtdisk.IsAbs(p.Child) {
		return "", "", bad(ErrParentNotFound, -1, "child path", "%q is not absolute", p.Child)
	}
	relative, _ = virtdisk.Rel(virtdisk.Dir(p.Child), p.Path)
	return p.Path, relative, nil
}

// placeLocators gives the data of locators its places, one behind the other
// from at on, and returns it as it is to stand there.
func (h *DynamicHeader) placeLocators(data [][]byte, at int64) []byte {
	var all []byte
	for i, b := range data {
		h.Locators[i].Offset = uint64(at + int64(len(all)))
		all = append(all, b...)
		all = append(all, make([]byte, int64(h.Locators[i].Space)-int64(len(b)))...)
	}
	return all
}

func locatorExtent(l Locator) disk.Extent {
	return disk.Extent{Off: int64(l.Offset), Len: int64(l.Length)}
}

// Relink makes a differencing image name another parent, over which it then
// is: the old one under another name, what it was merged into, or any image of
// the same size. Other locators than those that Create writes are gone. The
// names come behind everything that is in the file, and the header changes in
// one write.
func (im *Image) Relink(p Parent) error {
	return during("Relink", im.relink(p))
}

func (im *Image) relink(p Parent) error {
	if im.file == nil {
		return disk.ErrReadOnly
	}
	if im.link == nil {
		return bad(ErrType, -1, "disk type", "a %v disk has no parent", im.Type())
	}
	h := im.dyn.header
	h.Locators, h.ParentNameBytes = [8]Locator{}, [512]byte{}
	data, err := p.draftLink(&h)
	if err == nil {
		err = checkChain(im, p.Image)
	}
	if err == nil && p.Image.size != im.size {
		err = bad(ErrParentSize, -1, "disk size", "%d over a parent of %d", im.size, p.Image.size)
	}
	if err != nil {
		return err
	}
	old, at := im.end, roundUp(im.end, SectorSize)
	all := h.placeLocators(data, at)
	if err := im.append(append(make([]byte, at-old), all...), "parent locator"); err != nil {
		return err
	}
	header := h.Bytes()
	if _, err := im.writeFile(header[:], im.dyn.headerAt, "dynamic header"); err != nil {
		return err
	}
	dyn := *im.dyn
	dyn.header = h
	im.dyn, im.notes = &dyn, nil
	im.compareCopy()
	if err := errors.Join(im.readLink(), im.sync()); err != nil {
		return err
	}
	im.parent = p.Image
	return nil
}

// append writes p, whole sectors, where the footer was, which then comes
// behind it, and syncs.
func (im *Image) append(p []byte, field string) error {
	end := im.dyn.place(im.end + int64(len(p)))
	if err := im.moveFooter(end); err != nil {
		return err
	}
	old := im.end
	im.end = end
	if _, err := im.writeFile(p, old, field); err != nil {
		return err
	}
	return im.sync()
}
