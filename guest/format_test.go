package guest_test

import (
	"errors"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
)

func mbrSpec(parts ...guest.PartitionSpec) guest.DiskSpec {
	return guest.DiskSpec{Scheme: guest.MBR, Signature: 1, Partitions: parts}
}

func gptSpec(parts ...guest.PartitionSpec) guest.DiskSpec {
	return guest.DiskSpec{Scheme: guest.GPT, GUID: diskGUID, Partitions: parts}
}

func with(fs guest.FileSystem) guest.PartitionSpec { return guest.PartitionSpec{FileSystem: fs} }

// TestFormatRefuses asks for what cannot be: the disk stays as it was.
func TestFormatRefuses(t *testing.T) {
	long := guest.FileSystem{Label: "A LABEL THAT IS MUCH TOO LONG FOR ANY OF THEM"}
	labelled := func(k guest.FileSystemKind) guest.PartitionSpec {
		fs := long
		fs.Kind = k
		return with(fs)
	}
	for name, c := range map[string]struct {
		spec guest.DiskSpec
		want guest.Code
	}{
		"raw":                    {guest.DiskSpec{}, guest.ErrSpec},
		"no signature":           {guest.DiskSpec{Scheme: guest.MBR}, guest.ErrSpec},
		"no id":                  {guest.DiskSpec{Scheme: guest.GPT}, guest.ErrSpec},
		"both":                   {guest.DiskSpec{Scheme: guest.GPT, GUID: diskGUID, Signature: 1}, guest.ErrSpec},
		"five":                   {mbrSpec(make([]guest.PartitionSpec, 5)...), guest.ErrSpec},
		"129":                    {gptSpec(make([]guest.PartitionSpec, 129)...), guest.ErrSpec},
		"two rests":              {mbrSpec(guest.PartitionSpec{}, guest.PartitionSpec{}), guest.ErrSpec},
		"half a sector":          {mbrSpec(guest.PartitionSpec{Size: 1000}), guest.ErrSpec},
		"negative":               {mbrSpec(guest.PartitionSpec{Size: -512}), guest.ErrSpec},
		"too large":              {mbrSpec(guest.PartitionSpec{Size: 65 * mib}), guest.ErrTruncated},
		"enormous":               {mbrSpec(guest.PartitionSpec{Size: 1<<62 + 512}), guest.ErrTruncated},
		"no room":                {mbrSpec(guest.PartitionSpec{Size: 40 * mib}, guest.PartitionSpec{Size: 40 * mib}), guest.ErrTruncated},
		"no rest":                {mbrSpec(guest.PartitionSpec{Size: 63 * mib}, guest.PartitionSpec{}), guest.ErrTruncated},
		"reserved in MBR":        {mbrSpec(guest.PartitionSpec{Role: guest.RoleReserved}), guest.ErrSpec},
		"extended":               {mbrSpec(guest.PartitionSpec{Type: guest.PartitionType{MBR: 5}}), guest.ErrSpec},
		"protective":             {mbrSpec(guest.PartitionSpec{Type: guest.PartitionType{MBR: 0xEE}}), guest.ErrSpec},
		"contradiction":          {mbrSpec(guest.PartitionSpec{Role: guest.RoleEFI, Type: guest.PartitionType{MBR: 7}}), guest.ErrSpec},
		"type of the other":      {gptSpec(guest.PartitionSpec{Type: guest.PartitionType{MBR: 7}}), guest.ErrSpec},
		"GUID in MBR":            {mbrSpec(guest.PartitionSpec{Type: guest.PartitionType{GPT: diskGUID}}), guest.ErrSpec},
		"foreign without type":   {gptSpec(guest.PartitionSpec{Role: guest.RoleForeign}), guest.ErrSpec},
		"name in MBR":            {mbrSpec(guest.PartitionSpec{Name: "x"}), guest.ErrSpec},
		"letter in MBR":          {mbrSpec(guest.PartitionSpec{NoDriveLetter: true}), guest.ErrSpec},
		"active in GPT":          {gptSpec(guest.PartitionSpec{Active: true}), guest.ErrSpec},
		"hidden EFI":             {gptSpec(guest.PartitionSpec{Role: guest.RoleEFI, Hidden: true}), guest.ErrSpec},
		"hidden linux":           {mbrSpec(guest.PartitionSpec{Hidden: true, FileSystem: guest.FileSystem{Kind: guest.Ext4}}), guest.ErrSpec},
		"long name":              {gptSpec(guest.PartitionSpec{Name: "0123456789012345678901234567890123456"}), guest.ErrSpec},
		"serial of nothing":      {mbrSpec(with(guest.FileSystem{Serial: 1})), guest.ErrSpec},
		"UUID of NTFS":           {mbrSpec(with(guest.FileSystem{Kind: guest.NTFS, UUID: fsUUID})), guest.ErrSpec},
		"serial of ext":          {mbrSpec(with(guest.FileSystem{Kind: guest.Ext2, Serial: 1})), guest.ErrSpec},
		"XFS":                    {mbrSpec(with(guest.FileSystem{Kind: guest.XFS})), guest.ErrSpec},
		"NTFS label":             {mbrSpec(labelled(guest.NTFS)), guest.ErrSpec},
		"FAT label":              {mbrSpec(labelled(guest.FAT32)), guest.ErrSpec},
		"exFAT label":            {mbrSpec(labelled(guest.ExFAT)), guest.ErrSpec},
		"ReFS label":             {mbrSpec(labelled(guest.ReFS)), guest.ErrSpec},
		"ext label":              {mbrSpec(labelled(guest.Ext4)), guest.ErrSpec},
		"no label":               {mbrSpec(with(guest.FileSystem{Kind: guest.FAT12, Label: "NO NAME"})), guest.ErrSpec},
		"lower case":             {mbrSpec(with(guest.FileSystem{Kind: guest.FAT12, Label: "a"})), guest.ErrSpec},
		"NTFS clusters of 3":     {mbrSpec(with(guest.FileSystem{Kind: guest.NTFS, ClusterSize: 1536})), guest.ErrSpec},
		"NTFS clusters of 128K":  {mbrSpec(with(guest.FileSystem{Kind: guest.NTFS, ClusterSize: 128 << 10})), guest.ErrSpec},
		"FAT clusters":           {mbrSpec(with(guest.FileSystem{Kind: guest.FAT32, ClusterSize: 1000})), guest.ErrSpec},
		"FAT clusters of 128K":   {mbrSpec(with(guest.FileSystem{Kind: guest.FAT32, ClusterSize: 128 << 10})), guest.ErrSpec},
		"FAT serial":             {mbrSpec(with(guest.FileSystem{Kind: guest.FAT32, Serial: 1 << 32})), guest.ErrSpec},
		"FAT16, few clusters":    {mbrSpec(guest.PartitionSpec{Size: mib, FileSystem: guest.FileSystem{Kind: guest.FAT16}}), guest.ErrSpec},
		"FAT12, many clusters":   {mbrSpec(with(guest.FileSystem{Kind: guest.FAT12, ClusterSize: 512})), guest.ErrSpec},
		"exFAT clusters":         {mbrSpec(with(guest.FileSystem{Kind: guest.ExFAT, ClusterSize: 256})), guest.ErrSpec},
		"exFAT too small":        {mbrSpec(guest.PartitionSpec{Size: mib / 2, FileSystem: guest.FileSystem{Kind: guest.ExFAT}}), guest.ErrTruncated},
		"ReFS clusters":          {mbrSpec(with(guest.FileSystem{Kind: guest.ReFS, ClusterSize: 1})), guest.ErrSpec},
		"NTFS too small":         {mbrSpec(guest.PartitionSpec{Size: 512, FileSystem: guest.FileSystem{Kind: guest.NTFS}}), guest.ErrTruncated},
		"ReFS too small":         {mbrSpec(guest.PartitionSpec{Size: 512, FileSystem: guest.FileSystem{Kind: guest.ReFS}}), guest.ErrTruncated},
		"ext too small":          {mbrSpec(guest.PartitionSpec{Size: 512, FileSystem: guest.FileSystem{Kind: guest.Ext4}}), guest.ErrTruncated},
		"ext blocks":             {mbrSpec(with(guest.FileSystem{Kind: guest.Ext4, ClusterSize: 512})), guest.ErrSpec},
		"floppy in parts":        {guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: make([]guest.PartitionSpec, 2)}, guest.ErrSpec},
		"floppy without content": {guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: make([]guest.PartitionSpec, 1)}, guest.ErrSpec},
		"floppy with a size": {guest.DiskSpec{Scheme: guest.SuperFloppy, Partitions: []guest.PartitionSpec{
			{Size: mib, FileSystem: guest.FileSystem{Kind: guest.NTFS}}}}, guest.ErrSpec},
	} {
		d := disk.NewMemory(64 * mib)
		var place *guest.LayoutError
		if err := guest.Format(d, c.spec); !errors.Is(err, c.want) || !errors.As(err, &place) || place.Op != "Format" {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if same, err := disk.Equal(d, disk.NewMemory(64*mib)); !same || err != nil {
			t.Errorf("%s: the disk was written, %v", name, err)
		}
	}
	if err := guest.Format(disk.NewMemory(64*mib).Freeze(), mixedMBR); !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("a snapshot: %v", err)
	}
	if err := guest.Format(disk.NewMemory(3<<40), mbrSpec(with(guest.FileSystem{Kind: guest.NTFS}))); !errors.Is(err, guest.ErrSpec) {
		t.Errorf("an MBR of 3 TiB: %v", err)
	}
	for _, size := range []int64{0, 511, 512, mib} {
		if err := guest.Format(disk.NewMemory(size), gptSpec()); size < 2*mib && err == nil && size < 34*512*2 {
			t.Errorf("a GPT on %d bytes was made", size)
		}
	}
}

// TestFormatTypes holds the types that roles and file systems get.
func TestFormatTypes(t *testing.T) {
	for _, c := range []struct {
		spec guest.PartitionSpec
		mbr  string
		gpt  string
	}{
		{with(guest.FileSystem{Kind: guest.NTFS}), "0x07", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"},
		{guest.PartitionSpec{Hidden: true}, "0x17", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"},
		{with(guest.FileSystem{Kind: guest.FAT16}), "0x06", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"},
		{with(guest.FileSystem{Kind: guest.Ext3}), "0x83", "0fc63daf-8483-4772-8e79-3d69d8477de4"},
		{guest.PartitionSpec{Role: guest.RoleEFI}, "0xef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"},
		{guest.PartitionSpec{Role: guest.RoleRecovery}, "0x27", "de94bba4-06d1-4d40-a16a-bfd50179d6ac"},
		{guest.PartitionSpec{Role: guest.RoleReserved}, "", "e3c9e316-0b5c-4db8-817d-f92df00215ae"},
		{guest.PartitionSpec{Role: guest.RoleOEM}, "0x12", ""},
		{guest.PartitionSpec{Role: guest.RoleDynamic}, "0x42", "af9b60a0-1431-4f62-bc68-3311714a69ad"},
		{guest.PartitionSpec{Role: guest.RoleStorageSpace}, "0xe7", "e75caf8f-f680-4cee-afa3-b001e56efc2d"},
	} {
		for _, spec := range []guest.DiskSpec{mbrSpec(c.spec), gptSpec(c.spec)} {
			want := c.mbr
			if spec.Scheme == guest.GPT {
				want = c.gpt
			}
			d := disk.NewMemory(64 * mib)
			if err := guest.Format(d, spec); (err == nil) != (want != "") {
				t.Errorf("%v %+v: %v", spec.Scheme, c.spec, err)
			}
			if want == "" {
				continue
			}
			l := layoutOf(t, d)
			p := l.Partitions[0]
			if p.Type.String() != want || c.spec.Role != guest.RoleData && p.Role != c.spec.Role || p.Hidden != c.spec.Hidden {
				t.Errorf("%v %+v becomes %v", spec.Scheme, c.spec, &p)
			}
		}
	}
}

// TestFormatIDs adds indexes to the disk's GUID, with carry.
func TestFormatIDs(t *testing.T) {
	spec := gptSpec(guest.PartitionSpec{Size: mib}, guest.PartitionSpec{Size: mib, ID: fsUUID})
	spec.GUID = guid.MustParse("00000000-0000-0000-0000-0000FFFFFFFF")
	l := layoutOf(t, newDisk(t, 8*mib, spec))
	for i, want := range []string{"00000000-0000-0000-0000-000000000000", guid.String(fsUUID)} {
		if got := guid.String(l.Partitions[i].ID); got != want {
			t.Errorf("partition %d has id %s, want %s", i+1, got, want)
		}
	}
}

// TestLargeDisk formats a disk of 64 TiB, which costs what is written.
func TestLargeDisk(t *testing.T) {
	d := newDisk(t, 64<<40, gptSpec(guest.PartitionSpec{Size: 40 << 40, FileSystem: guest.FileSystem{Kind: guest.NTFS}},
		with(guest.FileSystem{Kind: guest.ExFAT, ClusterSize: 32 << 20})))
	if facts := guest.Judge(guest.Rules{}, layoutOf(t, d)); len(facts) != 1 || facts[0].FileSystem.Kind != guest.ExFAT {
		t.Errorf("facts are %v", facts)
	}
	var written int64
	for x := range disk.Extents(d, 0, d.Size()) {
		written += x.Len
	}
	if written > mib {
		t.Errorf("%d bytes are allocated", written)
	}
}
