package image_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
	"github.com/shadowsim/shadowsim/internal/interop"
)

var (
	allJudges = flag.Bool("judges", false, "show the judges the whole matrix of images")
	update    = flag.Bool("update", false, "with -judges: rewrite testdata/judges.txt")
)

// osFile lets an image live in a file of the operating system.
type osFile struct{ *os.File }

func (f osFile) Size() int64             { return must(f.Stat()).Size() }
func (f osFile) Resize(size int64) error { return f.Truncate(size) }

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

// A specimen is an image to be judged.
type specimen struct {
	o    image.Options
	size int64
	fill string
	few  bool // shown without -judges too
}

func (s specimen) String() string {
	block := "-"
	if s.o.BlockSize != 0 {
		block = unit(s.o.BlockSize)
	}
	return fmt.Sprintf("%-4v %-7v %-7s %-11s %-9s", s.o.Format, s.o.Kind, block, unit(s.size), s.fill)
}

// unit prints a size as its name has it.
func unit(n int64) string {
	odd := ""
	if n > 512 && n%1024 == 512 {
		n, odd = n-512, "+512"
	}
	switch {
	case n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30) + odd
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20) + odd
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10) + odd
	}
	return fmt.Sprint(n) + odd
}

// disk returns the disk of a specimen.
func (s specimen) disk() *disk.Memory {
	m := disk.NewMemory(s.size)
	n := min(s.size, 70000)
	switch s.fill {
	case "ends":
		must(m.WriteAt(pattern(1, 512), 0))
		must(m.WriteAt(pattern(2, 512), s.size-512))
	case "scattered":
		for i := range int64(7) {
			must(m.WriteAt(pattern(byte(i), int(n)), (s.size-n)/7*i/512*512))
		}
	}
	return m
}

// specimens are the matrix: format and kind by block size by size by what is in
// the disk.
func specimens() (all []specimen) {
	kinds := []image.Options{
		{Format: image.VHD, Kind: image.Fixed},
		{Format: image.VHD, Kind: image.Dynamic},
		{Format: image.VHD, Kind: image.Dynamic, BlockSize: 512 << 10},
		{Format: image.VHD, Kind: image.Dynamic, BlockSize: 16 << 20},
		{Format: image.VHDX, Kind: image.Fixed, BlockSize: 1 << 20},
		{Format: image.VHDX, Kind: image.Dynamic},
		{Format: image.VHDX, Kind: image.Dynamic, BlockSize: 1 << 20},
		{Format: image.VHDX, Kind: image.Dynamic, BlockSize: 256 << 20},
	}
	for i, o := range kinds {
		o.ID = [16]byte{0xad, 0xb7, 0x19, 0x75, 15: 0x6f}
		for _, size := range []int64{512, 3<<20 + 512, 2 << 30, 127 << 30, 2040 << 30} {
			if size > 2<<30 && (o.Kind == image.Fixed || o.BlockSize != 0) {
				continue // it takes the judges minutes
			}
			if size > 2<<30 && o.Format == image.VHDX {
				continue // qemu-img compare reads all of it
			}
			for _, fill := range []string{"empty", "ends", "scattered"} {
				few := (i == 0 || i == 1 || i == 5) && fill == "scattered" && size == 3<<20+512
				all = append(all, specimen{o, size, fill, few})
			}
		}
	}
	return all
}

// The judges look at what we write, and we at what QEMU writes. A row of the
// table names who accepted what:
//
//	info     qemu-img info shows the size
//	compare  qemu-img compare finds the disk equal to the raw file
//	check    qemu-img check; there is none for VHD
//	back     qemu-img convert makes the raw file again
//	vhdiinfo libvhdi shows the size
//	7z       7-Zip takes out a small disk, or tests a large one
//	theirs   we read what qemu-img convert makes of the raw file
//
// The whole table is testdata/judges.txt.
func TestJudges(t *testing.T) {
	want := strings.ReplaceAll(string(must(os.ReadFile("testdata/judges.txt"))), "\r", "")
	for _, tool := range []string{"qemu-img", "vhdiinfo", "7z"} {
		interop.Tool(t, tool)
	}
	head := fmt.Sprintf("%-4s %-7s %-7s %-11s %-9s %-7s %-7s %-7s %-7s %-8s %-7s %s\n", "fmt", "kind", "block", "size", "fill", "info", "compare", "check", "back", "vhdiinfo", "7z", "theirs")
	table := strings.Builder{}
	table.WriteString(head)
	t.Log(strings.TrimSpace(head))
	for _, s := range specimens() {
		if !s.few && !*allJudges {
			continue
		}
		row := fmt.Sprintf("%v %s\n", s, judge(t, s))
		table.WriteString(row)
		t.Log(strings.TrimSpace(row))
		if !*update && !strings.Contains(want, row) {
			t.Errorf("testdata/judges.txt has no such row:\n%s%s", head, row)
		}
	}
	if *update && *allJudges {
		if err := os.WriteFile("testdata/judges.txt", []byte(quirks+table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// quirks are what the judges do that is no fault of the image.
const quirks = `# Who accepts our images. "-": not asked. Quirks of the judges:
#
# qemu-img check knows no VHD: it ends with status 63 ("n/a").
# qemu-img takes a fixed VHD for raw bytes unless the format is named.
# qemu-img without force_size rounds a VHD's size up to whole cylinders; "theirs"
#   is made with it.
# qemu-img opens a differencing VHD as if it had no parent; it is not asked.
# qemu-img makes a VHDX of no less than 1 MiB of room; sizes are kept.
# libvhdi and 7-Zip read a VHD's size from its footer, as we do.
# 7-Zip refuses a VHDX of an odd number of sectors ("refused").
#
`

// judge returns the cells of a row.
func judge(t *testing.T, s specimen) string {
	dir := t.TempDir()
	raw, path := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.img")
	src := s.disk()
	if err := image.Convert(createFile(t, raw), src, image.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := image.Convert(createFile(t, path), src, s.o); err != nil {
		t.Fatal(err)
	}
	cells := []string{
		qemuInfo(s, path),
		ok(run("qemu-img", "compare", "-f", qemuName(s.o), "-F", "raw", path, raw)),
		qemuCheck(s, path),
		qemuBack(s, path, raw),
		libvhdi(s, path),
		sevenZip(s, path, raw),
		theirs(t, s, raw, src),
	}
	return fmt.Sprintf("%-7s %-7s %-7s %-7s %-8s %-7s %s", cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6])
}

func run(tool string, args ...string) (string, error) {
	out, err := exec.Command(tool, args...).CombinedOutput()
	return string(out), err
}

func ok(_ string, err error) string {
	if err != nil {
		return "refused"
	}
	return "ok"
}

func qemuName(o image.Options) string {
	if o.Format == image.VHD {
		return "vpc"
	}
	return "vhdx"
}

func qemuInfo(s specimen, path string) string {
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	out, err := run("qemu-img", "info", "--output=json", "-f", qemuName(s.o), path)
	if err != nil || json.Unmarshal([]byte(out), &info) != nil {
		return "refused"
	}
	if info.Size != s.size {
		return "size"
	}
	return "ok"
}

func qemuCheck(s specimen, path string) string {
	_, err := run("qemu-img", "check", "-f", qemuName(s.o), path)
	if e, is := err.(*exec.ExitError); is && e.ExitCode() == 63 {
		return "n/a"
	}
	return ok("", err)
}

func qemuBack(s specimen, path, raw string) string {
	back := path + ".raw"
	defer os.Remove(back)
	if _, err := run("qemu-img", "convert", "-f", qemuName(s.o), "-O", "raw", path, back); err != nil {
		return "refused"
	}
	if _, err := run("qemu-img", "compare", "-f", "raw", "-F", "raw", back, raw); err != nil {
		return "differs"
	}
	return "ok"
}

func libvhdi(s specimen, path string) string {
	out, err := run("vhdiinfo", path)
	if err != nil {
		return "refused"
	}
	if !strings.Contains(out, fmt.Sprintf("%d bytes", s.size)) {
		return "size"
	}
	return "ok"
}

func sevenZip(s specimen, path, raw string) string {
	if s.size > 16<<20 {
		if s.o.Kind == image.Fixed || s.size > 2<<30 {
			return "-" // it would read all of the disk
		}
		return ok(run("7z", "t", "-t"+s.o.Format.String(), path))
	}
	got, err := exec.Command("7z", "e", "-so", "-t"+s.o.Format.String(), path).Output()
	switch {
	case err != nil:
		return "refused"
	case !bytes.Equal(got, must(os.ReadFile(raw))):
		return "differs"
	}
	return "ok"
}

// theirs lets QEMU make an image of the kind, as far as it has the options.
func theirs(t *testing.T, s specimen, raw string, want *disk.Memory) string {
	o := "subformat=" + s.o.Kind.String()
	switch {
	case s.o.Format == image.VHD && s.o.BlockSize != 0:
		return "-"
	case s.o.Format == image.VHD:
		o += ",force_size=on"
	case s.o.BlockSize != 0:
		o += fmt.Sprintf(",block_size=%d", s.o.BlockSize)
	}
	path := raw + "." + qemuName(s.o)
	if _, err := run("qemu-img", "convert", "-f", "raw", "-O", qemuName(s.o), "-o", o, raw, path); err != nil {
		return "cannot"
	}
	im, err := image.OpenFile(openFile(t, path))
	if err != nil {
		return "refused"
	}
	if off, err := disk.FirstDifference(im, want); off >= 0 || err != nil {
		return "differs"
	}
	return "ok"
}

// A file system is whole after a round trip: raw to an image of ours, and by
// QEMU back to raw.
func TestFileSystems(t *testing.T) {
	for _, fs := range []struct {
		mk, ck []string
	}{
		{[]string{"mkfs.ntfs", "-F", "-Q", "-q"}, []string{"ntfsfix", "-n"}},
		{[]string{"mkfs.ntfs", "-F", "-Q", "-q"}, []string{"ntfscluster", "-f", "-i"}},
		{[]string{"mkfs.ext4", "-q", "-F"}, []string{"e2fsck", "-f", "-n"}},
		{[]string{"mkfs.vfat", "-F", "16"}, []string{"fsck.fat", "-n"}},
	} {
		t.Run(fs.ck[0], func(t *testing.T) {
			mk, ck, qemu := interop.Tool(t, fs.mk[0]), interop.Tool(t, fs.ck[0]), interop.Tool(t, "qemu-img")
			dir := t.TempDir()
			raw := filepath.Join(dir, "disk.raw")
			f := createFile(t, raw)
			if err := f.Resize(24 << 20); err != nil {
				t.Fatal(err)
			}
			if out, err := run(mk, append(fs.mk[1:], raw)...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, o := range []image.Options{{Format: image.VHD}, {Format: image.VHDX}} {
				path, back := filepath.Join(dir, "disk.img"), filepath.Join(dir, "back.raw")
				if err := image.Convert(createFile(t, path), f, with(o, 1)); err != nil {
					t.Fatal(err)
				}
				if out, err := run(qemu, "convert", "-f", qemuName(o), "-O", "raw", path, back); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if out, err := run(ck, append(fs.ck[1:], back)...); err != nil {
					t.Errorf("%v after a round trip: %v\n%s", o.Format, err, out)
				}
			}
		})
	}
}

// Whatever is done to an image of ours, QEMU finds the disk equal to plain
// bytes to which the same was done.
func TestRandomJudged(t *testing.T) {
	qemu := interop.Tool(t, "qemu-img")
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > 8 && !*allJudges {
			return // a process each is dear; -judges shows all
		}
		const size = 5<<20 + 512
		o := rapid.SampledFrom([]image.Options{
			{Format: image.VHD}, {Format: image.VHD, BlockSize: 64 << 10}, {Format: image.VHD, Kind: image.Fixed},
			{Format: image.VHDX}, {Format: image.VHDX, BlockSize: 1 << 20},
		}).Draw(t, "image")
		o.Size, o.ID = size, [16]byte{1}
		path, raw := filepath.Join(dir, "disk.img"), filepath.Join(dir, "disk.raw")
		f := osFile{must(os.Create(path))}
		defer f.Close()
		im, model := must(image.Create(f, o)), make([]byte, size)
		for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
			off := rapid.Int64Range(0, size-1).Draw(t, "off")
			k := rapid.Int64Range(0, min(size-off, 1<<20)).Draw(t, "n")
			if rapid.IntRange(0, 3).Draw(t, "discard") == 0 {
				clear(model[off : off+k])
				if err := im.Discard(off, k); err != nil {
					t.Fatal(err)
				}
				continue
			}
			copy(model[off:], pattern(byte(i), int(k)))
			must(im.WriteAt(model[off:off+k], off))
		}
		if err := im.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(raw, model, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := run(qemu, "compare", "-f", qemuName(o), "-F", "raw", path, raw); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}
