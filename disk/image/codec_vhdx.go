package image

import (
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// The log puts right what a power cut left, whenever a VHDX is opened for
// writing.
var vhdxCodec = codec{
	open:     func(src disk.Source) (Image, error) { return some[Image](vhdx.Open(src, src.Size())) },
	openFile: func(f File) (Image, error) { return some[Image](vhdx.OpenFile(f)) },
	repair:   func(f File) (Image, error) { return some[Image](vhdx.OpenFile(f)) },
	create: func(f File, o Options) (Image, error) {
		v, err := o.vhdx()
		if err != nil {
			return nil, err
		}
		return some[Image](vhdx.Create(f, v))
	},
	plan: func(src disk.Source, o Options) (Plan, error) {
		v, err := o.vhdx()
		if err != nil {
			return nil, err
		}
		return some[Plan](vhdx.NewPlan(src, v))
	},
	kind: func(im Image) (Kind, bool) {
		v, ok := im.(*vhdx.Image)
		if !ok {
			return 0, false
		}
		return map[vhdx.Type]Kind{vhdx.Fixed: Fixed, vhdx.Dynamic: Dynamic, vhdx.Differencing: Differencing}[v.Type()], true
	},
	candidates: func(im Image) ([]string, bool) {
		l, ok := im.(*vhdx.Image).Link()
		return l.Candidates(), ok
	},
	setParent: func(child, parent Image, check Check) error {
		p, ok := parent.(*vhdx.Image)
		if !ok {
			return because(ErrType, "a VHDX is over a VHDX alone")
		}
		how := vhdx.CheckID
		if check == CheckNothing {
			how = vhdx.CheckNone
		}
		return child.(*vhdx.Image).SetParent(p, how)
	},
	relink: func(child, parent Image, place Place) error {
		return child.(*vhdx.Image).Relink(vhdx.Parent{Image: parent.(*vhdx.Image), Path: place.Parent, Child: place.Child})
	},
	correct: func(child Image, place Place) error {
		im := child.(*vhdx.Image)
		was, _ := im.Link()
		l := correctPaths(was, place)
		if slices.Equal(l.Candidates(), was.Candidates()) {
			return nil
		}
		return im.SetLink(l)
	},
	expect: func(child, parent Image) error {
		c, p := child.(*vhdx.Image), parent.(*vhdx.Image)
		l, _ := c.Link()
		var err error
		l.Linkage = p.DataWriteGUID()
		if l.Linkage2, err = p.NextDataWriteGUID(); err != nil {
			return err
		}
		if err := c.SetLink(l); err != nil {
			return err
		}
		return c.Sync()
	},
	adopt: func(parent, child Image) error { return parent.(*vhdx.Image).AdoptDisk(child.(*vhdx.Image)) },
	renew: func(im Image) error {
		_, err := im.(*vhdx.Image).NextDataWriteGUID()
		return err
	},
}

// correctPaths returns a link without the paths that do not lead to where the
// parent is. One by the name of a volume was tried only if the relative one,
// which comes before it, does not lead there.
func correctPaths(l vhdx.Link, place Place) vhdx.Link {
	folder, parent := virtdisk.Dir(place.Child), withoutPrefix(place.Parent)
	if !virtdisk.IsAbs(parent) {
		return l
	}
	leads := func(path string) bool {
		p, ok := virtdisk.Join(folder, path)
		return ok && samePath(p, parent)
	}
	if !leads(l.Relative) {
		if !leads(l.Volume) {
			l.Volume = ""
		}
		if l.Relative != "" {
			l.Relative, _ = virtdisk.Rel(withoutPrefix(folder), parent)
		}
	}
	switch {
	case leads(l.Absolute), l.Absolute == "" && len(l.Candidates()) > 0:
	case leads(l.Volume):
		l.Absolute = "" // which drive the volume is, it does not say
	case strings.HasPrefix(parent, `\\`):
		l.Absolute = parent
	default:
		l.Absolute = `\\?\` + parent
	}
	return l
}

// withoutPrefix returns a path with a drive without the `\\?\` before it.
func withoutPrefix(path string) string {
	if p, ok := strings.CutPrefix(path, `\\?\`); ok && len(p) > 1 && p[1] == ':' {
		return p
	}
	return path
}

// vhdx returns the options of that codec. A child has its parent's identifier,
// and o.ID tells it from its siblings.
func (o Options) vhdx() (vhdx.Options, error) {
	v := vhdx.Options{Size: o.Size, BlockSize: o.BlockSize, SectorSize: o.SectorSize, ID: o.ID}
	switch o.Kind {
	case 0:
	case Fixed:
		v.Type = vhdx.Fixed
	case Dynamic:
		v.Type = vhdx.Dynamic
	case Differencing:
		v.Type = vhdx.Differencing
	default:
		return v, because(ErrType, "%v", o.Kind)
	}
	if o.Parent != nil {
		p, ok := leafOf(o.Parent).(*vhdx.Image)
		if !ok {
			return v, because(ErrType, "a VHDX is over a VHDX alone")
		}
		v.Parent = vhdx.Parent{Image: p, Path: o.Place.Parent, Child: o.Place.Child}
		v.ID, v.DataWriteGUID = [16]byte{}, o.ID
	}
	return v, nil
}
