package image

import (
	"io"

	"github.com/shadowsim/shadowsim/disk"
)

// A codec is what this package asks of a format.
type codec struct {
	open       func(disk.Source) (Image, error)
	openFile   func(File) (Image, error)
	repair     func(File) (Image, error) // openFile of what a power cut may have left
	create     func(File, Options) (Image, error)
	plan       func(disk.Source, Options) (Plan, error)
	kind       func(Image) (Kind, bool)
	candidates func(Image) ([]string, bool) // paths of the parent, in the order to try
	setParent  func(child, parent Image, check Check) error
	relink     func(child, parent Image, place Place) error

	// correct tells a child, which is open for writing, where its parent was found,
	// in place of the paths that do not lead there; nil where a child keeps what it
	// was told.
	correct func(child Image, place Place) error

	// expect tells a child, which is safe then, that its parent is going to be
	// written; nil where that makes no difference to it.
	expect func(child, parent Image) error
	// adopt gives a parent what of its child goes with the disk and is no data; nil
	// where that is nothing.
	adopt func(parent, child Image) error
	// renew makes the next write of an image the first of another session, by
	// which children of now tell that their parent was written; nil likewise.
	renew func(Image) error
}

// codecs are the formats that are no raw bytes.
var codecs = map[Format]codec{VHD: vhdCodec, VHDX: vhdxCodec}

// A Plan is an image that is yet to be written.
type Plan interface {
	// Size returns the length of the file.
	Size() int64
	// WriteTo writes the file front to back.
	WriteTo(w io.Writer) (int64, error)
	// WriteAtTo writes the file, leaving out what is zero: w must read as zero
	// there already.
	WriteAtTo(w io.WriterAt) error
}

// codecOf returns the codec of an image.
func codecOf(im Image) (codec, bool) {
	f, _ := FormatOf(im)
	c, ok := codecs[f]
	return c, ok
}

// some returns what a codec answers as an interface, nil after an error.
func some[I, T any](v T, err error) (i I, _ error) {
	if err != nil {
		return i, err
	}
	return any(v).(I), nil
}
