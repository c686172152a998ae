package guest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Points at which the beginning and the end of a run may go wrong, asked for the
// actor of the virtual machine: on=h1/sql01
const (
	PointBoot   sim.Point = "guest/boot"
	PointResume sim.Point = "guest/resume"
	PointSave   sim.Point = "guest/save"
)

// Boot starts the operating system that the disks hold: it mounts their volumes,
// starts the integration services that are set to start and then the programs,
// all as the system record says. Disks without a system record, or with a broken
// one, are an error with the [Code] of [ReadSystem].
//
// It may be called from ordinary code, as all methods of a machine that take a
// context.
func Boot(ctx context.Context, c Config) (*Machine, error) {
	return begin(ctx, "Boot", c, func(ctx context.Context, m *Machine) (err error) {
		if err = sim.AtOn(ctx, PointBoot, c.Parent.Path()); err != nil {
			return m.fail(m.began, err)
		}
		if m.memory, err = NewMemory(c.Memory); err != nil {
			return err
		}
		if err = m.install(); err != nil {
			return err
		}
		m.actor.Emit("guest/boot", "", m.attrs()...)
		m.readyAt = sim.Now(ctx) + c.BusyAfterBoot
		m.autostart(ctx)
		return m.startApps(ctx)
	})
}

// Resume goes on from the memory that [Machine.Save] returned, on the same
// disks. Programs take their next step when they would have taken it. What is
// not the memory of a machine is [ErrBadMemory].
func Resume(ctx context.Context, c Config, memory disk.Source) (*Machine, error) {
	return begin(ctx, "Resume", c, func(ctx context.Context, m *Machine) (err error) {
		if err = sim.AtOn(ctx, PointResume, c.Parent.Path()); err != nil {
			return m.fail(m.began, err)
		}
		if m.memory, err = OpenMemory(memory); err != nil {
			return err
		}
		if err = m.install(); err != nil {
			return err
		}
		m.actor.Emit("guest/resume", "", m.attrs()...)
		return m.startApps(ctx)
	})
}

// begin makes a machine and brings it up. If that fails nothing of the run is
// left.
func begin(ctx context.Context, op string, c Config, bringUp func(ctx context.Context, m *Machine) error) (*Machine, error) {
	m := &Machine{config: c, began: op}
	err := within(ctx, c.Parent, func(ctx context.Context) error {
		m.actor = c.Parent.Child("guest")
		m.path = m.actor.Path()
		err := bringUp(ctx, m)
		if err == nil && m.Ended() {
			err = m.fail(m.began, ErrEnded)
		}
		if err != nil {
			m.actor.Kill()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// install brings up what does not need time: volumes, the system record, the
// shadow copy service, the programs' code.
func (m *Machine) install() error {
	if err := m.mount(); err != nil {
		return err
	}
	if err := m.dropKept(); err != nil {
		return err
	}
	if m.system.OS.VSS() {
		if err := m.startVSS(); err != nil {
			return err
		}
	}
	m.requestor = m.newRequestor()
	m.load()
	return nil
}

// mount reads the disks and the system record.
func (m *Machine) mount() error {
	for _, a := range m.config.Disks {
		l, err := ReadLayout(a.Disk, a.Disk.Size())
		if err != nil {
			l = nil
		}
		m.layouts = append(m.layouts, l)
	}
	rank := 0
	for _, v := range Volumes(m.layouts...) {
		d := newDrive(m.actor, v, volumeID(m.layouts[v.Disk], v), m.config.Disks[v.Disk].Disk)
		m.drives = append(m.drives, d)
		if r := v.bootRank(); r > rank {
			m.boot, rank = d, r
		}
	}
	if m.boot == nil {
		return m.fail(m.began, ErrNoSystem)
	}
	s, err := ReadSystem(m.boot.store)
	if err != nil {
		return m.fail(m.began, err)
	}
	m.system = s
	for _, d := range m.drives {
		d.rules.ReFS, d.os = s.OS.ReFS(), s.OS
	}
	return nil
}

// bootRank says how good a claim the volume has to be the one with the system.
// In a Linux the root has no letter, and another volume may be C: instead.
func (v Volume) bootRank() int {
	switch {
	case v.System && v.Letter == 'C':
		return 3
	case v.System:
		return 2
	case v.Letter == 'C':
		return 1
	}
	return 0
}

// volumeID makes the GUID of a volume from the identity of its disk and its
// place there, as Windows does for its own table of mounted devices.
func volumeID(l *Layout, v Volume) [16]byte {
	b := append([]byte("volume"), l.GUID[:]...)
	b = binary.BigEndian.AppendUint32(b, l.Signature)
	b = binary.BigEndian.AppendUint32(b, uint32(v.Disk))
	b = binary.BigEndian.AppendUint64(b, uint64(v.Off))
	sum := sha256.Sum256(b)
	id := [16]byte(sum[:16])
	id[6], id[8] = id[6]&0x0F|0x40, id[8]&0x3F|0x80
	return id
}

func (m *Machine) startVSS() error {
	c := m.config.VSS
	if c.Machine == "" {
		c.Machine = m.system.ComputerName
	}
	c.ReFS = c.ReFS || m.system.OS.ReFS()
	m.service = vss.NewService(m.actor.Child("vss"), c)
	for _, d := range m.drives {
		if err := m.service.AddVolume(d); err != nil {
			return m.fail(m.began, err)
		}
	}
	return nil
}

func (m *Machine) attrs() []sim.Attr {
	return []sim.Attr{sim.S("os", string(m.system.OS)), sim.S("computer", m.system.ComputerName),
		sim.N("volumes", len(m.drives)), sim.N("programs", len(m.apps))}
}
