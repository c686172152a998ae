package vhdx

import (
	"errors"
)

// maxProblems ends a Check that would go on for ever about one broken file.
const maxProblems = 64

// Check reads all tables and returns what is wrong with the image although it
// opened, joined, each an [Error] with its code: a header or a region table
// that is damaged or differs, entries of the block allocation table that cannot
// be, blocks that overlap, places in entries of blocks that are zero, a
// partially present block without its bitmap. It returns nil for every image
// this package wrote.
func (im *Image) Check() error {
	var found []error
	add := func(err error) bool {
		if err != nil {
			found = append(found, during("Check", err))
		}
		return len(found) < maxProblems
	}
	_, _, other, err := currentHeader(im.src)
	add(err)
	add(other)
	_, other, err = readRegions(im.src)
	add(err)
	add(other)
	if im.writer != nil && im.writer.pending() > 0 {
		add(bad(ErrBAT, im.lay.tableAt, "block allocation table", "%d changes wait for Sync", im.writer.pending()))
		return errors.Join(found...)
	}
	if _, err := im.scan(); err != nil {
		add(err)
		im.checkEntries(err, add)
	}
	im.checkZero(add)
	return errors.Join(found...)
}

// checkEntries adds each entry that cannot be, but for the one at which the scan
// stopped, if it was one.
func (im *Image) checkEntries(stop error, add func(error) bool) {
	add(im.eachEntry(func(i int64, e entry) bool {
		err := im.lay.checkEntry(i, e, im.src.Size())
		if err != nil && err.Error() == stop.Error() {
			return true
		}
		return add(err)
	}))
}

// checkZero adds each block that is zero and has a place, which Windows is said
// not to accept.
func (im *Image) checkZero(add func(error) bool) {
	add(im.eachEntry(func(i int64, e entry) bool {
		if e.state() == Zero && e.offset() != 0 {
			return add(im.lay.badEntry(i, "a zero block with the place %d", e.offset()))
		}
		return true
	}))
}
