package image_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/file"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/internal/interop"
)

const benchSize = 1 << 30

// BenchmarkConvert turns a raw file of 1 GiB, every other MiB of it a hole, into
// an image and back, file to new file, and has qemu-img do the same in turns.
// Both leave it to the system when the medium gets the bytes. A plain copy of the
// raw file's data shows what is left without a format. TMPDIR chooses the file
// system:
//
//	go test ./disk/image -run '^$' -bench Convert -benchtime 9x
func BenchmarkConvert(b *testing.B) {
	dir := b.TempDir()
	raw, img, out := dir+"/disk.raw", dir+"/disk.img", dir+"/out"
	f := must(file.Create(raw, benchSize))
	for off := int64(1 << 20); off < benchSize; off += 2 << 20 {
		must(f.WriteAt(pattern(1, 1<<20), off))
	}
	must(0, f.Close())
	ways := func(ours func(), args ...string) []interop.Way {
		return append([]interop.Way{
			{Name: "ours", Do: ours, Before: remove(out)},
			{Name: "copy", Do: func() { plainCopy(out, raw) }, Before: remove(out)},
		}, qemuImg(b, out, args...)...)
	}
	for _, c := range []struct {
		o            image.Options
		qemu, option string // how qemu-img names that
	}{
		{image.Options{Format: image.VHD, Kind: image.Fixed}, "vpc", "force_size=on,subformat=fixed"},
		{image.Options{Format: image.VHD, Kind: image.Dynamic}, "vpc", "force_size=on,subformat=dynamic"},
		{image.Options{Format: image.VHDX, Kind: image.Fixed}, "vhdx", "subformat=fixed"},
		{image.Options{Format: image.VHDX, Kind: image.Dynamic}, "vhdx", "subformat=dynamic,block_size=32M"},
	} {
		name := fmt.Sprintf("%v/%v/", c.o.Format, c.o.Kind)
		write := func(name string) {
			in := must(file.OpenReadOnly(raw))
			convert(name, in, c.o)
			must(0, in.Close())
		}
		read := func() {
			in := must(file.OpenReadOnly(img))
			convert(out, must(image.Open(in, in.Size())), image.Options{})
			must(0, in.Close())
		}
		speed := func(seconds float64) float64 { return benchSize / 1e6 / seconds }
		b.Run(name+"write", func(b *testing.B) {
			interop.Turns(b, "MB/s", speed, ways(func() { write(out) }, "-f", "raw", raw, "-O", c.qemu, "-o", c.option))
		})
		write(img)
		b.Run(name+"read", func(b *testing.B) {
			interop.Turns(b, "MB/s", speed, ways(read, "-f", c.qemu, img, "-O", "raw"))
		})
	}
}

// qemuImg returns qemu-img convert as a way to go, where it is installed. It is
// told to wait for the medium no more than ours does.
func qemuImg(b *testing.B, out string, args ...string) []interop.Way {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		return nil
	}
	args = slices.Concat([]string{"convert", "-t", "unsafe", "-T", "unsafe"}, args, []string{out})
	return []interop.Way{{Name: "qemu-img", Before: remove(out), Do: func() {
		if said, err := run(tool, args...); err != nil {
			b.Fatalf("qemu-img %v: %v\n%s", args, err, said)
		}
	}}}
}

// remove returns a function that removes a file, if it is there.
func remove(name string) func() { return func() { os.Remove(name) } }

// convert makes a new file an image of src.
func convert(name string, src disk.Source, o image.Options) {
	f := must(file.Create(name, 0))
	must(0, image.Convert(f, src, o))
	must(0, f.Close())
}

// plainCopy makes a new file whose data is that of another.
func plainCopy(to, from string) {
	in := must(file.OpenReadOnly(from))
	out := must(file.Create(to, in.Size()))
	p := make([]byte, 1<<20)
	for e := range in.Extents(0, in.Size()) {
		for at := e.Off; at < e.End(); at += int64(len(p)) {
			q := p[:min(int64(len(p)), e.End()-at)]
			must(in.ReadAt(q, at))
			must(out.WriteAt(q, at))
		}
	}
	must(0, in.Close())
	must(0, out.Close())
}
