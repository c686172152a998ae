package image

import (
	"errors"
	"io"
	"iter"
	"slices"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// A Merge brings what one image of a chain holds into its parent, in steps
// that the caller takes when it suits, and shortens the chain at the end.
//
// While it goes on the chain is used through the Merge, which is the same disk.
// The parent's children read it through the image that is merged, which hides
// whatever has changed there, so the disk shows no sign of the merge, and
// neither do the files: cut off at any moment the chain opens as it was and can
// be merged again from the start. If it is the leaf that is merged, what is
// written goes there, and into the parent too where the merge has passed.
//
// A VHDX takes on another identifier by being written, by which children know
// their parent. The image that is merged is told of it first, as a second one
// that may match, and so its file has to be a [File] too. An image that is
// smaller than its parent cannot be merged, [ErrLimit].
//
// Other children of the image or of its parent lose their disk; that nobody
// else is over them is for the caller to know.
type Merge struct {
	chain *Chain
	at    int // the index of the image that is merged
	next  int64
	done  bool
	place Place // where the parent and the image above lie
	buf   []byte
}

// NewMerge prepares to merge the at-th image of a chain, counted from the leaf,
// into the one below. The parent's file has to be a [File], and so has that of
// the image above, whose parent it becomes; both are opened for writing, and
// put right where a power cut left them unfinished. A base
// has nothing to be merged into: [ErrType].
func NewMerge(c *Chain, at int) (*Merge, error) {
	if at < 0 || at+1 >= len(c.links) {
		return nil, fail("NewMerge", "", because(ErrType, "image %d of %d has no parent", at, len(c.links)))
	}
	m := &Merge{chain: c, at: at, buf: make([]byte, 256<<10)}
	if err := m.prepare(); err != nil {
		return nil, fail("NewMerge", c.links[at].Path, err)
	}
	return m, nil
}

// prepare opens for writing what will be written.
func (m *Merge) prepare() error {
	links := m.chain.links
	codec, _ := codecOf(links[m.at].Image)
	for i := max(m.at-1, 0); i <= m.at+1; i++ {
		if i == m.at && codec.expect == nil || links[i].Image.Writable() {
			continue
		}
		if err := m.chain.reopen(i); err != nil {
			return fail("NewMerge", links[i].Path, err)
		}
	}
	if m.at > 0 {
		m.place = placeOf(links[m.at+1].Path, links[m.at-1].Path)
	}
	child, parent := links[m.at].Image, links[m.at+1].Image
	if codec.expect != nil {
		if err := codec.expect(child, parent); err != nil {
			return err
		}
	}
	if child.Size() > parent.Size() {
		return disk.Resize(parent, child.Size())
	}
	return nil
}

// placeOf returns where a parent and its child lie that a resolver knows by
// these paths. Where they have no drive, only the one as seen from the other is
// known.
func placeOf(parent, child string) Place {
	if virtdisk.IsAbs(parent) || virtdisk.IsAbs(child) {
		return Place{Parent: parent, Child: child}
	}
	rel, _ := virtdisk.Rel(virtdisk.Dir(`X:\`+child), `X:\`+parent)
	return Place{Parent: rel}
}

// reopen opens image i of a chain for writing and puts it in its place.
func (c *Chain) reopen(i int) error {
	l := &c.links[i]
	f, ok := l.src.(File)
	if !ok {
		return disk.ErrReadOnly
	}
	im, err := open(f, repairing)
	if err != nil {
		return err
	}
	codec, _ := codecOf(im)
	if i+1 < len(c.links) {
		if err := codec.setParent(im, c.links[i+1].Image, CheckNothing); err != nil {
			return err
		}
	}
	if i > 0 {
		if err := codec.setParent(c.links[i-1].Image, im, CheckNothing); err != nil {
			return err
		}
	} else {
		c.Image = im
	}
	l.Image = im
	return nil
}

// Size returns the size of the disk.
func (m *Merge) Size() int64 { return m.chain.Size() }

// ReadAt reads the disk.
func (m *Merge) ReadAt(p []byte, off int64) (int, error) { return m.chain.ReadAt(p, off) }

// WriteAt writes the disk, if its leaf can be written. What a failed write may
// have changed is merged again.
func (m *Merge) WriteAt(p []byte, off int64) (int, error) {
	n, err := m.chain.WriteAt(p, off)
	if m.at > 0 || m.done {
		return n, err
	}
	if err != nil {
		m.next = min(m.next, max(off, 0))
		return n, err
	}
	passed := min(int64(n), max(m.next-off, 0))
	if _, perr := m.parent().WriteAt(p[:passed], off); perr != nil {
		m.next = min(m.next, off)
		return 0, fail("WriteAt", m.chain.links[1].Path, perr)
	}
	return n, nil
}

// Discard makes a range of the disk zero.
func (m *Merge) Discard(off, n int64) error {
	err := m.chain.Discard(off, n)
	if m.at > 0 || m.done {
		return err
	}
	if err == nil {
		passed := min(n, max(m.next-off, 0))
		err = fail("Discard", m.chain.links[1].Path, m.parent().Discard(off, passed))
	}
	if err != nil {
		m.next = min(m.next, max(off, 0))
	}
	return err
}

// Extents yields what the disk has allocated.
func (m *Merge) Extents(off, n int64) iter.Seq[disk.Extent] { return m.chain.Extents(off, n) }

func (m *Merge) parent() Image { return m.chain.links[m.at+1].Image }

// Progress returns how far the merge has come, in bytes of disk, and where it
// ends.
func (m *Merge) Progress() (done, total int64) {
	return m.next, m.chain.links[m.at].Image.Size()
}

// Done reports whether the merge is complete.
func (m *Merge) Done() bool { return m.done }

// Chain returns the chain, which is shorter by one image when the merge is
// done. It takes writes again then.
func (m *Merge) Chain() *Chain { return m.chain }

// Step merges at most n bytes of data, and no less than one sector unless n is
// 0, and reports whether the merge is complete. Ranges that the image does not
// hold cost nothing, and such as are zero little. The last step makes the image
// above name the parent as its own; the image that was merged is then no part
// of the chain, and its file of no use. After an error the step can be tried
// again.
func (m *Merge) Step(n int64) (done bool, err error) {
	if m.done {
		return true, nil
	}
	child := m.chain.links[m.at]
	size := child.Image.Size()
	for s := range child.Image.Spans(m.next, size-m.next) {
		if s.Origin == disk.Below {
			m.next = s.End()
			continue
		}
		if n <= 0 {
			return false, nil
		}
		k, err := m.step(s, n)
		if err != nil {
			return false, fail("Step", child.Path, err)
		}
		if n -= k; k < s.Len {
			return false, nil
		}
	}
	if m.next < size {
		return false, fail("Step", child.Path, unknown(child.Image, m.next))
	}
	if err := m.finish(); err != nil {
		return false, fail("Step", child.Path, err)
	}
	return true, nil
}

// unknown returns why an image does not tell what it holds at a place, as one
// does whose tables cannot be read.
func unknown(im Image, at int64) error {
	if err := readFull(im, make([]byte, 1), at); err != nil {
		return err
	}
	return because(io.ErrUnexpectedEOF, "what is held from %d on is not known", at)
}

// step merges the beginning of a span.
func (m *Merge) step(s disk.Span, n int64) (done int64, err error) {
	n = min(max(n&^511, 512), s.Len)
	if s.Origin == disk.Zero {
		if err := m.parent().Discard(s.Off, n); err != nil {
			return 0, err
		}
		m.next = s.Off + n
		return n, nil
	}
	for done < n {
		p := m.buf[:min(int64(len(m.buf)), n-done)]
		if err := readFull(m.chain.links[m.at].Image, p, s.Off+done); err != nil {
			return done, err
		}
		if _, err := m.parent().WriteAt(p, s.Off+done); err != nil {
			return done, err
		}
		done += int64(len(p))
		m.next = s.Off + done
	}
	return done, nil
}

// fit makes the parent the disk that its child is beyond its bytes. What it has
// behind the end of its child shows nowhere.
func (m *Merge) fit() error {
	child, parent := m.chain.links[m.at].Image, m.parent()
	if size := child.Size(); parent.Size() > size {
		if err := parent.Discard(size, parent.Size()-size); err != nil {
			return err
		}
		if err := disk.Resize(parent, size); err != nil {
			return err
		}
	}
	if codec, _ := codecOf(parent); codec.adopt != nil {
		return codec.adopt(parent, child)
	}
	return nil
}

// finish takes the image that was merged out of the chain.
func (m *Merge) finish() error {
	parent := m.parent()
	if err := m.fit(); err != nil {
		return err
	}
	if err := parent.Sync(); err != nil {
		return err
	}
	c := m.chain
	codec, _ := codecOf(parent)
	if m.at == 0 {
		if codec.renew != nil {
			if err := codec.renew(parent); err != nil {
				return err
			}
		}
		c.Image = parent
	} else {
		above := c.links[m.at-1].Image
		if err := codec.relink(above, parent, m.place); err != nil {
			return err
		}
		if err := above.Sync(); err != nil {
			return err
		}
	}
	gone := c.links[m.at]
	c.links = slices.Delete(c.links, m.at, m.at+1)
	m.done = true
	return errors.Join(gone.Image.Close(), closeSource(gone.src))
}
