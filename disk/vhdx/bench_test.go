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

// BenchmarkRandomFile writes 4 KiB at random places of a new dynamic image in a
// file, beside qemu-io doing the same. Neither waits until the bytes are safe.
func BenchmarkRandomFile(b *testing.B) {
	const writes = 4000
	dir := b.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	var places []int64
	for range writes {
		places = append(places, r.Int64N(1<<18)*4096)
	}
	ours := func(name string, lazy bool) interop.Way {
		path := dir + "/ours.vhdx"
		return interop.Way{Name: name, Before: func() {
			f := createFile(b, path)
			must(0, must(vhdx.Create(f, vhdx.Options{Size: 1 << 30, BlockSize: mib})).Close())
			f.Close()
		}, Do: func() {
			f := openFile(b, path)
			im := must(vhdx.OpenFile(unsynced{f}))
			im.SetWriteBack(lazy)
			p := bytes.Repeat([]byte{3}, 4096)
			for _, off := range places {
				must(im.WriteAt(p, off))
			}
			must(0, im.Close())
			f.Close()
		}}
	}
	ways := []interop.Way{ours("ours", false), ours("ours-write-back", true)}
	if tool, err := exec.LookPath("qemu-io"); err == nil {
		path := dir + "/theirs.vhdx"
		ways = append(ways, interop.Way{Name: "qemu-io", Before: func() {
			run(b, "qemu-img", "create", "-f", "vhdx", "-o", "block_size=1M", path, "1G")
		}, Do: func() {
			var in bytes.Buffer
			for _, off := range places {
				fmt.Fprintf(&in, "write -q -P 3 %d 4096\n", off)
			}
			cmd := exec.Command(tool, "-f", "vhdx", "-t", "unsafe", path)
			cmd.Stdin = &in
			must(0, cmd.Run())
		}})
	}
	interop.Turns(b, "ns/write", func(seconds float64) float64 { return seconds * 1e9 / writes }, ways)
}

// unsynced is a file that is not waited for.
type unsynced struct{ osFile }

func (unsynced) Sync() error { return nil }

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
