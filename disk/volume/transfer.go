package volume

import (
	"io"

	"github.com/shadowsim/shadowsim/disk"
)

// chunk is how much is copied at a time.
const chunk = 1 << 18

// WriteTo writes the rest of the file to w; io.Copy calls it. When w is an empty
// File and this one stands at its start, the bytes are passed on by reference.
// When w can be positioned and cut, as an *os.File, and stands at its end, what
// is not allocated here is not written there either, only skipped.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	if err := f.check(Read); err != nil {
		return 0, f.failed("WriteTo", err)
	}
	if to, ok := w.(*File); ok && f.pos == 0 && to.pos == 0 && to.Size() == 0 {
		return to.take(f)
	}
	s, err := f.Snapshot()
	if err != nil {
		return 0, err
	}
	o := output{w: w, at: f.pos}
	if sparse, ok := w.(sparseWriter); ok {
		if err := o.skipTo(sparse); err != nil {
			return 0, err
		}
	}
	err = o.copy(s.(*disk.Memory))
	n := o.at - f.pos
	f.pos = o.at
	return n, err
}

// ReadFrom writes what r has to say at the position; io.Copy calls it. When r is
// a File, the bytes are passed on as [File.WriteTo] does.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if from, ok := r.(*File); ok {
		return from.WriteTo(f)
	}
	return io.Copy(struct{ io.Writer }{f}, r)
}

// take gives f, which is empty, the bytes of another file by reference.
func (f *File) take(from *File) (int64, error) {
	m := from.Bytes()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	err := f.usable(Write)
	if err == nil {
		need := allocated(m, 0, m.Size())
		if err = f.v.room(f.v.files.get(f.id).parent, need); err == nil {
			f.v.setData(f.id, m, need)
			f.pos, from.pos = m.Size(), m.Size()
		}
	}
	return f.pos, f.failed("ReadFrom", err)
}

// A sparseWriter can make holes.
type sparseWriter interface {
	io.WriteSeeker
	Truncate(size int64) error
}

// An output writes a store to a writer.
type output struct {
	w      io.Writer
	at     int64 // in the store
	sparse sparseWriter
	shift  int64 // from a place in the store to that in the sparse writer
	buf    []byte
}

// skipTo notes that holes can be skipped, if w stands at its end: only what is
// new there is zero of itself.
func (o *output) skipTo(w sparseWriter) error {
	pos, err := w.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe
	}
	end, err := w.Seek(0, io.SeekEnd)
	if err == nil && end == pos {
		o.sparse, o.shift = w, pos-o.at
		return nil
	}
	_, err = w.Seek(pos, io.SeekStart)
	return err
}

// copy writes everything from o.at on.
func (o *output) copy(m *disk.Memory) error {
	size := m.Size()
	o.buf = make([]byte, min(chunk, max(size-o.at, 0)))
	for e := range m.Extents(o.at, size-o.at) {
		if err := o.hole(e.Off); err != nil {
			return err
		}
		if err := o.data(m, e.End()); err != nil {
			return err
		}
	}
	return o.hole(size)
}

// data writes the bytes up to end.
func (o *output) data(m *disk.Memory, end int64) error {
	for o.at < end {
		p := o.buf[:min(end-o.at, int64(len(o.buf)))]
		if n, err := m.ReadAt(p, o.at); n < len(p) {
			return err
		}
		if err := o.write(p); err != nil {
			return err
		}
	}
	return nil
}

// hole leaves out the bytes up to end, or writes zeros.
func (o *output) hole(end int64) error {
	if o.at >= end {
		return nil
	}
	if o.sparse != nil {
		if o.sparse.Truncate(end+o.shift) == nil {
			_, err := o.sparse.Seek(end+o.shift, io.SeekStart)
			o.at = end
			return err
		}
		o.sparse = nil // a device, perhaps, that cannot be cut
	}
	clear(o.buf)
	for o.at < end {
		if err := o.write(o.buf[:min(end-o.at, int64(len(o.buf)))]); err != nil {
			return err
		}
	}
	return nil
}

func (o *output) write(p []byte) error {
	n, err := o.w.Write(p)
	o.at += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
