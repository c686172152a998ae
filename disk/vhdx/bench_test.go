package vhdx_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
	"github.com/shadowsim/shadowsim/internal/interop"
)

const benchSize = 256 * mib

// fill writes the first n bytes of a disk.
func fill(s disk.Store, n int64) {
	p := pattern(1, mib)
	for off := int64(0); off < n; off += mib {
		must(s.WriteAt(p, off))
	}
}

// filled returns an image of benchSize bytes whose every block exists.
func filled(o vhdx.Options) *vhdx.Image {
	o.Size = benchSize
	im := must(vhdx.Create(disk.NewMemory(0), o))
	fill(im, benchSize)
	return im
}

// randomIO runs do at random places of 4 KiB.
func randomIO(b *testing.B, size int64, do func(p []byte, off int64) (int, error)) {
	r := rand.New(rand.NewPCG(1, 2))
	p := pattern(3, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		must(do(p, r.Int64N(size/4096)*4096))
	}
}

// BenchmarkRandom measures the codec beside the bare store that it works on.
func BenchmarkRandom(b *testing.B) {
	bare := disk.NewMemory(benchSize)
	fill(bare, benchSize)
	parent := filled(vhdx.Options{})
	child := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}}))
	for off := int64(0); off < benchSize; off += 8192 {
		must(child.WriteAt(pattern(2, 4096), off))
	}
	for _, c := range []struct {
		name string
		s    disk.Store
	}{{"bare", bare}, {"fixed", filled(vhdx.Options{Type: vhdx.Fixed})}, {"dynamic", filled(vhdx.Options{})}, {"child", child}} {
		b.Run(c.name+"/read", func(b *testing.B) { randomIO(b, benchSize, c.s.ReadAt) })
		b.Run(c.name+"/write", func(b *testing.B) { randomIO(b, benchSize, c.s.WriteAt) })
	}
}

// BenchmarkRandomFile writes 4 KiB at random places of a dynamic image in a
// file, half of whose blocks are there already, beside qemu-io doing the same
// with the system's cache.
func BenchmarkRandomFile(b *testing.B) {
	const writes = 4000
	for _, lazy := range []bool{false, true} {
		b.Run(fmt.Sprintf("ours, write back %v", lazy), func(b *testing.B) {
			for b.Loop() {
				f := createFile(b, b.TempDir()+"/a.vhdx")
				im := must(vhdx.Create(f, vhdx.Options{Size: 1 << 30, BlockSize: mib}))
				im.SetWriteBack(lazy)
				r := rand.New(rand.NewPCG(1, 2))
				p := pattern(3, 4096)
				for range writes {
					must(im.WriteAt(p, r.Int64N(1<<18)*4096))
				}
				must(0, im.Close())
				f.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*writes), "ns/write")
		})
	}
	b.Run("qemu-io", func(b *testing.B) {
		tool := interop.Tool(b, "qemu-io")
		for b.Loop() {
			path := b.TempDir() + "/a.vhdx"
			run(b, "qemu-img", "create", "-f", "vhdx", "-o", "block_size=1M", path, "1G")
			cmd := exec.Command(tool, "-f", "vhdx", "-t", "unsafe", path)
			var in bytes.Buffer
			r := rand.New(rand.NewPCG(1, 2))
			for range writes {
				fmt.Fprintf(&in, "write -q -P 3 %d 4096\n", r.Int64N(1<<18)*4096)
			}
			cmd.Stdin = &in
			must(0, cmd.Run())
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*writes), "ns/write")
	})
}

// BenchmarkExport writes a disk out of which every other MiB is in use.
func BenchmarkExport(b *testing.B) {
	src := disk.NewMemory(benchSize)
	p := pattern(1, mib)
	for off := int64(0); off < benchSize; off += 2 * mib {
		must(src.WriteAt(p, off))
	}
	for _, typ := range []vhdx.Type{vhdx.Fixed, vhdx.Dynamic} {
		b.Run(typ.String()+"/stream", func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				must(vhdx.Write(io.Discard, src, vhdx.Options{Type: typ}))
			}
		})
	}
}

// BenchmarkAllocate writes one sector into each block of an empty image.
func BenchmarkAllocate(b *testing.B) {
	p := pattern(1, 512)
	const blocks = 1024
	for _, lazy := range []bool{false, true} {
		b.Run(fmt.Sprintf("write back %v", lazy), func(b *testing.B) {
			for b.Loop() {
				im := must(vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: blocks * 2 * mib, BlockSize: 2 * mib}))
				im.SetWriteBack(lazy)
				for i := range int64(blocks) {
					must(im.WriteAt(p, i*2*mib))
				}
				must(0, im.Close())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*blocks), "ns/block")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, size := range []int64{mib, 127 << 30, vhdx.MaxSize} {
		f := disk.NewMemory(0)
		im := must(vhdx.Create(f, vhdx.Options{Size: size}))
		im.SetWriteBack(true)
		for off := int64(0); off < size; off += 32 << 30 {
			must(im.WriteAt([]byte{1}, off))
		}
		must(0, im.Close())
		b.Run(fmt.Sprintf("%d MiB", size>>20), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(vhdx.Open(f, f.Size()))
			}
		})
		b.Run(fmt.Sprintf("%d MiB for writing", size>>20), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(vhdx.OpenFile(f))
			}
		})
	}
}

func BenchmarkOver(b *testing.B) {
	f := disk.NewMemory(0)
	im := must(vhdx.Create(f, vhdx.Options{Size: vhdx.MaxSize}))
	b.ReportAllocs()
	for b.Loop() {
		im.Over(f)
	}
}
