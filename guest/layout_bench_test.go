package guest_test

import (
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

// BenchmarkReadLayout reads what a decision about a virtual machine reads.
func BenchmarkReadLayout(b *testing.B) {
	for name, spec := range map[string]guest.DiskSpec{
		"mbr": mbrSpec(with(guest.FileSystem{Kind: guest.NTFS})), "gpt": mixedGPT,
	} {
		b.Run(name, func(b *testing.B) {
			d := newDisk(b, 64*mib, spec)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := guest.ReadLayout(d, d.Size()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFormat makes the usual disk and installs a system on it.
func BenchmarkFormat(b *testing.B) {
	spec, system := mbrSpec(with(guest.FileSystem{Kind: guest.NTFS})), sqlServer()
	b.ReportAllocs()
	for b.Loop() {
		d := disk.NewMemory(64 * mib)
		if err := guest.Format(d, spec); err != nil {
			b.Fatal(err)
		}
		if err := guest.WriteSystem(disk.Section(d, mib, 63*mib), system); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadSystem reads the record that a machine starts from.
func BenchmarkReadSystem(b *testing.B) {
	d := disk.NewMemory(mib)
	if err := guest.WriteSystem(d, sqlServer()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := guest.ReadSystem(d); err != nil {
			b.Fatal(err)
		}
	}
}
