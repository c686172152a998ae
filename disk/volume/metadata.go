package volume

import (
	"errors"
	"time"
)

// FileAttributes gives the attributes as the number that Windows uses, for
// packages that need not import this one.
func (i *Info) FileAttributes() uint32 { return uint32(i.attrs) }

// SetMetadata gives a file or directory the times and attributes of another one,
// in terms of standard types alone; a zero time is left as it stands. What cannot
// be set, as Directory, is ignored.
func (f *FS) SetMetadata(name string, created, modified time.Time, attributes uint32) error {
	return setMetadata(f, name, created, modified, attributes)
}

// SetMetadata gives a file or directory times and attributes, where the drive can.
func (h *Host) SetMetadata(name string, created, modified time.Time, attributes uint32) error {
	return setMetadata(h, name, created, modified, attributes)
}

func setMetadata(files Files, name string, created, modified time.Time, attributes uint32) error {
	return errors.Join(
		chtimes(files, name, Times{Created: created, Modified: modified}),
		setAttributes(files, name, Attributes(attributes)&settable))
}

// Writable tells whether the file that has a name could be opened for writing
// now; it changes nothing.
func (f *FS) Writable(name string) error {
	return f.do("open", name, true, func(elems []string) error {
		p, err := f.v.find(elems, true)
		if err != nil {
			return err
		}
		return f.v.openable(p.id, Write, Exclusive)
	})
}

// Writable tells whether the file that has a name could be opened for writing; a
// drive that does not know finds nothing wrong.
func (h *Host) Writable(name string) error {
	return h.write("open", name, func(files Files, rest string) error {
		if p, ok := files.(interface{ Writable(string) error }); ok {
			return p.Writable(rest)
		}
		return nil
	})
}
