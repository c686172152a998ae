package image

import (
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// Extensions of the files around a disk, in lower case. The two of checkpoints
// tell nothing about the content: an .avhd is a .vhd.
const (
	ExtVHD   = ".vhd"
	ExtVHDX  = ".vhdx"
	ExtAVHD  = ".avhd"  // a checkpoint's differencing VHD
	ExtAVHDX = ".avhdx" // a checkpoint's differencing VHDX
	ExtVHDS  = ".vhds"  // a set of a guest cluster: it points at an .avhdx
	ExtRCT   = ".rct"   // change tracking, fine
	ExtMRT   = ".mrt"   // change tracking, coarse
)

// autoRecovery ends the name of the leaf that an online backup of Windows
// Server 2012 R2 recovers into.
const autoRecovery = "-AutoRecovery"

// A Name is the name of a disk's file taken apart, as Hyper-V puts it together.
type Name struct {
	Base         string   // of the disk: "db" for db.vhdx and db_<GUID>.avhdx
	Checkpoint   [16]byte // of a checkpoint's disk, bytes in the order of the text; else zero
	AutoRecovery bool     // the recovery leaf of an online backup
	Ext          string   // in lower case, with its dot
}

// ParseName takes the last element of a path apart. A name that is none of
// Hyper-V's is all Base.
func ParseName(path string) Name {
	base := virtdisk.Base(path)
	n := Name{Base: base}
	if dot := strings.LastIndexByte(base, '.'); dot >= 0 {
		n.Base, n.Ext = base[:dot], strings.ToLower(base[dot:])
	}
	if !n.isCheckpoint() {
		return n
	}
	if stem, ok := strings.CutSuffix(n.Base, autoRecovery); ok {
		n.Base, n.AutoRecovery = stem, true
	}
	if bar := len(n.Base) - 37; bar > 0 && n.Base[bar] == '_' {
		if id, err := guid.Parse(n.Base[bar+1:]); err == nil {
			n.Base, n.Checkpoint = n.Base[:bar], id
		}
	}
	return n
}

func (n Name) isCheckpoint() bool { return n.Ext == ExtAVHD || n.Ext == ExtAVHDX }

// String puts the name together: the GUID in upper case, joined by "_".
func (n Name) String() string {
	s := n.Base
	if n.Checkpoint != [16]byte{} {
		s += "_" + guid.Upper(n.Checkpoint)
	}
	if n.AutoRecovery {
		s += autoRecovery
	}
	return s + n.Ext
}

// CheckpointOf returns the name of the differencing disk that a checkpoint with
// this id puts over a disk: db_<GUID>.avhd for db.vhd, and for the disk of an
// earlier checkpoint of it too.
func CheckpointOf(path string, id [16]byte) string {
	n := ParseName(path)
	n.Checkpoint, n.AutoRecovery = id, false
	switch n.Ext {
	case ExtVHD, ExtVHDX:
		n.Ext = ".a" + n.Ext[1:]
	}
	return n.String()
}

// FormatOfName returns the format that Windows takes a file for by its name;
// ok is false for other names. Content decides otherwise everywhere here.
func FormatOfName(path string) (f Format, ok bool) {
	switch ParseName(path).Ext {
	case ExtVHD, ExtAVHD:
		return VHD, true
	case ExtVHDX, ExtAVHDX:
		return VHDX, true
	}
	return Raw, false
}
