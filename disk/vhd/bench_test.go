package vhd_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

const benchSize = 256 << 20

// filled returns an image of benchSize bytes whose every block exists.
func filled(b *testing.B, typ vhd.Type) *vhd.Image {
	im := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: benchSize, Type: typ}))
	fill(b, im, benchSize)
	return im
}

// fill writes the first n bytes of a disk.
func fill(b *testing.B, s disk.Store, n int64) {
	p := pattern(1, 1<<20)
	for off := int64(0); off < n; off += int64(len(p)) {
		must(s.WriteAt(p, off))
	}
}

// randomIO runs do at random places of 4 KiB.
func randomIO(b *testing.B, do func(p []byte, off int64) (int, error)) {
	r := rand.New(rand.NewPCG(1, 2))
	p := pattern(3, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		must(do(p, r.Int64N(benchSize/4096)*4096))
	}
}

// BenchmarkRandom measures the codec beside the bare store that it works on.
func BenchmarkRandom(b *testing.B) {
	bare := disk.NewMemory(benchSize)
	fill(b, bare, benchSize)
	for _, c := range []struct {
		name string
		s    disk.Store
	}{{"bare", bare}, {"fixed", filled(b, vhd.Fixed)}, {"dynamic", filled(b, vhd.Dynamic)}} {
		b.Run(c.name+"/read", func(b *testing.B) { randomIO(b, c.s.ReadAt) })
		b.Run(c.name+"/write", func(b *testing.B) { randomIO(b, c.s.WriteAt) })
	}
}

// BenchmarkExport writes a disk out of which every other MiB is in use.
func BenchmarkExport(b *testing.B) {
	src := disk.NewMemory(benchSize)
	p := pattern(1, 1<<20)
	for off := int64(0); off < benchSize; off += 2 << 20 {
		must(src.WriteAt(p, off))
	}
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		b.Run(typ.String()+"/stream", func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				must(vhd.Write(io.Discard, src, vhd.Options{Type: typ}))
			}
		})
		b.Run(typ.String()+"/file", func(b *testing.B) {
			b.SetBytes(benchSize)
			path := b.TempDir() + "/out.vhd"
			for b.Loop() {
				f := createFile(b, path)
				if err := must(vhd.NewPlan(src, vhd.Options{Type: typ})).WriteAtTo(f); err != nil {
					b.Fatal(err)
				}
				f.Close()
			}
		})
	}
}

// BenchmarkConvert turns a raw file, half of it holes, into an image file and
// back, beside qemu-img doing the same.
func BenchmarkConvert(b *testing.B) {
	dir := b.TempDir()
	raw, image, back := dir+"/disk.raw", dir+"/disk.vhd", dir+"/back.raw"
	f := createFile(b, raw)
	p, zeros := pattern(1, 1<<20), make([]byte, 1<<20)
	for off := int64(1 << 20); off < benchSize; off += 2 << 20 {
		must(f.WriteAt(p, off))
	}
	for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		steps := []struct {
			name string
			do   func()
		}{
			{"write/ours", func() {
				out := createFile(b, image)
				check(b, must(vhd.NewPlan(f, vhd.Options{Type: typ})).WriteAtTo(out))
				out.Close()
			}},
			{"write/qemu-img", func() {
				run(b, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on,subformat="+typ.String(), raw, image)
			}},
			{"read/ours", func() {
				in, out := openFile(b, image), createFile(b, back)
				im := must(vhd.OpenFile(in))
				check(b, out.Resize(im.Size()))
				for e := range im.Extents(0, im.Size()) {
					for off := e.Off; off < e.End(); off += 1 << 20 {
						q := p[:min(1<<20, e.End()-off)]
						if must(im.ReadAt(q, off)); !bytes.Equal(q, zeros[:len(q)]) {
							must(out.WriteAt(q, off))
						}
					}
				}
				in.Close()
				out.Close()
			}},
			{"read/qemu-img", func() {
				run(b, "qemu-img", "convert", "-f", "vpc", "-O", "raw", image, back)
			}},
		}
		for _, s := range steps {
			b.Run(typ.String()+"/"+s.name, func(b *testing.B) {
				b.SetBytes(benchSize)
				for b.Loop() {
					s.do()
				}
			})
		}
	}
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAllocate writes one sector into each block of an empty image.
func BenchmarkAllocate(b *testing.B) {
	p := pattern(1, 512)
	const blocks = 1024
	for b.Loop() {
		im := must(vhd.Create(disk.NewMemory(0), vhd.Options{Size: blocks << 21}))
		for i := range int64(blocks) {
			must(im.WriteAt(p, i<<21))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*blocks), "ns/block")
}

func BenchmarkOpen(b *testing.B) {
	for _, size := range []int64{1 << 20, 127 << 30, 2040 << 30} {
		f := disk.NewMemory(0)
		im := must(vhd.Create(f, vhd.Options{Size: size}))
		for off := int64(0); off < size; off += 1 << 30 {
			must(im.WriteAt([]byte{1}, off))
		}
		b.Run(fmt.Sprintf("%d MiB", size>>20), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(vhd.OpenFile(f))
			}
		})
	}
}

func BenchmarkOver(b *testing.B) {
	f := disk.NewMemory(0)
	im := must(vhd.Create(f, vhd.Options{Size: vhd.MaxSize}))
	b.ReportAllocs()
	for b.Loop() {
		im.Over(f)
	}
}
