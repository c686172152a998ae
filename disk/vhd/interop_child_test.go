package vhd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/internal/interop"
)

// A chain of three, written in place and streamed, is the same disk to 7-Zip,
// which finds parents by their locators, and to libvhdi, which finds them by
// the header's name. QEMU takes a child for a dynamic image, and is not asked.
func TestJudgesReadChains(t *testing.T) {
	for _, parent := range []vhd.Type{vhd.Fixed, vhd.Dynamic} {
		t.Run(parent.String(), func(t *testing.T) {
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, name) }
			p := must(vhd.Create(createFile(t, at("base.vhd")), vhd.Options{Size: 8<<20 - 512, Type: parent, ID: [16]byte{0xBA, 15: 0x5E}}))
			must(p.WriteAt(pattern(1, 3<<20), 1<<20))

			o := over(p)
			o.Parent = vhd.Parent{Image: p, Path: `C:\vm\base.vhd`, Child: `C:\vm\middle.avhd`}
			middle := must(vhd.Create(createFile(t, at("middle.avhd")), o))
			must(middle.WriteAt(pattern(2, 5000), 2<<20+3000))
			if err := middle.Discard(3<<20+4096, 100<<10); err != nil {
				t.Fatal(err)
			}

			flat := disk.NewOverlay(middle, middle.Size())
			must(flat.WriteAt(pattern(3, 70000), 5<<20-1000))
			must(flat.WriteAt(pattern(4, 513), flat.Size()-513))
			o = vhd.Options{ID: [16]byte{0x1E, 0xAF}, BlockSize: 512 << 10}
			o.Parent = vhd.Parent{Image: middle, Path: `C:\vm\middle.avhd`, Child: `C:\vm\leaf.avhd`}
			if err := must(vhd.NewPlan(flat, o)).WriteAtTo(createFile(t, at("leaf.avhd"))); err != nil {
				t.Fatal(err)
			}
			want := content(t, flat)
			t.Run("7z", func(t *testing.T) {
				got, err := exec.Command(interop.Tool(t, "7z"), "e", "-so", "-tVHD", at("leaf.avhd")).Output()
				if err != nil {
					t.Fatal(err)
				}
				same(t, "7z", got, want)
			})
			t.Run("vhdiinfo", func(t *testing.T) {
				out := run(t, "vhdiinfo", at("leaf.avhd"))
				for _, want := range []string{"Differential", "1eaf0000-0000-0000-0000-000000000000", "c11d0000-0000-0000-0000-000000000000", `C:\vm\middle.avhd`} {
					if !strings.Contains(out, want) {
						t.Errorf("vhdiinfo does not say %q:\n%s", want, out)
					}
				}
			})
			t.Run("vhdimount", func(t *testing.T) { same(t, "vhdimount", mounted(t, at("leaf.avhd")), want) })
		})
	}
}

// mounted returns the disk at the end of a chain as libvhdi shows it.
func mounted(t *testing.T, image string) []byte {
	t.Helper()
	mount := interop.Tool(t, "vhdimount")
	unmount := interop.Tool(t, "fusermount")
	dir := t.TempDir()
	if out, err := exec.Command(mount, image, dir).CombinedOutput(); err != nil {
		t.Skipf("this machine mounts nothing: %v\n%s", err, out)
	}
	defer run(t, unmount, "-u", dir)
	shown, _ := filepath.Glob(filepath.Join(dir, "vhdi*"))
	b, err := os.ReadFile(shown[len(shown)-1])
	if err != nil {
		t.Error(err)
	}
	return b
}
