package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/internal/interop"
)

// shell runs a tool and fails the test if it does.
func shell(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// makeImage makes a raw disk with one partition of a type, with a file system
// made by mkfs if one is given, and converts it to a VHD.
func makeImage(t *testing.T, partition string, mkfs func(device string), vhdType string) (vhd, raw string) {
	t.Helper()
	sfdisk, qemu := interop.Tool(t, "sfdisk"), interop.Tool(t, "qemu-img")
	dir := t.TempDir()
	raw, volume := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "volume.raw")
	const sectors, start = 64 << 11, 2048
	if err := os.WriteFile(volume, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(volume, (sectors-start)*512); err != nil {
		t.Fatal(err)
	}
	if mkfs != nil {
		mkfs(volume)
	}
	if err := os.WriteFile(raw, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(raw, sectors*512); err != nil {
		t.Fatal(err)
	}
	shell(t, fmt.Sprintf("label: dos\nstart=%d, type=%s\n", start, partition), sfdisk, "-q", raw)
	data, err := os.ReadFile(volume)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(raw, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, start*512); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	vhd = filepath.Join(dir, "disk.vhd")
	shell(t, "", qemu, "convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on,subformat="+vhdType, raw, vhd)
	return vhd, raw
}

func mkfs(t *testing.T, name string, args ...string) func(string) {
	tool := interop.Tool(t, name)
	return func(device string) { shell(t, "", tool, append(args, device)...) }
}

// TestImagesOfOtherTools attaches real images to sql01 and looks at the method
// that their bytes lead to, and at the content that comes back.
func TestImagesOfOtherTools(t *testing.T) {
	ntfs := mkfs(t, "mkntfs", "-q", "-F", "-f", "-p", "2048")
	fat := mkfs(t, "mkfs.fat", "-F", "32")
	exfat := mkfs(t, "mkfs.exfat")
	for _, test := range []struct {
		name, partition string
		mkfs            func(string)
		want            string
	}{
		{"NTFS", "7", ntfs, "sql01: child VM snapshot [R4]"},
		{"dynamic disk", "42", nil, "sql01: saved state, because GUEST_DYNAMIC_DISK"},
		{"FAT32", "c", fat, "sql01: saved state, because GUEST_FS_NO_SNAPSHOT"},
		{"exFAT", "7", exfat, "sql01: saved state, because GUEST_FS_NO_SNAPSHOT"},
		{"raw", "7", nil, "sql01: saved state, because GUEST_FS_NO_SNAPSHOT"},
	} {
		for _, vhdType := range []string{"dynamic", "fixed"} {
			t.Run(test.name+"/"+vhdType, func(t *testing.T) {
				image, raw := makeImage(t, test.partition, test.mkfs, vhdType)
				out := filepath.Join(t.TempDir(), "out")
				status, stdout, stderr := command(t, "-vhd", image, "-out", out)
				if status != exitGood {
					t.Fatalf("exit status %d, %s\n%s", status, stderr, stdout)
				}
				if !strings.Contains(stdout, test.want) || !strings.Contains(stdout, "is unchanged") {
					t.Errorf("the transcript lacks %q:\n%s", test.want, stdout)
				}
				copied := filepath.Join(out, "files", "D", "VMs", "sql01", "attached.vhd")
				shell(t, "", interop.Tool(t, "qemu-img"), "compare", "-f", "vpc", "-F", "raw", copied, raw)
			})
		}
	}
}

// TestBackupIsReal lets other tools judge what stands below -out.
func TestBackupIsReal(t *testing.T) {
	qemu, vhdiinfo := interop.Tool(t, "qemu-img"), interop.Tool(t, "vhdiinfo")
	out := filepath.Join(t.TempDir(), "out")
	if status, stdout, stderr := command(t, "-out", out); status != exitGood {
		t.Fatalf("exit status %d, %s\n%s", status, stderr, stdout)
	}
	for _, name := range []string{"BackupComponents.xml", "Writers/66841cd4-6ded-4f4b-8f17-fd23f8ddc3de.xml"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	disks := 0
	err := filepath.WalkDir(filepath.Join(out, "files"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".vhd" {
			return err
		}
		disks++
		if info := shell(t, "", qemu, "info", "-f", "vpc", path); !strings.Contains(info, "virtual size") {
			t.Errorf("%s: %s", path, info)
		}
		shell(t, "", vhdiinfo, path)
		raw := filepath.Join(t.TempDir(), "raw")
		shell(t, "", qemu, "convert", "-f", "vpc", "-O", "raw", path, raw)
		shell(t, "", qemu, "compare", "-f", "vpc", "-F", "raw", path, raw)
		return nil
	})
	if err != nil || disks != 7 {
		t.Errorf("%d disks, %v", disks, err)
	}
}
