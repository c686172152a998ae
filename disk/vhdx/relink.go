package vhdx

import (
	"encoding/binary"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// Relink makes p the parent of a differencing image from now on, here and in
// the file: the parent locator names it by its present DataWriteGUID alone and
// by the paths of p, and the paths to the last parent are gone. What the disk
// reads as then is for the caller to know. The image keeps its DataWriteGUID,
// so children of its own are not disturbed.
//
// The change goes through the log: whenever the power goes, the file names
// either the old parent or the new one. After an error it may name either;
// Relink can be called again. What waited for [Image.Sync] is brought to the
// file first.
func (im *Image) Relink(p Parent) error {
	if err := im.checkRelink(); err != nil {
		return during("Relink", err)
	}
	if p.Image == nil {
		return during("Relink", bad(ErrParentNotFound, -1, "parent", "a differencing disk needs one"))
	}
	l, err := p.link()
	if err != nil {
		return during("Relink", err)
	}
	l.Others = im.meta.link.Others
	old := im.parent
	if err := im.setParent(p.Image, CheckNone); err != nil {
		return during("Relink", err)
	}
	if err := im.putLink(l); err != nil {
		if !sameNames(im.meta.link, l) {
			im.parent = old
		}
		return during("Relink", err)
	}
	return nil
}

// SetLink changes what a differencing image says about its parent, as safely as
// [Image.Relink] does, and leaves it over the parent it has. It is there to
// correct paths, and to let a child live through a change of its parent: see
// [Image.NextDataWriteGUID].
func (im *Image) SetLink(l Link) error {
	err := im.checkRelink()
	if err == nil {
		err = im.putLink(l)
	}
	return during("SetLink", err)
}

// checkRelink refuses images that have no link or cannot be written.
func (im *Image) checkRelink() error {
	if im.file == nil {
		return disk.ErrReadOnly
	}
	if !im.meta.hasParent {
		return bad(ErrType, -1, "disk type", "a %v disk has no parent", im.Type())
	}
	return nil
}

// sameNames reports whether two links have the same identifiers and paths.
func sameNames(a, b Link) bool {
	return a.Linkage == b.Linkage && a.Linkage2 == b.Linkage2 && slices.Equal(a.Candidates(), b.Candidates())
}

// putLink brings a link to the file.
func (im *Image) putLink(l Link) error {
	b, err := l.bytes()
	if err != nil {
		return err
	}
	if _, err := parseLocator(b, -1); err != nil {
		return err // what l.Others holds may be a key of its own
	}
	l.Others = slices.Clone(l.Others)
	return im.writer.setItem(ItemParentLocator, b, func(m *metadata) { m.link = l })
}

// NextDataWriteGUID returns the DataWriteGUID that the image will have after it
// is next written, and begins a new session with that write. A child that names
// it as its Linkage2, by [Image.SetLink], knows this image both before and
// after, so that the power may go while a child is merged. [MS-VHDX] has
// parent_linkage2 for that. The promise ends when the image is closed.
func (im *Image) NextDataWriteGUID() (GUID, error) {
	if im.file == nil {
		return GUID{}, during("NextDataWriteGUID", disk.ErrReadOnly)
	}
	if err := im.settle(); err != nil {
		return GUID{}, during("NextDataWriteGUID", err)
	}
	im.writer.coming = im.writer.nextData()
	return im.writer.coming, nil
}

// nextData returns the identifier that the disk gets in the next session.
func (w *writer) nextData() GUID { return orElse(w.coming, w.newGUID("data")) }

// touch gives the file a new identifier, and the disk none, before something
// about the file alone is changed.
func (w *writer) touch() error {
	if w.began {
		return nil
	}
	h := w.im.header
	h.FileWriteGUID = w.newGUID("file")
	return w.putHeaders(h)
}

// setItem gives a metadata item a new value, through the log, and tells the
// metadata in memory once the change is sure to be made.
func (w *writer) setItem(id GUID, value []byte, told func(m *metadata)) error {
	items := w.im.items
	made, err := w.change(func() (err error) {
		items, err = w.patchItem(id, value)
		return err
	})
	if made {
		m := *w.im.meta // that of snapshots stays
		told(&m)
		w.im.meta, w.im.items = &m, items
	}
	return err
}

// change makes what patch prepares in one commit, and nothing else with it. It
// reports whether the change is made or, after an error, sure to be.
func (w *writer) change(patch func() error) (made bool, err error) {
	if err := w.commit(); err != nil {
		return false, err
	}
	if err := w.touch(); err != nil {
		return false, err
	}
	err = patch()
	if most := maxUpdates(int64(w.im.header.LogLength)); err == nil && w.pending() > most {
		err = bad(ErrLimit, int64(w.im.header.LogOffset), "log", "a change of more than %d sectors", most)
	}
	if err == nil {
		err = w.commit()
	}
	if err != nil && w.stage == idle {
		clear(w.bits) // which held nothing else
		return false, err
	}
	return true, err
}

// patchItem prepares the sectors of the metadata region that a new value of an
// item changes, and returns the table with it.
func (w *writer) patchItem(id GUID, value []byte) ([]Item, error) {
	im := w.im
	items := slices.Clone(im.items)
	i := slices.IndexFunc(items, func(it Item) bool { return it.ID == id && !it.IsUser })
	if i < 0 {
		return nil, bad(ErrMetadataRead, im.metaAt.Offset, "metadata table", "no item %s", guid.String(id))
	}
	at, ok := roomFor(items, i, int64(len(value)), im.metaAt.Length)
	if !ok {
		return nil, bad(ErrLimit, im.metaAt.Offset, "metadata region", "no room for an item of %d bytes", len(value))
	}
	items[i].Offset, items[i].Length = uint32(at), uint32(len(value))
	var place [8]byte
	binary.LittleEndian.PutUint32(place[:], items[i].Offset)
	binary.LittleEndian.PutUint32(place[4:], items[i].Length)
	if err := w.patch(im.metaAt.Offset+at, value); err != nil {
		return nil, err
	}
	if err := w.patch(im.metaAt.Offset+32+32*int64(i)+16, place[:]); err != nil {
		return nil, err
	}
	return items, nil
}

// roomFor returns the first place in a metadata region for n bytes of its i-th
// item, which gives its old place up.
func roomFor(items []Item, i int, n, region int64) (int64, bool) {
	var others []disk.Extent
	for k, it := range items {
		if k != i && it.Length > 0 {
			others = append(others, disk.Extent{Off: int64(it.Offset), Len: int64(it.Length)})
		}
	}
	overlapping(others) // none is; this puts them in order
	at := int64(TableSize)
	for _, x := range others {
		if x.Off-at >= n {
			break
		}
		at = max(at, x.End())
	}
	return at, region-at >= n
}

// patch puts bytes of the metadata or of a region table among what waits for a commit.
func (w *writer) patch(off int64, p []byte) error {
	for len(p) > 0 {
		sector, in := off&^(logSector-1), off&(logSector-1)
		b := w.bits[sector]
		if b == nil {
			b = new([logSector]byte)
			if err := readFull(w.im.file, b[:], sector, "metadata"); err != nil {
				return err
			}
			w.bits[sector] = b
		}
		n := copy(b[in:], p)
		p, off = p[n:], off+int64(n)
	}
	return nil
}
