package image_test

import (
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/image"
)

// Any disk becomes an image of any format: here one in memory a VHD, and that a
// VHDX.
func ExampleConvert() {
	src := disk.NewMemory(127 << 30)
	src.WriteAt([]byte("boot sector"), 0)

	var vhdFile, vhdxFile disk.Memory
	if err := image.Convert(&vhdFile, src, image.Options{Format: image.VHD, ID: [16]byte{1}}); err != nil {
		fmt.Println(err)
		return
	}
	im, err := image.Open(&vhdFile, vhdFile.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := image.Convert(&vhdxFile, im, image.Options{Format: image.VHDX, ID: [16]byte{2}}); err != nil {
		fmt.Println(err)
		return
	}
	im, err = image.Open(&vhdxFile, vhdxFile.Size())
	if err != nil {
		fmt.Println(err)
		return
	}
	format, kind := image.FormatOf(im)
	text := make([]byte, 11)
	im.ReadAt(text, 0)
	fmt.Printf("%v %v of %d GiB: %s\n", kind, format, im.Size()>>30, text)
	// Output:
	// dynamic VHDX of 127 GiB: boot sector
}

// A chain is opened by its leaf's path, and merged in steps while it is in use.
func ExampleOpenChain() {
	files := map[string]*disk.Memory{`C:\VMs\db.vhd`: {}, `C:\VMs\db_1.avhd`: {}}
	base, _ := image.Create(files[`C:\VMs\db.vhd`], image.Options{Format: image.VHD, Size: 8 << 20, ID: [16]byte{1}})
	base.WriteAt([]byte("as installed"), 0)
	image.Create(files[`C:\VMs\db_1.avhd`], image.Options{
		Format: image.VHD, ID: [16]byte{2}, Parent: base,
		Place: image.Place{Parent: `C:\VMs\db.vhd`, Child: `C:\VMs\db_1.avhd`},
	})

	resolver := image.ResolverFunc(func(path string) (disk.Source, error) {
		if f, ok := files[path]; ok {
			return f, nil
		}
		return nil, fs.ErrNotExist
	})
	chain, err := image.OpenChain(`C:\VMs\db_1.avhd`, resolver, image.ChainOptions{Write: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	chain.WriteAt([]byte("patched"), 5)
	show := func(what string, s disk.Source) {
		text := make([]byte, 12)
		s.ReadAt(text, 0)
		fmt.Printf("%s: %s\n", what, text)
	}
	show("chain", chain)
	show("base", chain.Links()[1].Image)

	merge, err := image.NewMerge(chain, 0)
	for done := false; !done && err == nil; {
		done, err = merge.Step(1 << 20)
	}
	fmt.Println("links:", len(merge.Chain().Links()), err)
	show("base", merge.Chain())

	delete(files, `C:\VMs\db.vhd`)
	_, err = image.OpenChain(`C:\VMs\db_1.avhd`, resolver, image.ChainOptions{})
	fmt.Println(err)
	// Output:
	// chain: as inpatched
	// base: as installed
	// links: 1 <nil>
	// base: as inpatched
	// image: OpenChain: C:\VMs\db_1.avhd: tried C:\VMs\db.vhd: ERROR_VHD_PARENT_VHD_NOT_FOUND (0xC03A000D)
}
