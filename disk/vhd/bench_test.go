package vhd_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/internal/interop"
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

// BenchmarkRandomFile writes 4 KiB at random places of a dynamic image in a file,
// and has qemu-io do the same in turns, with all its writes in one process. In a
// new image every write goes to another block, which it adds; in a filled one
// all blocks are there. Neither waits for the medium. What qemu-io needs to start
// and open the image is in its time, and reported beside it.
func BenchmarkRandomFile(b *testing.B) {
	dir := b.TempDir()
	ours, theirs := dir+"/ours.vhd", dir+"/theirs.vhd"
	for _, c := range []struct {
		name         string
		size, filled int64
		places       func(r *rand.Rand) []int64
	}{
		{"new", 1024 << 21, 0, func(r *rand.Rand) (list []int64) {
			for _, block := range r.Perm(1024) {
				list = append(list, int64(block)<<21+r.Int64N(1<<9)<<12)
			}
			return list
		}},
		{"filled", benchSize, benchSize, func(r *rand.Rand) (list []int64) {
			for range 40_000 {
				list = append(list, r.Int64N(benchSize>>12)<<12)
			}
			return list
		}},
	} {
		places := c.places(rand.New(rand.NewPCG(1, 2)))
		fresh := func(path string) func() {
			return func() {
				os.Remove(path)
				f := createFile(b, path)
				fill(b, must(vhd.Create(unsynced{f}, vhd.Options{Size: c.size})), c.filled)
				f.Close()
			}
		}
		ways := []interop.Way{{Name: "ours", Before: fresh(ours), Do: func() {
			f := openFile(b, ours)
			im := must(vhd.OpenFile(unsynced{f}))
			p := bytes.Repeat([]byte{3}, 4096)
			for _, off := range places {
				must(im.WriteAt(p, off))
			}
			f.Close()
		}}}
		if tool, err := exec.LookPath("qemu-io"); err == nil {
			ways = append(ways,
				interop.Way{Name: "qemu-io", Before: fresh(theirs), Do: func() { qemuIO(b, tool, theirs, places) }},
				interop.Way{Name: "qemu-io-start", Before: fresh(theirs), Do: func() { qemuIO(b, tool, theirs, nil) }})
		}
		b.Run(c.name, func(b *testing.B) {
			interop.Turns(b, "ns/write", func(seconds float64) float64 { return seconds * 1e9 / float64(len(places)) }, ways)
		})
	}
}

// unsynced is a file that is not waited for.
type unsynced struct{ osFile }

func (unsynced) Sync() error { return nil }

// qemuIO has qemu-io write 4 KiB at each place.
func qemuIO(b *testing.B, tool, path string, places []int64) {
	var in bytes.Buffer
	for _, off := range places {
		fmt.Fprintf(&in, "write -q -P 3 %d 4096\n", off)
	}
	cmd := exec.Command(tool, "-f", "vpc", "-t", "unsafe", path)
	cmd.Stdin = &in
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("fail")) {
		b.Fatalf("qemu-io: %v\n%s", err, out)
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
