package guest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A hushed is a program that a FreeBSD's backup service asks and tells.
type hushed struct {
	fails map[string]error // by message
	heard *[]string
	name  string
}

func (q *hushed) Step(context.Context, *guest.Env) (time.Duration, error) { return time.Hour, nil }

func (q *hushed) hear(message string) error {
	*q.heard = append(*q.heard, q.name+" "+message)
	return q.fails[message]
}

func (q *hushed) CheckQuiesce(context.Context, *guest.Env) error { return q.hear("CHECK") }

func (q *hushed) Quiesce(context.Context, *guest.Env) error { return q.hear("FREEZE") }

func (q *hushed) Unquiesce(context.Context, *guest.Env) error { return q.hear("THAW") }

// freeBSDRig has a FreeBSD with its root on UFS, another UFS and a FAT32, and the
// programs "db" and "web", of which db fails as told.
func freeBSDRig(t *testing.T, fails map[string]error, opts ...sim.Option) (b *rig, heard *[]string) {
	b = newEmptyRig(t, opts...)
	for i := range 2 {
		b.addVolume(uint32(i+1), guest.NoFileSystem)
		b.overlay(guest.UFS)
	}
	b.addVolume(3, guest.FAT32)
	heard = new([]string)
	b.Catalog = guest.Catalog{
		"db":  func(guest.Program) (guest.Application, error) { return &hushed{fails, heard, "db"}, nil },
		"web": func(guest.Program) (guest.Application, error) { return &hushed{nil, heard, "web"}, nil },
	}
	b.install(&guest.System{OS: "FreeBSD 11.1", ComputerName: "bsd01", Services: guest.IntegrationServices(guest.FreeBSD, "3.0"),
		Programs: []guest.Program{{Name: "web"}, {Name: "db"}}})
	return b, heard
}

// Programs are asked, then quiet, then UFS is frozen, the root last, and nothing
// else; all go on in the other order.
func TestFreeBSD(t *testing.T) {
	b, heard := freeBSDRig(t, nil)
	m := b.boot()
	if m.VSS() != nil || !m.HotBackup() {
		t.Errorf("VSS %v, hot backup %v", m.VSS(), m.HotBackup())
	}
	s := b.snapshot(m)
	if len(s.Copies) != 3 {
		t.Errorf("%d copies", len(s.Copies))
	}
	if want := []string{"web CHECK", "db CHECK", "web FREEZE", "db FREEZE", "web THAW", "db THAW"}; !slices.Equal(*heard, want) {
		t.Errorf("the programs hear %q", *heard)
	}
	name := func(i int) string { return m.Drives()[i].Volume().Name() }
	var steps []string
	for _, e := range b.world.Trace() {
		switch e.Kind {
		case "guest/quiesce":
			steps = append(steps, e.Get("message"))
		case "guest/fsfreeze", "guest/fsfreeze-skip", "guest/fsthaw":
			steps = append(steps, e.Kind[len("guest/"):]+" "+e.Get("volume"))
		}
	}
	want := []string{"CHECK", "CHECK", "FREEZE", "FREEZE", "fsfreeze " + name(1), "fsfreeze-skip " + name(2), "fsfreeze " + name(0),
		"fsthaw " + name(1), "fsthaw " + name(0), "THAW", "THAW"}
	if !slices.Equal(steps, want) {
		t.Errorf("the steps are %q, want %q", steps, want)
	}
	wantReason(t, m.Drives()[2].Freeze(t.Context()), guest.ErrNotFreezable)
	b.must(b.requestor(m).Release(t.Context(), s))
	b.settled(m)
}

// Whatever goes wrong, what was told to be quiet goes on, and nothing is left.
func TestFreeBSDGoesOnOnEveryWayOut(t *testing.T) {
	no := errors.New("not now")
	for _, tt := range []struct {
		fails map[string]error
		plan  string
		want  error
		heard []string
	}{
		{map[string]error{"CHECK": no}, "", guest.ErrNoHotBackup, []string{"web CHECK", "db CHECK"}},
		{map[string]error{"FREEZE": no}, "", no, []string{"web CHECK", "db CHECK", "web FREEZE", "db FREEZE", "web THAW", "db THAW"}},
		{map[string]error{"THAW": no}, "", no, []string{"web CHECK", "db CHECK", "web FREEZE", "db FREEZE", "web THAW", "db THAW"}},
		{nil, "guest/fsfreeze on=*/C: err=0x8007001F", nil, []string{"web CHECK", "db CHECK", "web FREEZE", "db FREEZE", "web THAW", "db THAW"}},
		{nil, "guest/fsfreeze on=*/C: kill=.", nil, []string{"web CHECK", "db CHECK", "web FREEZE", "db FREEZE", "web THAW", "db THAW"}},
		{nil, "guest/fsfreeze on=*/C: hang", guest.ErrTimeout, []string{"web CHECK", "db CHECK", "web FREEZE", "db FREEZE", "web THAW", "db THAW"}},
	} {
		var opts []sim.Option
		if tt.plan != "" {
			opts = append(opts, sim.Plan(tt.plan))
		}
		b, heard := freeBSDRig(t, tt.fails, opts...)
		m := b.boot()
		_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !slices.Equal(*heard, tt.heard) {
			t.Errorf("%v %s: %v, the programs hear %q", tt.fails, tt.plan, err, *heard)
		}
		b.settled(m)
	}
}

// UFS of both versions is known by its superblock, which is believed only if its
// sizes can be.
func TestDetectUFS(t *testing.T) {
	const ufs1, ufs2 = 8 << 10, 64 << 10
	for name, tt := range map[string]struct {
		at          int64
		magic       string
		block, frag byte // the second byte of each size
		want        guest.FileSystemKind
	}{
		"version 2":                     {ufs2, "\x19\x01\x54\x19", 0x80, 0x10, guest.UFS},
		"version 1":                     {ufs1, "\x54\x19\x01\x00", 0x40, 0x08, guest.UFS},
		"version 1 in the other's room": {ufs2, "\x54\x19\x01\x00", 0x40, 0x08, guest.UnknownFileSystem},
		"no power of two":               {ufs2, "\x19\x01\x54\x19", 0x81, 0x10, guest.UnknownFileSystem},
		"fragments larger than blocks":  {ufs2, "\x19\x01\x54\x19", 0x10, 0x20, guest.UnknownFileSystem},
		"no fragments":                  {ufs2, "\x19\x01\x54\x19", 0x10, 0x00, guest.UnknownFileSystem},
	} {
		d := disk.NewMemory(16 * mib)
		poke(t, d, tt.at+48, 0, tt.block, 0, 0, 0, tt.frag, 0, 0)
		poke(t, d, tt.at+36, 0, 4, 0, 0)               // 1024 fragments, of version 1
		poke(t, d, tt.at+1080, 0, 4, 0, 0, 0, 0, 0, 0) // and of version 2
		poke(t, d, tt.at+144, 1, 2, 3, 4, 5, 6, 7, 8)
		poke(t, d, tt.at+680, []byte("root")...)
		poke(t, d, tt.at+1372, []byte(tt.magic)...)
		fs, err := guest.DetectFileSystem(d, d.Size())
		if err != nil || fs.Kind != tt.want {
			t.Errorf("%s: %v, %v", name, fs, err)
			continue
		}
		frag := int64(tt.frag) << 8
		if fs.Kind == guest.UFS && (fs.Sectors*512 != 1024*frag || fs.ClusterSize != int64(tt.block)<<8 || fs.String() != `UFS serial 0807060504030201 label "root"`) {
			t.Errorf("%s: %+v, %v", name, fs, fs)
		}
	}
}
