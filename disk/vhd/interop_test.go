package vhd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/internal/interop"
)

// osFile lets an image live in a file of the operating system.
type osFile struct{ *os.File }

func (f osFile) Size() int64 {
	return must(f.Stat()).Size()
}
func (f osFile) Resize(size int64) error { return f.Truncate(size) }

// Extents asks the file for its holes, as Linux and other systems can tell;
// where they cannot, it is data everywhere.
func (f osFile) Extents(off, n int64) iter.Seq[disk.Extent] {
	const seekData, seekHole = 3, 4
	return func(yield func(disk.Extent) bool) {
		for end := min(off+n, f.Size()); off < end; {
			from, err := f.Seek(off, seekData)
			if errors.Is(err, syscall.ENXIO) {
				return // only a hole is left
			}
			to, err2 := f.Seek(from, seekHole)
			if err != nil || err2 != nil {
				from, to = off, end
			}
			if from >= end || !yield(disk.Extent{Off: from, Len: min(to, end) - from}) {
				return
			}
			off = to
		}
	}
}

func createFile(t testing.TB, path string) osFile {
	f := must(os.Create(path))
	t.Cleanup(func() { f.Close() })
	return osFile{f}
}

func openFile(t testing.TB, path string) osFile {
	f := must(os.OpenFile(path, os.O_RDWR, 0))
	t.Cleanup(func() { f.Close() })
	return osFile{f}
}

// run runs a tool and returns what it printed; failing is the test's failure.
func run(t testing.TB, tool string, args ...string) string {
	t.Helper()
	out, err := exec.Command(interop.Tool(t, tool), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A specimen is a disk to be written as an image and shown to the judges.
type specimen struct {
	size  int64
	block int64
	data  []disk.Extent // what is not zero
}

func (s specimen) store() *disk.Memory {
	m := disk.NewMemory(s.size)
	for i, e := range s.data {
		must(m.WriteAt(pattern(byte(i), int(e.Len)), e.Off))
	}
	return m
}

// raw writes the disk as a sparse raw file.
func (s specimen) raw(t *testing.T, path string) {
	f := createFile(t, path)
	if err := f.Truncate(s.size); err != nil {
		t.Fatal(err)
	}
	for i, e := range s.data {
		must(f.WriteAt(pattern(byte(i), int(e.Len)), e.Off))
	}
}

func (s specimen) name(typ vhd.Type) string {
	name := fmt.Sprintf("%v %d", typ, s.size)
	if s.block != 0 {
		name += fmt.Sprintf(" by %d", s.block)
	}
	return name
}

var specimens = []specimen{
	{size: 512},
	{size: 512, data: []disk.Extent{{Off: 0, Len: 512}}},
	{size: 2<<20 + 512, data: []disk.Extent{{Off: 2<<20 - 512, Len: 1024}}},
	{size: 3 << 20, block: 512 << 10, data: []disk.Extent{{Off: 1000, Len: 700000}, {Off: 3<<20 - 1, Len: 1}}},
	{size: 3<<20 + 512, block: 4096, data: []disk.Extent{{Off: 3 << 20, Len: 100}, {Off: 40960, Len: 5000}}},
	{size: 40 << 20, data: []disk.Extent{{Off: 0, Len: 3 << 20}, {Off: 33 << 20, Len: 12345}}},
	{size: 5<<30 + 1536, data: []disk.Extent{{Off: 1 << 30, Len: 1 << 20}, {Off: 5<<30 + 1000, Len: 536}}},
	{size: 127 << 30, data: []disk.Extent{{Off: 100 << 30, Len: 4096}}},
}

// What we write, in each of the ways there are, the judges read as we meant.
func TestJudgesReadOurs(t *testing.T) {
	for _, s := range specimens {
		for _, typ := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
			if typ == vhd.Fixed && s.size > 10<<30 {
				continue
			}
			t.Run(s.name(typ), func(t *testing.T) {
				dir := t.TempDir()
				raw := filepath.Join(dir, "disk.raw")
				s.raw(t, raw)
				o := vhd.Options{Size: s.size, Type: typ, BlockSize: s.block, ID: [16]byte{0xad, 0xb7, 0x19, 0x75, 15: 0x6f}}
				src := s.store()

				exported := filepath.Join(dir, "exported.vhd")
				f := createFile(t, exported)
				if err := must(vhd.NewPlan(src, o)).WriteAtTo(f); err != nil {
					t.Fatal(err)
				}
				judge(t, exported, raw, o)

				inPlace := filepath.Join(dir, "inplace.vhd")
				im := must(vhd.Create(createFile(t, inPlace), o))
				for i := range s.data { // the last first, so that blocks lie out of order
					e := s.data[len(s.data)-1-i]
					must(im.WriteAt(content(t, disk.Section(src, e.Off, e.Len)), e.Off))
				}
				judge(t, inPlace, raw, o)
			})
		}
	}
}

// judge shows an image to every tool.
func judge(t *testing.T, image, raw string, o vhd.Options) {
	t.Helper()
	t.Run("qemu-img", func(t *testing.T) { judgeQEMU(t, image, raw, o) })
	t.Run("vhdiinfo", func(t *testing.T) { judgeLibvhdi(t, image, o) })
	t.Run("7z", func(t *testing.T) { judge7z(t, image, raw, o) })
}

// judgeQEMU names the format everywhere: by content alone a fixed VHD counts
// as raw there. There is no check of this format that could be run.
func judgeQEMU(t *testing.T, image, raw string, o vhd.Options) {
	var info struct {
		Size   int64  `json:"virtual-size"`
		Format string `json:"format"`
	}
	out := run(t, "qemu-img", "info", "--output=json", "-f", "vpc", image)
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Size != o.Size || info.Format != "vpc" {
		t.Errorf("info: %+v, %v; want %d bytes of vpc", info, err, o.Size)
	}
	run(t, "qemu-img", "compare", "-f", "vpc", "-F", "raw", image, raw)
	back := image + ".raw"
	run(t, "qemu-img", "convert", "-f", "vpc", "-O", "raw", image, back)
	if got := must(os.Stat(back)).Size(); got != o.Size {
		t.Errorf("converted to raw it has %d bytes, want %d", got, o.Size)
	}
	run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", back, raw)
	out2, err := exec.Command(interop.Tool(t, "qemu-img"), "check", "-f", "vpc", image).CombinedOutput()
	if e := new(exec.ExitError); !errors.As(err, &e) || e.ExitCode() != 63 {
		t.Errorf("check: %v, want exit status 63, not supported\n%s", err, out2)
	}
}

// judgeLibvhdi compares identifiers in the order of the file, as libvhdi
// prints them.
func judgeLibvhdi(t *testing.T, image string, o vhd.Options) {
	out := run(t, "vhdiinfo", image)
	kind := map[vhd.Type]string{vhd.Fixed: "Fixed", vhd.Dynamic: "Dynamic"}[o.Type]
	size := fmt.Sprintf("%d bytes", o.Size)
	for _, want := range []string{kind, size, "adb71975-0000-0000-0000-00000000006f", "1.0"} {
		if !strings.Contains(out, want) {
			t.Errorf("vhdiinfo does not say %q:\n%s", want, out)
		}
	}
}

// judge7z lists the image, tests it unless that means to read gigabytes, and,
// if the disk is small, takes it out.
func judge7z(t *testing.T, image, raw string, o vhd.Options) {
	if o.Type == vhd.Dynamic || o.Size < 1<<30 {
		if out := run(t, "7z", "t", "-tVHD", image); !strings.Contains(out, "Everything is Ok") {
			t.Errorf("7z t:\n%s", out)
		}
	}
	list := run(t, "7z", "l", "-slt", "-tVHD", image)
	for _, want := range []string{
		fmt.Sprintf("Size = %d\n", o.Size),
		"Method = " + map[vhd.Type]string{vhd.Fixed: "Fixed", vhd.Dynamic: "Dynamic"}[o.Type],
		"Creator Application = win 10.0",
	} {
		if !strings.Contains(strings.ReplaceAll(list, "\r", ""), want) {
			t.Errorf("7z l does not say %q:\n%s", want, list)
		}
	}
	if o.Size > 64<<20 {
		return
	}
	got, err := exec.Command(interop.Tool(t, "7z"), "e", "-so", "-tVHD", image).Output()
	if want := must(os.ReadFile(raw)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("7z takes out %d bytes, %v; want the %d bytes of the disk", len(got), err, len(want))
	}
}

// What QEMU writes we read, and write on in place, and QEMU reads that again.
// Without force_size QEMU rounds a disk up to whole cylinders, so ours may be
// longer than the source; what is beyond it is zero.
func TestWeReadQEMUs(t *testing.T) {
	for _, s := range specimens {
		for _, opt := range []string{"subformat=dynamic", "subformat=dynamic,force_size=on", "subformat=fixed", "subformat=fixed,force_size=on"} {
			fixed := strings.Contains(opt, "fixed")
			if s.block != 0 || fixed && s.size > 10<<30 {
				continue
			}
			t.Run(fmt.Sprintf("%s %d", opt, s.size), func(t *testing.T) {
				dir := t.TempDir()
				raw, image := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.vhd")
				s.raw(t, raw)
				run(t, "qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", opt, raw, image)
				readQEMUs(t, image, s, strings.Contains(opt, "force_size"))
			})
		}
	}
}

func readQEMUs(t *testing.T, image string, s specimen, exact bool) {
	f := openFile(t, image)
	im, err := vhd.OpenFile(f)
	if err != nil {
		t.Fatal(err)
	}
	if im.Size() < s.size || exact && im.Size() != s.size {
		t.Errorf("the disk has %d bytes, the source %d", im.Size(), s.size)
	}
	if err := im.Check(); err != nil || im.Notes() != nil {
		t.Errorf("Check: %v, notes %q", err, im.Notes())
	}
	want := s.store()
	if err := want.Resize(im.Size()); err != nil {
		t.Fatal(err)
	}
	compareSparse(t, im, want)

	at := im.Size() / 3 * 2
	p := pattern(77, int(min(3<<20, im.Size()-at)))
	must(im.WriteAt(p, at))
	must(want.WriteAt(p, at))
	compareSparse(t, must(vhd.OpenFile(f)), want)
	raw := createFile(t, image+".raw")
	if err := raw.Truncate(want.Size()); err != nil {
		t.Fatal(err)
	}
	for e := range want.Extents(0, want.Size()) {
		must(raw.WriteAt(content(t, disk.Section(want, e.Off, e.Len)), e.Off))
	}
	run(t, "qemu-img", "compare", "-f", "vpc", "-F", "raw", image, raw.Name())
}

// compareSparse compares disks by what is allocated in either.
func compareSparse(t *testing.T, im *vhd.Image, want *disk.Memory) {
	t.Helper()
	if off, err := disk.FirstDifference(im, want); off >= 0 || err != nil {
		t.Fatalf("the disks differ at %d, %v", off, err)
	}
}
