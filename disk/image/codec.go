package image

import (
	"io"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
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
	id         func(Image) [16]byte
}

// codecs are the formats that are no raw bytes.
var codecs = map[Format]codec{VHD: vhdCodec}

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

var vhdCodec = codec{
	open: func(src disk.Source) (Image, error) {
		im, err := vhd.Open(src, src.Size())
		if err != nil {
			return nil, err
		}
		return im, nil
	},
	openFile: func(f File) (Image, error) {
		im, err := vhd.OpenFile(f)
		if err != nil {
			return nil, err
		}
		return im, nil
	},
	repair: func(f File) (Image, error) {
		im, err := vhd.Repair(f)
		if err != nil {
			return nil, err
		}
		return im, nil
	},
	create: func(f File, o Options) (Image, error) {
		v, err := o.vhd()
		if err != nil {
			return nil, err
		}
		im, err := vhd.Create(f, v)
		if err != nil {
			return nil, err
		}
		return im, nil
	},
	plan: func(src disk.Source, o Options) (Plan, error) {
		v, err := o.vhd()
		if err != nil {
			return nil, err
		}
		p, err := vhd.NewPlan(src, v)
		if err != nil {
			return nil, err
		}
		return p, nil
	},
	kind: func(im Image) (Kind, bool) {
		v, ok := im.(*vhd.Image)
		if !ok {
			return 0, false
		}
		switch v.Type() {
		case vhd.Fixed:
			return Fixed, true
		case vhd.Dynamic:
			return Dynamic, true
		}
		return Differencing, true
	},
	candidates: func(im Image) ([]string, bool) {
		l, ok := im.(*vhd.Image).Link()
		return l.Candidates(), ok
	},
	setParent: func(child, parent Image, check Check) error {
		p, ok := parent.(*vhd.Image)
		if !ok {
			return because(ErrType, "a VHD is over a VHD alone")
		}
		how := vhd.CheckID
		switch check {
		case CheckStrictly:
			how = vhd.CheckTime
		case CheckNothing:
			how = vhd.CheckSize
		}
		return child.(*vhd.Image).SetParent(p, how)
	},
	relink: func(child, parent Image, place Place) error {
		return child.(*vhd.Image).Relink(vhd.Parent{Image: parent.(*vhd.Image), Path: place.Parent, Child: place.Child})
	},
	id: func(im Image) [16]byte { return im.(*vhd.Image).ID() },
}

// vhd returns the options of that codec.
func (o Options) vhd() (vhd.Options, error) {
	v := vhd.Options{Size: o.Size, BlockSize: o.BlockSize, ID: o.ID, Time: o.Time}
	switch o.Kind {
	case 0:
	case Fixed:
		v.Type = vhd.Fixed
	case Dynamic:
		v.Type = vhd.Dynamic
	case Differencing:
		v.Type = vhd.Differencing
	default:
		return v, because(ErrType, "%v", o.Kind)
	}
	if o.Parent != nil {
		p, ok := o.Parent.(*vhd.Image)
		if !ok {
			return v, because(ErrType, "a VHD is over a VHD alone")
		}
		v.Parent = vhd.Parent{Image: p, Path: o.Place.Parent, Child: o.Place.Child}
	}
	return v, nil
}
