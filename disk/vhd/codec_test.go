package vhd_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		size int64
		want vhd.Geometry
		lost int64
	}{
		{40 << 20, vhd.Geometry{Cylinders: 963, Heads: 5, SectorsPerTrack: 17}, 33280},
		{500 << 20, vhd.Geometry{Cylinders: 1015, Heads: 16, SectorsPerTrack: 63}, 450560},
		{1 << 30, vhd.Geometry{Cylinders: 2080, Heads: 16, SectorsPerTrack: 63}, 262144},
		{32 << 30, vhd.Geometry{Cylinders: 16448, Heads: 16, SectorsPerTrack: 255}, 524288},
		{127 << 30, vhd.Geometry{Cylinders: 65278, Heads: 16, SectorsPerTrack: 255}, 2080768},
		{1 << 40, vhd.Geometry{Cylinders: 65535, Heads: 16, SectorsPerTrack: 255}, 1<<40 - 136899993600},
		{512, vhd.Geometry{Heads: 4, SectorsPerTrack: 17}, 512},
	} {
		got := vhd.GeometryOf(c.size)
		if got != c.want || c.size-got.Sectors()*512 != c.lost {
			t.Errorf("GeometryOf(%d) = %v, %d bytes lost; want %v, %d", c.size, got, c.size-got.Sectors()*512, c.want, c.lost)
		}
	}
}

// The geometry never promises more than there is, and needs no more bits than
// the footer has for it.
func TestGeometryRoundsDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sectors := rapid.Int64Range(1, vhd.MaxSize/512).Draw(t, "sectors")
		g := vhd.GeometryOf(sectors * 512)
		if g.Sectors() > sectors || g.Heads > 16 || g.Heads < 4 {
			t.Fatalf("%d sectors: %+v reaches %d", sectors, g, g.Sectors())
		}
	})
}

func sampleFooter() vhd.Footer {
	f := vhd.Footer{
		Features:       2,
		Version:        0x10000,
		DataOffset:     ^uint64(0),
		Creator:        vhd.Tag{'w', 'i', 'n', ' '},
		CreatorVersion: 0x000A0000,
		CreatorHost:    vhd.Tag{'W', 'i', '2', 'k'},
		OriginalSize:   40 << 20,
		CurrentSize:    40 << 20,
		Geometry:       vhd.GeometryOf(40 << 20),
		Type:           vhd.Fixed,
	}
	for i := range f.ID {
		f.ID[i] = byte(i)
	}
	return f
}

func TestFooterChecksum(t *testing.T) {
	b := sampleFooter().Bytes()
	if got := binary.BigEndian.Uint32(b[64:]); got != 0xFFFFEF78 {
		t.Errorf("checksum 0x%08X, want 0xFFFFEF78", got)
	}
	// The footer that Create writes by default is this one.
	f := &flat{}
	im := must(vhd.Create(f, vhd.Options{Size: 40 << 20, Type: vhd.Fixed, ID: sampleFooter().ID}))
	if im.ID() != sampleFooter().ID {
		t.Errorf("ID = %x", im.ID())
	}
	if diff := cmp.Diff(sampleFooter(), im.Footer()); diff != "" {
		t.Errorf("footer by default (-want +got):\n%s", diff)
	}
	same(t, "last sector", f.b[40<<20:], b[:])
}

func TestTypeIn(t *testing.T) {
	for _, want := range []vhd.Type{vhd.Fixed, vhd.Dynamic, vhd.Differencing} {
		b := vhd.Footer{Type: want}.Bytes()
		if got := vhd.TypeIn(b[:vhd.TypeSize]); got != want {
			t.Errorf("%v reads as %v", want, got)
		}
		if got := vhd.TypeIn(b[:vhd.TypeSize-1]); got != 0 {
			t.Errorf("a part of %v reads as %v", want, got)
		}
		b[0] ^= 1
		if got := vhd.TypeIn(b[:]); got != 0 {
			t.Errorf("%v without its cookie reads as %v", want, got)
		}
	}
}

func TestFooterRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b [512]byte
		copy(b[:], rapid.SliceOfN(rapid.Byte(), 512, 512).Draw(t, "bytes"))
		copy(b[:], "conectix")
		binary.BigEndian.PutUint16(b[12:], 1)
		binary.BigEndian.PutUint64(b[48:], uint64(rapid.Int64Range(1, vhd.MaxSize/512).Draw(t, "sectors")*512))
		binary.BigEndian.PutUint32(b[60:], rapid.Uint32Range(2, 4).Draw(t, "type"))
		b = sum(b, 64)
		f, err := vhd.ParseFooter(b[:])
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Bytes(); got != b {
			t.Fatalf("footer changed on its way:\n% x\n% x", b, got)
		}
	})
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b [1024]byte
		copy(b[:], rapid.SliceOfN(rapid.Byte(), 1024, 1024).Draw(t, "bytes"))
		copy(b[:], "cxsparse")
		binary.BigEndian.PutUint16(b[24:], 1)
		binary.BigEndian.PutUint32(b[32:], 512<<rapid.IntRange(0, 19).Draw(t, "block"))
		b = sumHeader(b)
		h, err := vhd.ParseDynamicHeader(b[:])
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Bytes(); got != b {
			t.Fatalf("header changed on its way:\n% x\n% x", b, got)
		}
	})
}

// sum stores the checksum of a footer; written apart from the codec's own.
func sum(b [512]byte, at int) [512]byte {
	copy(b[at:], make([]byte, 4))
	var s uint32
	for _, c := range b {
		s += uint32(c)
	}
	binary.BigEndian.PutUint32(b[at:], ^s)
	return b
}

func sumHeader(b [1024]byte) [1024]byte {
	copy(b[36:], make([]byte, 4))
	var s uint32
	for _, c := range b {
		s += uint32(c)
	}
	binary.BigEndian.PutUint32(b[36:], ^s)
	return b
}

func TestParentName(t *testing.T) {
	var h vhd.DynamicHeader
	for i, c := range `C:\Eltern\b.vhd` {
		binary.BigEndian.PutUint16(h.ParentNameBytes[2*i:], uint16(c))
	}
	if got := h.ParentName(); got != `C:\Eltern\b.vhd` {
		t.Errorf("ParentName = %q", got)
	}
	for i := range h.ParentNameBytes { // no terminator, every unit half a surrogate pair
		h.ParentNameBytes[i] = 0xD8
	}
	if got := h.ParentName(); got != strings.Repeat("\uFFFD", 256) {
		t.Errorf("ParentName of unpaired surrogates = %q", got)
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		when  time.Time
		stamp uint32
	}{
		{time.Time{}, 0},
		{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		{time.Date(2009, 3, 4, 5, 6, 7, 8, time.UTC), 289458367},
		{time.Date(2136, 2, 7, 6, 28, 15, 0, time.UTC), 1<<32 - 1},
	} {
		im := must(vhd.Create(&flat{}, vhd.Options{Size: 512, Time: c.when}))
		if got := im.Footer().TimeStamp; got != c.stamp {
			t.Errorf("stamp of %v is %d, want %d", c.when, got, c.stamp)
		}
		if got := im.Footer().Time(); !c.when.IsZero() && !got.Equal(c.when.Truncate(time.Second)) {
			t.Errorf("time of stamp %d is %v, want %v", c.stamp, got, c.when)
		}
	}
	for _, when := range []time.Time{
		time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(2136, 2, 7, 6, 28, 16, 0, time.UTC),
	} {
		_, err := vhd.Create(&flat{}, vhd.Options{Size: 512, Time: when})
		wantCode(t, err, vhd.ErrFooterCorrupt)
	}
}

func TestErrorText(t *testing.T) {
	_, err := vhd.Open(strings.NewReader("short"), 5)
	const want = "vhd: Open: file at 0: 5 bytes are too few for a footer: ERROR_VHD_DRIVE_FOOTER_MISSING (0xC03A0001)"
	if err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	for c := vhd.Code(0xC03A0001); c <= 0xC03A0030; c++ {
		named := c.Name() != ""
		if !strings.Contains(c.Error(), fmt.Sprintf("0x%08X", uint32(c))) || named != strings.HasPrefix(c.Error(), c.Name()+" (") {
			t.Errorf("code %X prints %q", uint32(c), c.Error())
		}
	}
	cause := errors.New("cable out")
	e := &vhd.Error{Op: "WriteAt", Off: -1, Err: cause}
	if e.Error() != "vhd: WriteAt: cable out" || !errors.Is(e, cause) {
		t.Errorf("error %q", e)
	}
}

func TestStrings(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{vhd.Fixed.String(), "fixed"},
		{vhd.Dynamic.String(), "dynamic"},
		{vhd.Differencing.String(), "differencing"},
		{vhd.Type(5).String(), "type 5"},
		{vhd.Tag{'w', 'i', 'n', ' '}.String(), "win"},
		{vhd.Tag{'d', '2', 'v', 0}.String(), "d2v"},
		{vhd.Tag{}.String(), ""},
		{vhd.FormatFixed.String(), "fixed VHD"},
		{vhd.FormatSparse.String(), "sparse VHD"},
		{vhd.FormatVHDX.String(), "VHDX"},
		{vhd.FormatUnknown.String(), "unknown"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		o    vhd.Options
		want error
	}{
		"no size":              {vhd.Options{}, vhd.ErrSize},
		"negative size":        {vhd.Options{Size: -512}, vhd.ErrSize},
		"odd size":             {vhd.Options{Size: 513}, vhd.ErrSize},
		"too large":            {vhd.Options{Size: vhd.MaxSize + 512}, vhd.ErrSize},
		"fixed too large":      {vhd.Options{Size: vhd.MaxSize + 512, Type: vhd.Fixed}, vhd.ErrSize},
		"retired type":         {vhd.Options{Size: 512, Type: 5}, vhd.ErrType},
		"child without parent": {vhd.Options{Size: 512, Type: vhd.Differencing}, vhd.ErrParentNotFound},
		"block of 3 sectors":   {vhd.Options{Size: 512, BlockSize: 1536}, vhd.ErrBlockSize},
		"block below a sector": {vhd.Options{Size: 512, BlockSize: 256}, vhd.ErrBlockSize},
		"negative block":       {vhd.Options{Size: 512, BlockSize: -1 << 63}, vhd.ErrBlockSize},
		"block above 256 MiB":  {vhd.Options{Size: 512, BlockSize: 512 << 20}, vhd.ErrBlockSize},
		"table out of reach":   {vhd.Options{Size: vhd.MaxSize, BlockSize: 512}, vhd.ErrBlockSize},
		"table just too short": {vhd.Options{Size: vhd.MaxSize, BlockSize: 512 << 10}, vhd.ErrBlockSize},
	} {
		t.Run(name, func(t *testing.T) {
			f := disk.NewMemory(7)
			_, err := vhd.Create(f, c.o)
			wantCode(t, err, c.want)
			if f.Size() != 7 {
				t.Error("a refused Create touched the file")
			}
		})
	}
}
