package file_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/file"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// An image of a large disk is made in a file, in place.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	f, err := file.Create(filepath.Join(dir, "disk.vhd"), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	im, err := vhd.Create(f, vhd.Options{Size: 127 << 30})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := im.WriteAt([]byte("NTFS"), 1<<20); err != nil {
		fmt.Println(err)
	}
	for e := range disk.Extents(im, 0, im.Size()) {
		fmt.Println(e.Off <= 1<<20 && e.End() > 1<<20)
	}
	fmt.Println(f.Size()>>20, "MiB of file for", im.Size()>>30, "GiB of disk")
	// Output:
	// true
	// 2 MiB of file for 127 GiB of disk
}
