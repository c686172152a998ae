package guest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strconv"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// newDisk makes a disk from a spec.
func newDisk(t testing.TB, size int64, spec guest.DiskSpec) *disk.Memory {
	t.Helper()
	d := disk.NewMemory(size)
	if err := guest.Format(d, spec); err != nil {
		t.Fatal(err)
	}
	return d
}

// layoutOf reads a disk that must have a layout.
func layoutOf(t testing.TB, d disk.Source) *guest.Layout {
	t.Helper()
	l, err := guest.ReadLayout(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// poke changes bytes of a disk.
func poke(t testing.TB, d disk.Store, off int64, b ...byte) {
	t.Helper()
	if _, err := d.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// A failing source fails the n-th read, counted from 0.
type failing struct {
	disk.Source
	n   int
	err error
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	f.n--
	if f.n == -1 {
		return 0, f.err
	}
	return f.Source.ReadAt(p, off)
}

// TestReadErrors fails every single read of every kind of disk: the error comes
// back, and never a layout that leaves something out.
func TestReadErrors(t *testing.T) {
	broken := newDisk(t, 64*mib, mixedGPT)
	poke(t, broken, 512, 'X')
	chain, err := loadImage("mbr")
	if err != nil {
		t.Fatal(err)
	}
	logical := disk.NewMemory(int64(len(chain)))
	poke(t, logical, 0, chain...)
	for name, d := range map[string]disk.Source{
		"mbr": newDisk(t, 64*mib, mixedMBR), "gpt": newDisk(t, 64*mib, mixedGPT),
		"broken gpt": broken, "logical": logical, "raw": disk.NewMemory(mib),
	} {
		cause := errors.New("bad sector")
		n := 0
		for ; ; n++ {
			f := &failing{Source: d, n: n, err: cause}
			l, err := guest.ReadLayout(f, d.Size())
			if f.n >= 0 {
				break
			}
			var place *guest.LayoutError
			if l != nil || !errors.Is(err, cause) || !errors.As(err, &place) {
				t.Fatalf("%s: read %d fails, and the result is %v, %v", name, n, l, err)
			}
		}
		if n < 3 {
			t.Errorf("%s: took %d reads only", name, n)
		}
	}
}

// TestShortDisk tells the reader of a disk that is shorter than promised.
func TestShortDisk(t *testing.T) {
	d := newDisk(t, 64*mib, mixedGPT)
	short := disk.Section(d, 0, 2*mib)
	var place *guest.LayoutError
	if l, err := guest.ReadLayout(short, 64*mib); !errors.As(err, &place) || l != nil {
		t.Errorf("got %v, %v; want the read error", l, err)
	}
}

// TestGPTChecksums changes every byte of the first header and its entries, one
// after the other: the second copy serves, and the layout says so.
func TestGPTChecksums(t *testing.T) {
	spec := guest.DiskSpec{Scheme: guest.GPT, GUID: diskGUID, Partitions: []guest.PartitionSpec{
		{Size: mib, Name: "one", FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 1}}, {},
	}}
	d := newDisk(t, 4*mib, spec)
	want := layoutOf(t, d)
	check := func(off int64, twin bool) {
		t.Helper()
		f := d.Fork()
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		poke(t, f, off, b[0]^0x5A)
		l := layoutOf(t, f)
		if len(l.Damage) != 1 {
			t.Fatalf("byte %d changed: damage is %v", off, l.Damage)
		}
		facts := guest.Judge(guest.Rules{}, l)
		if facts[0].Kind != guest.RepairedTable || facts[0].Disqualifies() {
			t.Errorf("byte %d changed: first fact is %v", off, facts[0])
		}
		l.Damage = nil
		if got, want := l.String(), want.String(); got != want {
			t.Errorf("byte %d changed, second copy %v: got %s\nwant %s", off, twin, got, want)
		}
	}
	last := d.Size()/512 - 1
	for off := range int64(92) {
		check(512+off, false)
		check(last*512+off, true)
	}
	for off := int64(0); off < 128*128; off += 37 {
		check(1024+off, false)
		check((last-32)*512+off, true)
	}
}

// TestGPTOf4KSectors reads a table that counts in sectors of 4096 bytes.
func TestGPTOf4KSectors(t *testing.T) {
	const sector, size = 4096, 32 * mib
	d := disk.NewMemory(size)
	guard := make([]byte, 512)
	guard[446+4], guard[446+8] = 0xEE, 1
	binary.LittleEndian.PutUint32(guard[446+12:], size/sector-1)
	guard[510], guard[511] = 0x55, 0xAA
	poke(t, d, 0, guard...)
	entries := make([]byte, 128*128)
	copy(entries, "\xa2\xa0\xd0\xeb\xe5\xb9\x33\x44\x87\xc0\x68\xb6\xb7\x26\x99\xc7")
	entries[16] = 1
	binary.LittleEndian.PutUint64(entries[32:], 256)
	binary.LittleEndian.PutUint64(entries[40:], 1023)
	head := func(at, other, array uint64) {
		h := make([]byte, 92)
		copy(h, "EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00")
		for i, v := range []uint64{at, other, 6, size/sector - 6} {
			binary.LittleEndian.PutUint64(h[24+8*i:], v)
		}
		h[56] = 7
		binary.LittleEndian.PutUint64(h[72:], array)
		binary.LittleEndian.PutUint32(h[80:], 128)
		binary.LittleEndian.PutUint32(h[84:], 128)
		binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h))
		poke(t, d, int64(at*sector), h...)
		poke(t, d, int64(array*sector), entries...)
	}
	head(1, size/sector-1, 2)
	head(size/sector-1, 1, size/sector-5)
	l := layoutOf(t, d)
	if l.SectorSize != sector || l.Damage != nil || len(l.Partitions) != 1 {
		t.Fatalf("got %+v", l)
	}
	if p := l.Partitions[0]; p.Off != mib || p.Len != 3*mib || p.Role != guest.RoleData || p.Damage != nil {
		t.Errorf("partition is %v", &p)
	}
}

// TestGPTBounds puts numbers of the first header and its first entry on either
// side of what they may be. The disk has 8192 sectors, and no second copy.
func TestGPTBounds(t *testing.T) {
	const count, size, array, first, last, headerSize = 512 + 80, 512 + 84, 512 + 72, 512 + 40, 512 + 48, 512 + 12
	const from, to = 1024 + 32, 1024 + 40
	type field struct{ at, value int64 }
	for _, c := range []struct {
		fields []field
		want   error // of the table
		damage error // of the partition
	}{
		{nil, nil, nil},
		{[]field{{headerSize, 512}}, nil, nil},
		{[]field{{headerSize, 513}}, guest.ErrField, nil},
		{[]field{{headerSize, 91}}, guest.ErrField, nil},
		{[]field{{count, 1024}, {first, 258}}, nil, nil},
		{[]field{{count, 1025}, {first, 300}}, guest.ErrLimit, nil},
		{[]field{{count, 0}}, guest.ErrField, nil},
		{[]field{{size, 512}, {first, 130}}, nil, nil},
		{[]field{{size, 512}, {first, 129}}, guest.ErrOverlap, nil},
		{[]field{{size, 1024}, {first, 300}}, guest.ErrLimit, nil},
		{[]field{{size, 192}}, guest.ErrField, nil},
		{[]field{{array, 1}}, guest.ErrRange, nil},
		{[]field{{array, 8160}}, nil, errNoPartition},
		{[]field{{array, 8161}}, guest.ErrRange, nil},
		{[]field{{array, 1 << 62}}, guest.ErrRange, nil},
		{[]field{{array, 8158}}, guest.ErrOverlap, nil},
		{[]field{{last, 8159}, {array, 8160}}, nil, errNoPartition},
		{[]field{{last, 8160}, {array, 8160}}, guest.ErrOverlap, nil},
		{[]field{{first, 33}}, guest.ErrOverlap, nil},
		{[]field{{first, 1}, {last, 1}}, guest.ErrOverlap, nil},
		{[]field{{first, 2048}, {last, 2048}}, nil, guest.ErrRange},
		{[]field{{first, 2048}, {last, 2048}, {to, 2048}}, nil, nil},
		{[]field{{first, 2048}, {last, 2047}}, guest.ErrRange, nil},
		{[]field{{last, 8191}}, nil, nil},
		{[]field{{last, 8192}}, guest.ErrRange, nil},
		{[]field{{from, 34}, {to, 34}}, nil, nil},
		{[]field{{from, 33}, {to, 34}}, nil, guest.ErrRange},
		{[]field{{to, 8158}}, nil, nil},
		{[]field{{to, 8159}}, nil, guest.ErrRange},
		{[]field{{to, 2047}}, nil, guest.ErrRange},
		{[]field{{512 + 32, 1}}, guest.ErrLoop, nil},
	} {
		d := newDisk(t, 4*mib, gptSpec(guest.PartitionSpec{Size: mib}))
		poke(t, d, 4*mib-512, make([]byte, 512)...)
		for _, f := range c.fields {
			b := binary.LittleEndian.AppendUint64(nil, uint64(f.value))
			if f.at == count || f.at == size || f.at == headerSize {
				b = b[:4]
			}
			poke(t, d, f.at, b...)
		}
		if err := (&bench{d: d}).seal(1); err != nil {
			t.Fatal(err)
		}
		l, err := guest.ReadLayout(d, d.Size())
		if !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.fields, err, c.want)
		}
		if c.want != nil || err != nil {
			continue
		}
		var damage error
		switch {
		case len(l.Partitions) == 0:
			damage = errNoPartition
		case l.Partitions[0].Damage != nil:
			damage = l.Partitions[0].Damage
		}
		if !errors.Is(damage, c.damage) {
			t.Errorf("%v: partition has %v, want %v", c.fields, damage, c.damage)
		}
	}
}

var errNoPartition = errors.New("no partition")

// TestLongChain bounds the number of logical partitions.
func TestLongChain(t *testing.T) {
	for _, n := range []int{255, 256, 3000} {
		d := disk.NewMemory(16 * mib)
		b := bench{d: d}
		if err := b.entry([]string{"446", "0", "5", "8", "32000"}); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			at := int64(8+8*i) * 512
			if err := errors.Join(b.entry([]string{itoa(at + 446), "0", "7", "1", "7"}),
				b.entry([]string{itoa(at + 462), "0", "5", itoa(int64(8 * (i + 1))), "8"})); err != nil {
				t.Fatal(err)
			}
		}
		poke(t, d, int64(8+8*(n-1))*512+462, make([]byte, 16)...)
		l := layoutOf(t, d)
		box := l.Partitions[0]
		if sound := n <= 255; sound != (box.Damage == nil) || len(l.Partitions) != 1+min(n, 255) {
			t.Errorf("chain of %d: %d partitions, %v", n, len(l.Partitions), box.Damage)
		}
		if box.Damage != nil && !errors.Is(box.Damage, guest.ErrLimit) {
			t.Errorf("chain of %d: %v", n, box.Damage)
		}
	}
}

// TestDetectAgrees checks that a volume is taken for the same thing alone and
// as part of a disk, and that the volume must be as large as it says.
func TestDetectAgrees(t *testing.T) {
	d := newDisk(t, 64*mib, mixedGPT)
	for _, p := range layoutOf(t, d).Partitions {
		if p.Role == guest.RoleReserved {
			continue
		}
		v := disk.Section(d, p.Off, p.Len)
		got, err := guest.DetectFileSystem(v, v.Size())
		if err != nil || got != p.FileSystem {
			t.Errorf("partition %d alone is %v, %v; want %v", p.Index, got, err, p.FileSystem)
		}
		if got, err := guest.DetectFileSystem(v, p.Len-mib/2); err != nil || got.Kind != guest.UnknownFileSystem {
			t.Errorf("partition %d without its end is %v, %v; want unknown", p.Index, got, err)
		}
	}
	for _, size := range []int64{-1, 0, 511} {
		if got, err := guest.DetectFileSystem(d, size); err != nil || got.Kind != guest.UnknownFileSystem {
			t.Errorf("%d bytes are %v, %v; want unknown", size, got, err)
		}
	}
	cause := errors.New("bad sector")
	if got, err := guest.DetectFileSystem(&failing{Source: d, err: cause}, mib); !errors.Is(err, cause) || got.SnapshotCapable() {
		t.Errorf("got %v, %v; want the read error", got, err)
	}
}

// TestVolumeLetters runs out of letters.
func TestVolumeLetters(t *testing.T) {
	spec := guest.DiskSpec{Scheme: guest.GPT, GUID: diskGUID}
	for range 30 {
		spec.Partitions = append(spec.Partitions, guest.PartitionSpec{Size: mib, FileSystem: guest.FileSystem{Kind: guest.NTFS}})
	}
	d := newDisk(t, 64*mib, spec)
	l := layoutOf(t, d)
	var names bytes.Buffer
	vs := guest.Volumes(nil, l)
	for _, v := range vs {
		names.WriteByte(max(v.Letter, '.'))
	}
	if got := names.String(); got != "CDEFGHIJKLMNOPQRSTUVWXYZ......" {
		t.Errorf("letters are %s", got)
	}
	if v := vs[29]; v.Name() != "disk 1 partition 30" || v.Store(d).Size() != mib || v.Exempt {
		t.Errorf("the last volume is %v", v)
	}
	if x := vs[0].Data(); x.Off != guest.DataOffset || x.End() != mib-guest.TailSize {
		t.Errorf("data lies in %v", x)
	}
}

// TestBootVolume ranks the claims to C: over several disks.
func TestBootVolume(t *testing.T) {
	ntfs := guest.FileSystem{Kind: guest.NTFS}
	disks := []*disk.Memory{
		newDisk(t, 4*mib, guest.DiskSpec{Scheme: guest.MBR, Signature: 1, Partitions: []guest.PartitionSpec{{FileSystem: ntfs}}}),
		newDisk(t, 4*mib, guest.DiskSpec{Scheme: guest.MBR, Signature: 2, Partitions: []guest.PartitionSpec{{FileSystem: ntfs, Active: true}}}),
		newDisk(t, 4*mib, guest.DiskSpec{Scheme: guest.MBR, Signature: 3, Partitions: []guest.PartitionSpec{{FileSystem: ntfs}}}),
	}
	letters := func() string {
		var layouts []*guest.Layout
		for _, d := range disks {
			layouts = append(layouts, layoutOf(t, d))
		}
		s := ""
		for _, v := range guest.Volumes(layouts...) {
			s += v.Name()
		}
		return s
	}
	if got := letters(); got != "D:C:E:" {
		t.Errorf("the active partition of disk 1: %s", got)
	}
	system := &guest.System{OS: guest.WindowsServer2008, ComputerName: "PC"}
	if err := guest.WriteSystem(disk.Section(disks[2], mib, 3*mib), system); err != nil {
		t.Fatal(err)
	}
	if got := letters(); got != "D:E:C:" {
		t.Errorf("a system record on disk 2: %s", got)
	}
}

// TestRules lets ReFS pass where the rules say so, and nothing else.
func TestRules(t *testing.T) {
	d := newDisk(t, 64*mib, mixedGPT)
	l := layoutOf(t, d)
	for _, c := range []struct {
		rules guest.Rules
		want  []int // partitions
	}{{guest.Rules{}, []int{6, 7}}, {guest.Rules{ReFS: true}, []int{7}}} {
		var got []int
		for _, f := range guest.Judge(c.rules, nil, l)[1:] {
			if f.Kind != guest.IncapableVolume || f.Disk != 1 || !f.Disqualifies() {
				t.Errorf("fact is %v", f)
			}
			got = append(got, f.Partition)
		}
		if len(got) != len(c.want) || got[0] != c.want[0] {
			t.Errorf("%+v: partitions %v stand in the way, want %v", c.rules, got, c.want)
		}
	}
	if f := guest.Judge(guest.Rules{}, nil)[0]; f.Kind != guest.UnreadableDisk || !f.Disqualifies() {
		t.Errorf("a disk without layout gives %v", f)
	}
}
