package volume_test

import (
	"fmt"
	"io/fs"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// files returns a volume with so many files, 1,000 in a directory.
func files(b *testing.B, count int) *volume.Volume {
	v := volume.New(volume.Config{})
	for i := range count {
		if i%1000 == 0 {
			must(b, v.Mkdir(fmt.Sprintf(`\dir%d`, i/1000)))
		}
		must(b, v.WriteFile(fmt.Sprintf(`\dir%d\file%d.xml`, i/1000, i), []byte("content")))
	}
	return v
}

func BenchmarkShadow(b *testing.B) {
	for _, count := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("files=%d", count), func(b *testing.B) {
			v := files(b, count)
			b.ReportAllocs()
			for b.Loop() {
				must(b, v.CreateShadow(shadowID))
				must(b, v.DeleteShadow(shadowID))
			}
		})
	}
}

// BenchmarkShadowOpenFiles takes shadow copies of a volume with many disks that
// are open for writing.
func BenchmarkShadowOpenFiles(b *testing.B) {
	v := files(b, 10_000)
	for i := range 10_000 {
		f, err := v.OpenFile(fmt.Sprintf(`\dir%d\file%d.xml`, i/1000, i), volume.ReadWrite, volume.Exclusive)
		must(b, err)
		defer f.Close()
	}
	b.ReportAllocs()
	for b.Loop() {
		must(b, v.CreateShadow(shadowID))
		must(b, v.DeleteShadow(shadowID))
	}
}

// BenchmarkWriteAfterShadow writes 4 KiB to a file for the first time after a
// shadow copy was taken of it; the time of the shadow copy is included.
func BenchmarkWriteAfterShadow(b *testing.B) {
	for _, count := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("files=%d", count), func(b *testing.B) {
			v := files(b, count)
			f, err := v.OpenFile(`\dir0\file5.xml`, volume.ReadWrite, volume.Exclusive)
			must(b, err)
			defer f.Close()
			page := make([]byte, 4096)
			page[0] = 1
			b.ReportAllocs()
			for b.Loop() {
				must(b, v.CreateShadow(shadowID))
				_, err := f.WriteAt(page, 0)
				must(b, err)
				must(b, v.DeleteShadow(shadowID))
			}
		})
	}
}

// BenchmarkWrite overwrites 4 KiB of an open file again and again.
func BenchmarkWrite(b *testing.B) {
	v := files(b, 1000)
	f, err := v.OpenFile(`\dir0\file5.xml`, volume.ReadWrite, volume.Exclusive)
	must(b, err)
	defer f.Close()
	page := make([]byte, 4096)
	page[0] = 1
	b.SetBytes(4096)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		_, err := f.WriteAt(page, i%1024*4096)
		must(b, err)
	}
}

func BenchmarkOpenRead(b *testing.B) {
	for _, count := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("files=%d", count), func(b *testing.B) {
			v := files(b, count)
			view := v.FS()
			b.ReportAllocs()
			for b.Loop() {
				_, err := fs.ReadFile(view, "dir0/file5.xml")
				must(b, err)
			}
		})
	}
}

func BenchmarkWriteFile(b *testing.B) {
	v := files(b, 100_000)
	data := []byte("content")
	b.ReportAllocs()
	for b.Loop() {
		must(b, v.WriteFile(`\dir0\file5.xml`, data))
	}
}

// BenchmarkOneDirectory lists, and looks a file up in, one directory of 100,000.
func BenchmarkOneDirectory(b *testing.B) {
	v := volume.New(volume.Config{})
	for i := range 100_000 {
		must(b, v.WriteFile(fmt.Sprintf("file%d", i*7919%100_000), nil))
	}
	b.Run("Stat", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := v.Stat(`\FILE77777`)
			must(b, err)
		}
	})
	b.Run("ReadDir", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := v.FS().ReadDir(".")
			must(b, err)
		}
	})
	b.Run("CreateRemove", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(b, v.WriteFile(`\file5x`, nil))
			must(b, v.Remove(`\file5x`))
		}
	})
}
