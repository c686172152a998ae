package image

import (
	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

var vhdCodec = codec{
	open:     func(src disk.Source) (Image, error) { return some[Image](vhd.Open(src, src.Size())) },
	openFile: func(f File) (Image, error) { return some[Image](vhd.OpenFile(f)) },
	repair:   func(f File) (Image, error) { return some[Image](vhd.Repair(f)) },
	create: func(f File, o Options) (Image, error) {
		v, err := o.vhd()
		if err != nil {
			return nil, err
		}
		return some[Image](vhd.Create(f, v))
	},
	plan: func(src disk.Source, o Options) (Plan, error) {
		v, err := o.vhd()
		if err != nil {
			return nil, err
		}
		return some[Plan](vhd.NewPlan(src, v))
	},
	kind: func(im Image) (Kind, bool) {
		v, ok := im.(*vhd.Image)
		if !ok {
			return 0, false
		}
		return map[vhd.Type]Kind{vhd.Fixed: Fixed, vhd.Dynamic: Dynamic, vhd.Differencing: Differencing}[v.Type()], true
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
	if o.SectorSize != 0 && o.SectorSize != vhd.SectorSize {
		return v, because(ErrSectorSize, "a VHD with sectors of %d bytes", o.SectorSize)
	}
	if o.Parent != nil {
		p, ok := leafOf(o.Parent).(*vhd.Image)
		if !ok {
			return v, because(ErrType, "a VHD is over a VHD alone")
		}
		v.Parent = vhd.Parent{Image: p, Path: o.Place.Parent, Child: o.Place.Child}
	}
	return v, nil
}
