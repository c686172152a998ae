package guest_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

// bytesAt reads bytes of a disk.
func bytesAt(t testing.TB, d disk.Source, off, n int64) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := d.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return b
}

// place puts bytes of the fuzzer's on a disk, as far as they fit.
func place(t testing.TB, d disk.Store, off int64, b []byte) {
	t.Helper()
	if room := d.Size() - off; room > 0 {
		poke(t, d, off, b[:min(int64(len(b)), room)]...)
	}
}

// FuzzReadLayout reads disks that the fuzzer writes in two places. It may have
// the checksums of a GPT made right, since it will not find them by itself.
func FuzzReadLayout(f *testing.F) {
	for _, spec := range []guest.DiskSpec{mixedMBR, mixedGPT,
		{Scheme: guest.SuperFloppy, Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}}}} {
		d := newDisk(f, 64*mib, spec)
		f.Add(bytesAt(f, d, 0, 1280), uint32(mib), bytesAt(f, d, mib, 96), uint32(64*mib), true)
	}
	chain, err := loadImage("mbr")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(chain[440:512], uint32(6*mib+446), chain[6*mib+446:6*mib+512], uint32(16*mib), false)
	f.Fuzz(func(t *testing.T, head []byte, at uint32, more []byte, size uint32, seal bool) {
		d := disk.NewMemory(int64(size))
		if len(head) < 80 { // the end of the first sector
			place(t, d, 440, head)
		} else {
			place(t, d, 0, head)
		}
		place(t, d, int64(at), more)
		if b := (bench{d: d}); seal && size >= 1<<20 {
			if err := b.seal(1); err != nil {
				t.Fatal(err)
			}
		}
		l, err := guest.ReadLayout(d, d.Size())
		if fault := checkLayout(l, err, d.Size()); fault != "" {
			t.Fatal(fault)
		}
		var where *guest.LayoutError
		if err != nil && !errors.As(err, &where) {
			t.Fatalf("error %v has no place", err)
		}
		for _, v := range guest.Volumes(l) {
			if x := v.Data(); v.Off < 0 || v.Len > d.Size()-v.Off || x.Len < 0 || x.Len > v.Len {
				t.Fatalf("volume %v, data in %v", v, x)
			}
		}
	})
}

// FuzzDetect looks at volumes that the fuzzer writes in two places.
func FuzzDetect(f *testing.F) {
	for name, at := range map[string]int{"ntfs": 16 << 10, "xfs": 0, "btrfs": 64 << 10, "iso": 32 << 10} {
		b, err := loadImage(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:128], uint32(at), b[at:at+320], uint32(320*mib))
	}
	for _, p := range append(mixedMBR.Partitions, mixedGPT.Partitions...) {
		if fs := p.FileSystem; fs.Kind != guest.NoFileSystem {
			fs.ClusterSize = 0
			d := newDisk(f, 34*mib, guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: []guest.PartitionSpec{{FileSystem: fs}}})
			f.Add(bytesAt(f, d, 0, 512), uint32(1024), bytesAt(f, d, 1024, 128), uint32(34*mib))
		}
	}
	f.Fuzz(func(t *testing.T, head []byte, at uint32, more []byte, size uint32) {
		d := disk.NewMemory(int64(size))
		place(t, d, 0, head)
		place(t, d, 510, []byte{0x55, 0xAA})
		place(t, d, int64(at), more)
		fs, err := guest.DetectFileSystem(d, d.Size())
		if err != nil {
			t.Fatal(err)
		}
		if fs.Sectors < 0 || fs.SectorSize < 0 || fs.ClusterSize < 0 || fs.Sectors*fs.SectorSize > d.Size() || fs.String() == "" {
			t.Fatalf("%d bytes hold %+v", size, fs)
		}
		if fs.SnapshotCapable() && (fs.Sectors == 0 || fs.ClusterSize < fs.SectorSize) {
			t.Fatalf("%+v passes", fs)
		}
	})
}

// FuzzReadSystem reads records of the fuzzer's, whole ones and contents under a
// header that is made for them. What is read can be written, and reads the same
// again.
func FuzzReadSystem(f *testing.F) {
	f.Add(sealed(`{"os":"Linux","computer":"x"}`), false)
	f.Add(`{"os":"Windows Server 2008","computer":"SQL01","services":[{"name":"vmicvss","installed":true,"start":"manual","running":true}]}`, true)
	f.Add(`{"os":"x","computer":"y","programs":[{"name":"ledger","args":{"data":"D:"}}]}`, true)
	f.Fuzz(func(t *testing.T, record string, seal bool) {
		if seal {
			record = sealed(record)
		}
		d := disk.NewMemory(guest.DataOffset)
		place(t, d, guest.SystemOffset, []byte(record))
		s, err := guest.ReadSystem(d)
		if err != nil {
			var where *guest.LayoutError
			if s != nil || !errors.As(err, &where) {
				t.Fatalf("got %v, %v", s, err)
			}
			return
		}
		if err := guest.WriteSystem(d, s); err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		again, err := guest.ReadSystem(d)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(s)
		b, _ := json.Marshal(again)
		if string(a) != string(b) {
			t.Fatalf("%s becomes %s", a, b)
		}
	})
}
