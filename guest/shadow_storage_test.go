package guest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

// Associations stand in the system record, one for a volume; the latest counts.
func TestShadowStorage(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	ctx := t.Context()
	for _, s := range [][2]string{{"c:", "D:"}, {"D:", "E:"}, {"C:", `E:\`}, {"D:", "d:"}} {
		if err := m.SetShadowStorage(ctx, s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := []guest.ShadowStorage{{Volume: "C:", On: "E:"}}
	if got := m.RedirectedStorage(); !slices.Equal(got, want) || got[0].String() != "C: on E:" {
		t.Errorf("%v", got)
	}
	for _, s := range [][2]string{{"X:", "C:"}, {"C:", "X:"}} {
		if err := m.SetShadowStorage(ctx, s[0], s[1]); !errors.Is(err, guest.ErrNoVolume) {
			t.Errorf("%v: %v", s, err)
		}
	}
	m.PowerOff()
	if err := m.SetShadowStorage(ctx, "C:", "D:"); !errors.Is(err, guest.ErrEnded) {
		t.Errorf("of a machine that is off: %v", err)
	}
	if got := b.boot().RedirectedStorage(); !slices.Equal(got, want) {
		t.Errorf("after a restart: %v", got)
	}
}

func TestShadowStorageWithoutTheService(t *testing.T) {
	b := newEmptyRig(t)
	b.addDisk(1, guest.NTFS)
	b.install(&guest.System{OS: guest.Windows2000Server, ComputerName: "OLD"})
	if err := b.boot().SetShadowStorage(t.Context(), "C:", "C:"); !errors.Is(err, guest.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// A record holds no association of a volume with itself, none without a name, and
// no two of one volume.
func TestShadowStorageInRecords(t *testing.T) {
	d := disk.NewMemory(1 << 20)
	many := make([]guest.ShadowStorage, 27)
	for i := range many {
		many[i] = guest.ShadowStorage{Volume: fmt.Sprint("v", i), On: "C:"}
	}
	for _, list := range [][]guest.ShadowStorage{
		{{Volume: "C:", On: "c:"}}, {{Volume: "", On: "C:"}}, {{Volume: "C:"}}, {{Volume: "C:\n", On: "D:"}},
		{{Volume: "C:", On: "D:"}, {Volume: "c:", On: "E:"}}, many,
	} {
		s := &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", ShadowStorage: list}
		if err := guest.WriteSystem(d, s); !errors.Is(err, guest.ErrSpec) {
			t.Errorf("%v: %v", list, err)
		}
	}
	s := &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC", ShadowStorage: many[:26]}
	if err := guest.WriteSystem(d, s); err != nil {
		t.Fatal(err)
	}
	if back, err := guest.ReadSystem(d); err != nil || !slices.Equal(back.ShadowStorage, s.ShadowStorage) {
		t.Errorf("%v, %v", back, err)
	}
}
