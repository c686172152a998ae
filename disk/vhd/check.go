package vhd

import (
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// maxProblems ends a Check that would go on for ever about one broken file.
const maxProblems = 64

// Check reads the whole image and returns all that is wrong with it although
// it opened, joined, each an [Error] with its code: a footer copy that differs
// or is lost, a saved state that is neither 0 nor 1, stored bytes that their
// bitmap denies. It returns nil for every image this package wrote.
func (im *Image) Check() error {
	var found []error
	add := func(err error) bool {
		if err != nil {
			found = append(found, during("Check", err))
		}
		return len(found) < maxProblems
	}
	if im.recovered != nil {
		add(im.recovered)
	}
	if s := im.footer.SavedState; s > 1 {
		add(bad(ErrFooterCorrupt, im.end+84, "footer saved state", "%d is neither 0 nor 1", s))
	}
	if im.dyn != nil {
		if im.recovered == nil {
			add(im.copyTrouble())
		}
		for b, entry := range im.table.placed(0) {
			if !add(im.checkBlock(b, entry)) {
				break
			}
		}
	}
	return errors.Join(found...)
}

// checkBlock looks for bytes that the bitmap of b denies.
func (im *Image) checkBlock(b int64, entry uint32) error {
	bits, err := im.bitmap(b, entry)
	if err != nil || im.table.isFull(b) {
		return err
	}
	data := bitmapAt(entry) + im.dyn.bitmap
	buf := make([]byte, SectorSize)
	for from, to := range bits.clear(0, im.used(b)) {
		for at := from; at < to; at += SectorSize {
			if err := readFull(im.src, buf, data+at, "block data"); err != nil {
				return err
			}
			if !virtdisk.AllZero(buf) {
				field := fmt.Sprintf("block %d", b)
				return bad(ErrBitmap, data+at, field, "sector %d holds data that its bitmap denies", at/SectorSize)
			}
		}
	}
	return nil
}
