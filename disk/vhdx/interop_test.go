package vhdx_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
	"github.com/shadowsim/shadowsim/internal/guid"
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

// Sync is left out: the judges look at what the system has, not at its disk.
func (f osFile) Sync() error { return nil }

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
	o    vhdx.Options
	data []disk.Extent // what is not zero
}

func (s specimen) store() *disk.Memory {
	m := disk.NewMemory(s.o.Size)
	for i, e := range s.data {
		must(m.WriteAt(pattern(byte(i), int(e.Len)), e.Off))
	}
	return m
}

// rawFile writes a disk as a sparse raw file.
func rawFile(t testing.TB, path string, src disk.Source) {
	f := createFile(t, path)
	must(0, f.Truncate(src.Size()))
	for e := range disk.Extents(src, 0, src.Size()) {
		b := make([]byte, e.Len)
		if n, err := src.ReadAt(b, e.Off); n < len(b) {
			t.Fatal(err)
		}
		must(f.WriteAt(b, e.Off))
	}
}

func (s specimen) name() string {
	return fmt.Sprintf("%v %d by %d, %d", s.o.Type, s.o.Size, s.o.BlockSize>>20, max(s.o.SectorSize, 512))
}

var specimens = []specimen{
	{vhdx.Options{Size: 512, BlockSize: mib, Type: vhdx.Fixed}, []disk.Extent{{Off: 0, Len: 512}}},
	{vhdx.Options{Size: mib, BlockSize: mib}, nil},
	{vhdx.Options{Size: 2*mib + 512, BlockSize: mib}, []disk.Extent{{Off: 2*mib - 512, Len: 1024}}},
	{vhdx.Options{Size: 3 * mib, BlockSize: mib, Type: vhdx.Fixed}, []disk.Extent{{Off: 1000, Len: 700000}, {Off: 3*mib - 1, Len: 1}}},
	{vhdx.Options{Size: 5*mib + 1024, BlockSize: 2 * mib, PhysicalSectorSize: 512}, []disk.Extent{{Off: 4 * mib, Len: mib + 1024}}},
	{vhdx.Options{Size: 5*mib + 4096, BlockSize: 4 * mib, SectorSize: 4096}, []disk.Extent{{Off: 4*mib - 4096, Len: 10000}}},
	{vhdx.Options{Size: 33 * mib, BlockSize: 8 * mib}, []disk.Extent{{Off: 0, Len: 3 * mib}, {Off: 32*mib + 7, Len: 12345}}},
	{vhdx.Options{Size: 100 * mib, BlockSize: 16 * mib, SectorSize: 4096, Type: vhdx.Fixed}, []disk.Extent{{Off: 90 * mib, Len: 12345}}},
	{vhdx.Options{Size: 100 * mib, BlockSize: 32 * mib}, []disk.Extent{{Off: 33 * mib, Len: 12345}, {Off: 96 * mib, Len: 4 * mib}}},
	{vhdx.Options{Size: 200 * mib, BlockSize: 64 * mib}, []disk.Extent{{Off: 70 * mib, Len: mib}}},
	{vhdx.Options{Size: 300 * mib, BlockSize: 128 * mib}, []disk.Extent{{Off: 290 * mib, Len: mib}}},
	{vhdx.Options{Size: 600 * mib, BlockSize: 256 * mib}, []disk.Extent{{Off: 599 * mib, Len: mib}}},
	{vhdx.Options{Size: 5<<30 + 1024, BlockSize: mib}, []disk.Extent{{Off: 1 << 30, Len: mib}, {Off: 4<<30 - 5000, Len: 10000}, {Off: 5 << 30, Len: 1024}}},
	{vhdx.Options{Size: 5 << 30, BlockSize: 32 * mib, Type: vhdx.Fixed}, []disk.Extent{{Off: 1 << 30, Len: mib}, {Off: 4<<30 - 5000, Len: 10000}}},
	{vhdx.Options{Size: 2 << 40, BlockSize: 32 * mib}, []disk.Extent{{Off: 1 << 40, Len: 100000}}},
	{vhdx.Options{Size: 64 << 40, BlockSize: 256 * mib}, []disk.Extent{{Off: 50 << 40, Len: 4096}}}, // without a raw twin
}

// A table is what the judges said, a line an image.
type table struct {
	judges []string
	rows   []string
}

func (x *table) print(t *testing.T) {
	t.Logf("%-52s %s\n%s", "image", strings.Join(x.judges, "  "), strings.Join(x.rows, "\n"))
}

// A judge looks at an image of a disk and says "ok", or why it cannot; what it
// finds wrong is an error.
type judge struct {
	tool string
	look func(t *testing.T, image string, s specimen, want disk.Source) string
}

var judges = []judge{{"qemu-img", judgeQEMU}, {"7z", judge7z}, {"vhdimount", judgeLibvhdi}}

// ask shows an image to every judge.
func (x *table) ask(t *testing.T, how, image string, s specimen, want disk.Source) {
	t.Helper()
	var said []string
	x.judges = nil
	for _, j := range judges {
		x.judges = append(x.judges, j.tool)
		said = append(said, fmt.Sprintf("%-*s", len(j.tool), j.look(t, image, s, want)))
	}
	x.rows = append(x.rows, fmt.Sprintf("%-52s %s", s.name()+" "+how, strings.Join(said, "  ")))
}

// judgeQEMU lets QEMU say what the image is, check it, and read it in two ways.
// QEMU knows neither sectors of 4096 bytes nor differencing disks.
func judgeQEMU(t *testing.T, image string, s specimen, want disk.Source) string {
	tool := interop.Tool(t, "qemu-img")
	if s.o.SectorSize == 4096 || s.o.Type == vhdx.Differencing {
		out, err := exec.Command(tool, "info", "-f", "vhdx", image).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "not supported") {
			t.Errorf("qemu-img info: %v, want that it is not supported\n%s", err, out)
		}
		return "n/a"
	}
	var info struct {
		Size   int64  `json:"virtual-size"`
		Format string `json:"format"`
		Block  int64  `json:"cluster-size"`
	}
	out := run(t, "qemu-img", "info", "--output=json", image)
	if err := json.Unmarshal([]byte(out), &info); err != nil || info.Size != s.o.Size || info.Format != "vhdx" || info.Block != s.o.BlockSize {
		t.Errorf("info: %+v, %v; want %d bytes of vhdx", info, err, s.o.Size)
	}
	if out := run(t, "qemu-img", "check", "-f", "vhdx", image); !strings.Contains(out, "No errors were found") {
		t.Errorf("check: %s", out)
	}
	if s.o.Size > 250*mib { // QEMU would read all of it
		judgeQEMUParts(t, image, s, want)
		return "parts"
	}
	raw, back := image+".raw", image+".back"
	rawFile(t, raw, want)
	run(t, "qemu-img", "compare", "-f", "vhdx", "-F", "raw", image, raw)
	if s.o.Size < 50*mib {
		run(t, "qemu-img", "convert", "-f", "vhdx", "-O", "raw", image, back)
		if equal, err := disk.Equal(openFile(t, back), want); !equal || err != nil {
			t.Errorf("converted to raw it is another disk, %v", err)
		}
	}
	return "ok"
}

// judgeQEMUParts lets QEMU copy the parts of a disk that hold something, and
// its end.
func judgeQEMUParts(t testing.TB, image string, s specimen, want disk.Source) {
	part := image + ".part"
	for _, e := range append(s.data, disk.Extent{Off: s.o.Size - 1, Len: 1}) {
		from, to := e.Off>>20, (e.End()+mib-1)>>20
		run(t, "qemu-img", "dd", "-f", "vhdx", "-O", "raw", "bs=1M", fmt.Sprintf("skip=%d", from), fmt.Sprintf("count=%d", to), "if="+image, "of="+part)
		n := min(to<<20, s.o.Size) - from<<20
		got, b := make([]byte, n), make([]byte, n)
		must(want.ReadAt(b, from<<20))
		if k, err := openFile(t, part).ReadAt(got, 0); k < len(got) || !bytes.Equal(got, b) {
			t.Errorf("QEMU reads another disk in the MiB from %d on, %v", from, err)
		}
	}
}

// judge7z tests the image, and takes small disks out. 7-Zip refuses disks with
// an odd number of sectors.
func judge7z(t *testing.T, image string, s specimen, want disk.Source) string {
	tool := interop.Tool(t, "7z")
	if s.o.Size%(2*max(s.o.SectorSize, 512)) != 0 {
		if err := exec.Command(tool, "l", "-tVHDX", image).Run(); err == nil {
			t.Errorf("7-Zip lists a disk with an odd number of sectors")
		}
		return "no"
	}
	list := strings.ReplaceAll(run(t, "7z", "l", "-slt", "-tVHDX", image), "\r", "")
	if !strings.Contains(list, fmt.Sprintf("Size = %d\n", s.o.Size)) || strings.Contains(list, "WARNING") || strings.Contains(list, "ERROR") {
		t.Errorf("7z l:\n%s", list)
	}
	if s.o.Size > 150*mib {
		return "l"
	}
	cmd := exec.Command(tool, "e", "-so", "-tVHDX", image)
	pipe := must(cmd.StdoutPipe())
	must(0, cmd.Start())
	sameStream(t, "7-Zip", pipe, want)
	if err := cmd.Wait(); err != nil {
		t.Errorf("7z e: %v", err)
	}
	return "ok"
}

// sameStream demands that a stream is a disk.
func sameStream(t *testing.T, who string, r io.Reader, want disk.Source) {
	a, b := make([]byte, mib), make([]byte, mib)
	for at := int64(0); at < want.Size(); at += mib {
		n := min(mib, want.Size()-at)
		if _, err := io.ReadFull(r, a[:n]); err != nil {
			t.Errorf("%s takes out %d bytes or less, %v", who, at+n, err)
			return
		}
		want.ReadAt(b[:n], at)
		if !bytes.Equal(a[:n], b[:n]) {
			t.Errorf("%s reads another disk at %d or behind", who, at)
			return
		}
	}
	if n, _ := io.Copy(io.Discard, r); n > 0 {
		t.Errorf("%s takes out %d bytes too many", who, n)
	}
}

// judgeLibvhdi lets libvhdi say what the image is, and reads it through a mount
// where the system allows one. In a fixed disk of more than one chunk libvhdi
// looks for blocks in the wrong places. Parents it finds in the child's folder.
func judgeLibvhdi(t *testing.T, image string, s specimen, want disk.Source) string {
	out := run(t, "vhdiinfo", image)
	im := must(vhdx.Open(openFile(t, image), must(os.Stat(image)).Size()))
	kind := map[vhdx.Type]string{vhdx.Fixed: "Fixed", vhdx.Dynamic: "Dynamic", vhdx.Differencing: "Differential"}[s.o.Type]
	sector, _ := im.SectorSize()
	for _, say := range []string{kind, fmt.Sprintf("%d bytes)", s.o.Size), fmt.Sprintf(": %d bytes\n", sector), guid.String(im.DataWriteGUID())} {
		if !strings.Contains(out, say) && (say != fmt.Sprintf("%d bytes)", s.o.Size) || !strings.Contains(out, say[:len(say)-1])) {
			t.Errorf("vhdiinfo does not say %q:\n%s", say, out)
		}
	}
	if s.o.Type == vhdx.Fixed && s.o.Size > 4<<30 {
		return "info"
	}
	dir := image + ".mnt"
	must(0, os.Mkdir(dir, 0o700))
	if exec.Command(interop.Tool(t, "vhdimount"), image, dir).Run() != nil {
		return "info"
	}
	defer exec.Command("fusermount", "-u", dir).Run()
	disks := must(filepath.Glob(dir + "/vhdi*")) // the last is the leaf
	slices.Sort(disks)
	if len(disks) == 0 {
		return "info"
	}
	f := must(os.Open(disks[len(disks)-1]))
	defer f.Close()
	if got := must(f.Seek(0, io.SeekEnd)); got != s.o.Size {
		t.Errorf("libvhdi shows %d bytes", got)
	}
	for e := range disk.Extents(want, 0, want.Size()) {
		e.Len = min(e.Len, 8*mib)
		b := make([]byte, e.Len)
		must(want.ReadAt(b, e.Off))
		got := make([]byte, e.Len)
		must(f.ReadAt(got, e.Off))
		if !bytes.Equal(got, b) {
			t.Errorf("libvhdi reads another disk within %d to %d", e.Off, e.End())
		}
	}
	if end := make([]byte, min(s.o.Size, 4096)); must(f.ReadAt(end, s.o.Size-int64(len(end)))) == len(end) {
		b := make([]byte, len(end))
		must(want.ReadAt(b, s.o.Size-int64(len(b))))
		if !bytes.Equal(end, b) {
			t.Error("libvhdi reads another end")
		}
	}
	return "ok"
}

// What we write, in each of the ways there are, the judges read as we meant.
func TestJudgesReadOurs(t *testing.T) {
	for _, j := range judges {
		interop.Tool(t, j.tool)
	}
	var x table
	for _, s := range specimens {
		if s.o.Type == 0 {
			s.o.Type = vhdx.Dynamic
		}
		t.Run(s.name(), func(t *testing.T) {
			dir := t.TempDir()
			src := s.store()
			exported := filepath.Join(dir, "exported.vhdx")
			must(0, must(vhdx.NewPlan(src, s.o)).WriteAtTo(createFile(t, exported)))
			x.ask(t, "streamed", exported, s, src)

			if s.o.BlockSize > 32*mib && s.o.Size < 1<<30 {
				return // one block more or less
			}
			inPlace := filepath.Join(dir, "inplace.vhdx")
			im := must(vhdx.Create(createFile(t, inPlace), s.o))
			for i := range s.data { // the last first, so that blocks lie out of order
				e := s.data[len(s.data)-1-i]
				must(im.WriteAt(content(t, disk.Section(src, e.Off, e.Len)), e.Off))
			}
			x.ask(t, "in place", inPlace, s, src)
			must(0, im.Close())
		})
	}
	for _, sector := range []int64{512, 4096} {
		t.Run(fmt.Sprintf("differencing %d", sector), func(t *testing.T) { x.chain(t, sector) })
	}
	x.print(t)
}

// chain shows a differencing disk over another one to the judges.
func (x *table) chain(t *testing.T, sector int64) {
	dir := t.TempDir()
	o := vhdx.Options{Size: 9 * mib, BlockSize: mib, SectorSize: sector}
	var parent *vhdx.Image
	model := disk.NewMemory(o.Size)
	for i, name := range []string{"base.vhdx", "middle.avhdx", "leaf.avhdx"} {
		if parent != nil {
			o = vhdx.Options{BlockSize: int64(i) * 2 * mib, Parent: vhdx.Parent{Image: parent, Path: `C:\vm\` + []string{"", "base.vhdx", "middle.avhdx"}[i], Child: `C:\vm\` + name}}
		}
		im := must(vhdx.Create(createFile(t, filepath.Join(dir, name)), o))
		for k := range int64(4) {
			off := (k*int64(i+2)+int64(i))%8*mib + 4096*k
			p := pattern(byte(i*16)+byte(k), 8192*int(k+1))
			must(im.WriteAt(p, off))
			must(model.WriteAt(p, off))
		}
		must(0, im.Close())
		parent = im
	}
	s := specimen{o: vhdx.Options{Type: vhdx.Differencing, Size: 9 * mib, BlockSize: 4 * mib, SectorSize: sector}}
	if equal, err := disk.Equal(parent, model); !equal || err != nil {
		t.Errorf("the chain is not what was written, %v", err)
	}
	x.ask(t, "a chain of three", filepath.Join(dir, "leaf.avhdx"), s, model)
}

// What QEMU writes we read, and write on in place, and QEMU reads that again.
func TestWeReadQEMUs(t *testing.T) {
	type form struct {
		size int64
		opt  string
	}
	var forms []form
	for _, block := range []string{"1M", "2M", "8M", "32M", "128M", "256M"} {
		forms = append(forms, form{70*mib + 512, "block_size=" + block})
	}
	forms = append(forms,
		form{5 * mib, "subformat=fixed,block_size=1M"},
		form{5<<30 + 512, "subformat=fixed,block_size=8M"},
		form{5<<30 + 512, "block_size=1M,block_state_zero=off"},
		form{20 * mib, "block_size=4M,log_size=5M"},
		form{2 << 40, ""})
	for _, f := range forms {
		t.Run(fmt.Sprintf("%d %s", f.size, f.opt), func(t *testing.T) {
			interop.Tool(t, "qemu-img")
			dir := t.TempDir()
			raw, image := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.vhdx")
			want := disk.NewMemory(f.size)
			for i, off := range []int64{0, f.size / 3, f.size - 70000} {
				must(want.WriteAt(pattern(byte(i), 70000), off))
			}
			rawFile(t, raw, want)
			args := []string{"convert", "-f", "raw", "-O", "vhdx", raw, image}
			if f.opt != "" {
				args = slices.Insert(args, 1, "-o", f.opt)
			}
			run(t, "qemu-img", args...)
			writeOn(t, image, want)
		})
	}
}

// writeOn demands that an image holds a disk, writes it in place, and lets QEMU
// compare the outcome.
func writeOn(t *testing.T, image string, want *disk.Memory) {
	t.Helper()
	f := openFile(t, image)
	im, err := vhdx.OpenFile(f)
	if err != nil {
		t.Fatal(err)
	}
	if equal, err := disk.Equal(im, want); !equal || err != nil {
		t.Errorf("we read another disk, %v", err)
	}
	if err := im.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
	at := im.Size() / 3 * 2
	p := pattern(77, int(min(3*mib, im.Size()-at)))
	must(im.WriteAt(p, at))
	must(want.WriteAt(p, at))
	must(0, im.Discard(0, im.Size()/4))
	must(0, want.Discard(0, im.Size()/4))
	must(0, im.Close())
	run(t, "qemu-img", "check", "-f", "vhdx", image)
	askQEMU(t, image, want)
	if im.Type() == vhdx.Fixed {
		return
	}
	long := f.Size()
	im = must(vhdx.OpenFile(f))
	must(0, im.Compact())
	must(0, im.Close())
	if f.Size() > long || f.Size() == long && im.BlockSize() <= im.Size()/4 {
		t.Errorf("made compact the file has %d bytes, had %d", f.Size(), long)
	}
	run(t, "qemu-img", "check", "-f", "vhdx", image)
	askQEMU(t, image, want)
}

// askQEMU lets QEMU compare an image with a disk: where that has something, if
// it is large.
func askQEMU(t testing.TB, image string, want disk.Source) {
	t.Helper()
	if want.Size() > 250*mib {
		s := specimen{o: vhdx.Options{Size: want.Size()}}
		s.data = slices.Collect(disk.Extents(want, 0, want.Size()))
		judgeQEMUParts(t, image, s, want)
		return
	}
	rawFile(t, image+".raw", want)
	run(t, "qemu-img", "compare", "-f", "vhdx", "-F", "raw", image, image+".raw")
}

// QEMU dies when it has written its log and not yet the table, which a device
// that fails there brings about. We replay that log: read-only in memory, then
// in the file, and QEMU, which replays a copy itself, finds the same disk.
func TestDirtyLogOfQEMU(t *testing.T) {
	interop.Tool(t, "qemu-img")
	qemuIO := interop.Tool(t, "qemu-io")
	for _, block := range []string{"1M", "4M"} {
		dir := t.TempDir()
		image, copied := filepath.Join(dir, "a.vhdx"), filepath.Join(dir, "b.vhdx")
		run(t, "qemu-img", "create", "-f", "vhdx", "-o", "block_size="+block, image, "20M")
		run(t, "qemu-io", "-f", "vhdx", "-c", "write -P 0x11 0 64k", "-c", "write -P 0x22 5M 1M", image)
		device := "driver=vhdx,file.driver=blkdebug,file.image.driver=file,file.image.filename=" + image +
			",file.inject-error.0.event=none,file.inject-error.0.iotype=write,file.inject-error.0.errno=5,file.inject-error.0.sector=4096" // the table, at 2 MiB
		if exec.Command(qemuIO, "-c", "open -o "+device, "-c", "write -P 0x33 17M 1M", "-c", "abort").Run() == nil {
			t.Fatal("qemu-io did not abort")
		}
		must(0, os.WriteFile(copied, must(os.ReadFile(image)), 0o600))
		im := must(vhdx.Open(openFile(t, image), must(os.Stat(image)).Size()))
		if im.Notes() == nil {
			t.Fatal("QEMU left no log to replay")
		}
		want := disk.NewMemory(20 * mib)
		for _, w := range []struct {
			seed   byte
			off, n int64
		}{{0x11, 0, 64 << 10}, {0x22, 5 * mib, mib}, {0x33, 17 * mib, mib}} {
			must(want.WriteAt(bytes.Repeat([]byte{w.seed}, int(w.n)), w.off))
		}
		if equal, err := disk.Equal(im, want); !equal || err != nil {
			t.Errorf("replayed in memory it is another disk, %v", err)
		}
		run(t, "qemu-img", "check", "-r", "all", "-f", "vhdx", copied)
		if off, err := disk.FirstDifference(must(vhdx.OpenFile(openFile(t, copied))), want); off >= 0 || err != nil {
			t.Errorf("QEMU's replay and ours differ at %d, %v", off, err)
		}
		writeOn(t, image, want)
	}
}

// QEMU replays our logs: a file cut off in the middle of a commit.
func TestQEMUReplaysOurs(t *testing.T) {
	interop.Tool(t, "qemu-img")
	p := newTape(t, cutFiles(t)["dynamic"].file, nil)
	p.im.SetWriteBack(true)
	for i := range int64(5) {
		p.write(i*mib+5000, pattern(byte(i), 6000))
	}
	p.sync()
	f, logs := p.start.Fork(), 0
	for _, o := range p.ops() {
		if o.apply(f, nil); o.kind != "write" || must(vhdx.Open(f, f.Size())).Notes() == nil {
			continue
		}
		logs++
		image := filepath.Join(t.TempDir(), "cut.vhdx")
		rawFile(t, image, f)
		if out, err := exec.Command(interop.Tool(t, "qemu-img"), "info", "-f", "vhdx", image).CombinedOutput(); err == nil {
			t.Errorf("QEMU opens it read-only without the log:\n%s", out)
		}
		run(t, "qemu-img", "check", "-r", "all", "-f", "vhdx", image)
		askQEMU(t, image, p.model)
	}
	if logs == 0 {
		t.Error("no moment had a log to replay")
	}
}

// Random operations, judged by QEMU: twelve sessions, or as many as
// -rapid.checks says.
func TestJudgeRandom(t *testing.T) {
	interop.Tool(t, "qemu-img")
	dir := t.TempDir()
	few(t, 12, func(t2 *rapid.T) {
		o := rapid.SampledFrom([]vhdx.Options{{Size: 5*mib + 512, BlockSize: mib}, {Size: 100 * mib, BlockSize: 8 * mib}, {Size: 9<<30 + 512, BlockSize: 64 * mib}}).Draw(t2, "shape")
		image := filepath.Join(dir, "random.vhdx")
		f := createFile(t, image)
		defer f.Close()
		m := &machine{file: f, model: disk.NewMemory(o.Size)}
		m.im = must(vhdx.Create(f, o))
		m.im.SetWriteBack(rapid.Bool().Draw(t2, "write back"))
		for range rapid.IntRange(1, 12).Draw(t2, "steps") {
			rapid.SampledFrom([]func(*rapid.T){m.write, m.write, m.writeZeros, m.discard, m.reopen}).Draw(t2, "step")(t2)
		}
		must(0, m.im.Close())
		run(t, "qemu-img", "check", "-f", "vhdx", image)
		askQEMU(t, image, m.model)
	})
}

// QEMU reads what was resized, its block allocation table at another place.
func TestQEMUReadsResized(t *testing.T) {
	interop.Tool(t, "qemu-img")
	for _, kind := range []vhdx.Type{vhdx.Fixed, vhdx.Dynamic} {
		image, raw := filepath.Join(t.TempDir(), "d.vhdx"), filepath.Join(t.TempDir(), "d.raw")
		im := must(vhdx.Create(createFile(t, image), vhdx.Options{Size: 3 * mib, BlockSize: mib, Type: kind}))
		must(im.WriteAt(pattern(1, 2*mib), 1000))
		for _, size := range []int64{9 * mib, 4 * mib, 7*mib + 1024} {
			must(0, im.Resize(size))
			must(im.WriteAt(pattern(byte(size>>20), 512), size/2))
			must(0, os.WriteFile(raw, content(t, im), 0o600))
			if out := run(t, "qemu-img", "check", "-f", "vhdx", image); !strings.Contains(out, "No errors were found") {
				t.Errorf("%v of %d: %s", kind, size, out)
			}
			run(t, "qemu-img", "compare", "-f", "vhdx", "-F", "raw", image, raw)
			must(0, im.Discard(4*mib, im.Size()-4*mib))
		}
	}
}
