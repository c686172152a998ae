package guest

import (
	"context"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A ShadowStorage is an association that "vssadmin add shadowstorage" makes: the
// shadow copies of one volume keep what changes on another. Without one they keep
// it on the volume itself.
type ShadowStorage struct {
	Volume string `json:"for"` // "C:"
	On     string `json:"on"`
}

// String prints the association: "C: on D:".
func (s ShadowStorage) String() string { return s.Volume + " on " + s.On }

// maxStorage bounds the associations in a record: one for each letter.
const maxStorage = 26

func (s ShadowStorage) of(volume string) bool { return strings.EqualFold(s.Volume, volume) }

// sound tells whether an association may stand in a record behind others.
func (s ShadowStorage) sound(before []ShadowStorage) bool {
	twice := slices.ContainsFunc(before, func(o ShadowStorage) bool { return o.of(s.Volume) })
	return !twice && !s.of(s.On) && plainText(s.Volume, 1, maxText) && plainText(s.On, 1, maxText)
}

// SetShadowStorage has the shadow copies of a volume keep what changes on another,
// or on the volume itself again if that is named. The change is in the system
// record, so a restart finds it. A machine whose system has no Volume Shadow Copy
// Service fails with [ErrUnsupported].
func (m *Machine) SetShadowStorage(ctx context.Context, volume, on string) error {
	if m.service == nil {
		return m.fail("SetShadowStorage", ErrUnsupported)
	}
	of, err := m.Drive(volume)
	if err != nil {
		return err
	}
	to, err := m.Drive(on)
	if err != nil {
		return err
	}
	return m.call(ctx, "SetShadowStorage", func(ctx context.Context) error {
		s := m.system.clone()
		a := ShadowStorage{of.volume.Name(), to.volume.Name()}
		s.ShadowStorage = slices.DeleteFunc(s.ShadowStorage, func(o ShadowStorage) bool { return o.of(a.Volume) })
		if of != to {
			s.ShadowStorage = append(s.ShadowStorage, a)
		}
		if err := m.register(ctx, s); err != nil {
			return err
		}
		m.actor.Emit("guest/shadow-storage", "", sim.S("volume", a.Volume), sim.S("on", a.On))
		return nil
	})
}

// RedirectedStorage lists the associations of the machine's volumes that lie on
// virtual hard disks, so that a backup from inside covers them.
func (m *Machine) RedirectedStorage() []ShadowStorage {
	var list []ShadowStorage
	for _, s := range m.system.ShadowStorage {
		if d, err := m.Drive(s.Volume); err == nil && m.config.Disks[d.volume.Disk].Kind == VirtualHardDisk {
			list = append(list, s)
		}
	}
	return list
}
