package vhdx

import (
	"fmt"
	"io"

	"github.com/shadowsim/shadowsim/disk"
)

// eagerEntries is up to how many entries the table is verified whole by Open:
// 1 MiB of them, enough for 4 TiB in blocks of 32 MiB.
const eagerEntries = mib / 8

// Open opens the image in a file of size bytes for reading. A log that holds
// something is replayed into memory: the file is not touched. Malformed images
// are an [Error] with one of this package's codes.
//
// The block allocation table of a disk of more than 131,072 blocks is read and
// verified as it is used; [Image.Check] verifies all of it. That of others is
// verified whole.
//
// A differencing image needs its parent: see [Image.Link] and
// [Image.SetParent].
func Open(r io.ReaderAt, size int64) (*Image, error) {
	src, ok := r.(disk.Source)
	if !ok || src.Size() != size {
		src = io.NewSectionReader(r, 0, size)
	}
	im, err := openReading(src)
	if err != nil {
		return nil, during("Open", err)
	}
	return im, nil
}

// openReading opens an image and leaves its file alone.
func openReading(src disk.Source) (*Image, error) {
	im := &Image{src: src}
	if err := im.readRoot(); err != nil {
		return nil, err
	}
	if im.header.LogGUID != (GUID{}) {
		over := disk.NewOverlay(src, src.Size())
		if err := im.replay(over); err != nil {
			return nil, err
		}
		im.src = over
	}
	if err := im.readTables(); err != nil {
		return nil, err
	}
	if im.lay.entries <= eagerEntries {
		if _, err := im.scan(); err != nil {
			return nil, err
		}
	}
	return im, nil
}

// OpenFile opens the image in f for reading and writing in place. A log that
// holds something is replayed first; otherwise the file stays as it is until
// something is written. Everything in the block allocation table is verified.
func OpenFile(f File) (*Image, error) {
	im, err := openWriting(f)
	if err != nil {
		return nil, during("OpenFile", err)
	}
	return im, nil
}

func openWriting(f File) (*Image, error) {
	im := &Image{src: f}
	if err := im.readRoot(); err != nil {
		return nil, err
	}
	im.writer = newWriter(im)
	im.file = f
	if im.header.LogGUID != (GUID{}) {
		if err := im.writer.recover(); err != nil {
			return nil, err
		}
	}
	if im.header.LogLength == 0 {
		return nil, bad(ErrHeader, headerAt(im.slot)+68, "header log length", "zero: there is no log to write through")
	}
	if err := im.readTables(); err != nil {
		return nil, err
	}
	if _, err := im.writer.findFree(); err != nil {
		return nil, err
	}
	return im, nil
}

// readRoot reads what no log changes: the file type identifier and the headers.
func (im *Image) readRoot() error {
	size := im.src.Size()
	if size < mib {
		return bad(ErrFileSize, 0, "file", "%d bytes are too few for a VHDX", size)
	}
	var id [len(fileTypeID) + creatorSize]byte
	err := readFull(im.src, id[:], 0, "file type identifier")
	if err == nil {
		im.creator, err = parseFileIdentifier(id[:])
	}
	if err != nil {
		return err
	}
	var other error
	if im.header, im.slot, other, err = currentHeader(im.src); err != nil {
		return err
	}
	im.note(other)
	return im.header.check(headerAt(im.slot), size)
}

// replay brings what the log holds to f.
func (im *Image) replay(f File) error {
	log := newLogReader(im.src, im.header)
	entries, err := log.active()
	if err != nil {
		return err
	}
	if err := log.replayTo(f, entries); err != nil {
		return err
	}
	im.notes = append(im.notes, fmt.Sprintf("the log was replayed: %d entries", len(entries)))
	return nil
}

// readTables reads the region table and the metadata, and prepares the block
// allocation table.
func (im *Image) readTables() error {
	regions, other, err := readRegions(im.src)
	if err != nil {
		return err
	}
	im.note(other)
	log := disk.Extent{Off: int64(im.header.LogOffset), Len: int64(im.header.LogLength)}
	bat, meta, err := placeRegions(regions, log, im.src.Size())
	if err != nil {
		return err
	}
	im.regions, im.metaAt = regions, meta
	m, items, stray, err := readMetadata(im.src, meta)
	if err != nil {
		return err
	}
	im.note(stray)
	im.meta, im.items = m, items
	im.lay = newLayout(m)
	im.lay.tableAt = bat.Offset
	if im.lay.entries*8 > bat.Length {
		return bad(ErrBAT, bat.Offset, "block allocation table", "a region of %d bytes is too small for %d entries", bat.Length, im.lay.entries)
	}
	for _, r := range regions {
		im.lay.parts = append(im.lay.parts, r.extent())
	}
	if log.Len > 0 {
		im.lay.parts = append(im.lay.parts, log)
	}
	overlapping(im.lay.parts) // none is; this puts them in order
	im.table = newTable(im.lay.entries)
	return nil
}
