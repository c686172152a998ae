package guest_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"pgregory.net/rapid"
)

// drawFileSystem draws what a partition of size bytes can be formatted with.
func drawFileSystem(t *rapid.T, size int64) guest.FileSystem {
	all := []guest.FileSystemKind{guest.NoFileSystem, guest.NTFS, guest.ReFS, guest.ExFAT, guest.FAT32,
		guest.Ext2, guest.Ext3, guest.Ext4, guest.FAT12}
	if size >= 4*mib {
		all = append(all, guest.FAT16)
	}
	fs := guest.FileSystem{Kind: rapid.SampledFrom(all).Draw(t, "file system")}
	switch fs.Kind {
	case guest.NTFS, guest.ReFS:
		fs.Serial = rapid.Uint64().Draw(t, "serial")
		fs.ClusterSize = 512 << rapid.IntRange(0, 7).Draw(t, "cluster")
	case guest.ExFAT, guest.FAT12, guest.FAT16, guest.FAT32:
		fs.Serial = uint64(rapid.Uint32().Draw(t, "serial"))
	case guest.Ext2, guest.Ext3, guest.Ext4:
		copy(fs.UUID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
		fs.ClusterSize = 1024 << rapid.IntRange(0, 6).Draw(t, "block")
		fs.Label = rapid.StringMatching(`[A-Za-z0-9_]{0,16}`).Draw(t, "label")
	}
	if fs.Kind == guest.FAT12 || fs.Kind == guest.FAT16 || fs.Kind == guest.FAT32 {
		fs.Label = rapid.StringMatching(`[A-Z0-9_]{0,11}`).Draw(t, "label")
	}
	return fs
}

// drawSpec draws a disk and its size.
func drawSpec(t *rapid.T) (guest.DiskSpec, int64) {
	spec := guest.DiskSpec{Scheme: guest.MBR, Signature: rapid.Uint32Min(1).Draw(t, "signature")}
	most := 4
	if rapid.Bool().Draw(t, "gpt") {
		spec = guest.DiskSpec{Scheme: guest.GPT, GUID: diskGUID}
		spec.GUID[0] = rapid.Byte().Draw(t, "id")
		most = 8
	}
	size := int64(2 * mib)
	n := rapid.IntRange(0, most).Draw(t, "partitions")
	rest := rapid.IntRange(-1, n-1).Draw(t, "rest")
	for i := range n {
		length := rapid.Int64Range(2*mib/512, 8*mib/512).Draw(t, "sectors") * 512
		size += length + mib
		p := guest.PartitionSpec{Size: length, FileSystem: drawFileSystem(t, length)}
		if i == rest {
			p.Size = 0
		}
		if spec.Scheme == guest.GPT {
			p.Name = rapid.StringMatching(`[ -~äöü☃]{0,36}`).Draw(t, "name")
			p.Role = rapid.SampledFrom([]guest.Role{guest.RoleData, guest.RoleEFI, guest.RoleRecovery, guest.RoleDynamic}).Draw(t, "role")
		} else {
			p.Role = rapid.SampledFrom([]guest.Role{guest.RoleData, guest.RoleRecovery, guest.RoleOEM, guest.RoleDynamic}).Draw(t, "role")
			p.Active = rapid.Bool().Draw(t, "active")
		}
		spec.Partitions = append(spec.Partitions, p)
	}
	return spec, size
}

// TestFormatReadsBack formats a disk and reads the spec back.
func TestFormatReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, size := drawSpec(t)
		d := disk.NewMemory(size)
		if err := guest.Format(d, spec); err != nil {
			t.Fatal(err)
		}
		l, err := guest.ReadLayout(d, size)
		if err != nil {
			t.Fatal(err)
		}
		got := guest.DiskSpec{Scheme: l.Scheme, Signature: l.Signature, GUID: l.GUID}
		want := spec
		want.Partitions = nil
		dynamic := false
		for i, p := range l.Partitions {
			s := spec.Partitions[i]
			dynamic = dynamic || p.Role == guest.RoleDynamic
			if p.Damage != nil || p.Index != i+1 || p.Off%mib != 0 || p.Off <= 0 || p.Off+p.Len > size {
				t.Fatalf("partition %v", &p)
			}
			if s.Size == 0 {
				s.Size = p.Len
			}
			if s.Role == guest.RoleData && p.Role == guest.RoleForeign {
				s.Role = p.Role // the ext family has a type of its own
			}
			s.FileSystem = completed(s.FileSystem, p.FileSystem)
			want.Partitions = append(want.Partitions, s)
			got.Partitions = append(got.Partitions, guest.PartitionSpec{Size: p.Len, Role: p.Role, Active: p.Active, Name: p.Name, FileSystem: p.FileSystem})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-spec +layout\n%s", diff)
		}
		if len(l.Partitions) != len(spec.Partitions) || l.Dynamic != dynamic || l.Damage != nil {
			t.Fatalf("got %v", l)
		}
	})
}

// completed fills in what a spec leaves to Format, and what the layout reports
// beyond the spec.
func completed(spec, found guest.FileSystem) guest.FileSystem {
	if spec.ClusterSize == 0 {
		spec.ClusterSize = found.ClusterSize
	}
	spec.SectorSize, spec.Sectors = found.SectorSize, found.Sectors
	return spec
}

// TestDamagedDisks writes noise over disks, where tables and boot sectors are
// and elsewhere. Whatever comes of it obeys the promises that checkLayout knows.
func TestDamagedDisks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, size := drawSpec(t)
		d := disk.NewMemory(size)
		if err := guest.Format(d, spec); err != nil {
			t.Fatal(err)
		}
		spots := []int64{0, 446, 462, 510, 512, 584, 1024, 1056, mib, mib + 11, mib + 48, size - 512, size - 33*512}
		for range rapid.IntRange(1, 4).Draw(t, "wounds") {
			at := rapid.SampledFrom(spots).Draw(t, "spot") + rapid.Int64Range(0, 16).Draw(t, "shift")
			noise := rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(t, "noise")
			if _, err := d.WriteAt(noise[:min(int64(len(noise)), size-at)], at); err != nil {
				t.Fatal(err)
			}
		}
		l, err := guest.ReadLayout(d, size)
		if fault := checkLayout(l, err, size); fault != "" {
			t.Fatal(fault)
		}
	})
}

// checkLayout returns the first promise that a result of ReadLayout breaks.
func checkLayout(l *guest.Layout, err error, size int64) string {
	facts := guest.Judge(guest.Rules{ReFS: true}, l)
	if err != nil {
		if l != nil || len(facts) != 1 || !facts[0].Disqualifies() {
			return fmt.Sprintf("%v comes with %v and %v", err, l, facts)
		}
		return ""
	}
	if len(l.String()) == 0 || len(l.Partitions) > 1024 {
		return fmt.Sprintf("%d partitions", len(l.Partitions))
	}
	judged := map[int]guest.Fact{}
	for _, f := range facts {
		judged[f.Partition] = f
		if len(f.String()) == 0 {
			return "a fact prints nothing"
		}
	}
	return checkPartitions(l, judged, size)
}

func checkPartitions(l *guest.Layout, judged map[int]guest.Fact, size int64) string {
	for i := range l.Partitions {
		p := &l.Partitions[i]
		f, found := judged[p.Index]
		switch {
		case p.Damage != nil && (!found || !f.Disqualifies()):
			return fmt.Sprintf("damage of %v is passed over", p)
		case p.Damage != nil && p.FileSystem.Kind != guest.UnknownFileSystem:
			return fmt.Sprintf("damaged partition has a file system: %v", p)
		case p.Damage != nil:
			continue
		case p.Off < 0 || p.Len <= 0 || p.Off > size || p.Len > size-p.Off:
			return fmt.Sprintf("%v lies outside", p)
		case !found && !l.Dynamic && !p.Exempt() && p.FileSystem.Kind != guest.NTFS && p.FileSystem.Kind != guest.ReFS:
			return fmt.Sprintf("%v passes", p)
		}
		for j := range i {
			q := &l.Partitions[j]
			if q.Damage == nil && q.Role != guest.RoleExtended && p.Role != guest.RoleExtended && p.Off < q.Off+q.Len && q.Off < p.Off+p.Len {
				return fmt.Sprintf("%v and %v overlap", p, q)
			}
		}
	}
	return ""
}
