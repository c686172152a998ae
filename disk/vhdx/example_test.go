package vhdx_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

// A virtual machine writes its disk; the bytes of the file are an image at
// every instant.
func Example() {
	file := disk.NewMemory(0)
	im, err := vhdx.Create(file, vhdx.Options{Size: 127 << 30})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("empty:", file.Size(), "bytes")
	im.WriteAt([]byte("ledger"), 100<<30)
	backup := file.Freeze()
	im.WriteAt([]byte("LEDGER"), 100<<30)

	old, err := vhdx.Open(backup, backup.Size())
	if err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 6)
	old.ReadAt(p, 100<<30)
	fmt.Printf("backup: %d bytes, a %v disk of %d with %q\n", backup.Size(), old.Type(), old.Size(), p)
	// Output:
	// empty: 4194304 bytes
	// backup: 37748736 bytes, a dynamic disk of 136365211648 with "ledger"
}

// A checkpoint: a child over a disk that nobody writes any more. When it is
// opened again, its names lead to the parent, whose identity is verified.
func ExampleImage_SetParent() {
	base := disk.NewMemory(0)
	parent, _ := vhdx.Create(base, vhdx.Options{Size: 1 << 30})
	parent.WriteAt([]byte("before "), 0)
	parent.Close()
	file := disk.NewMemory(0)
	child, err := vhdx.Create(file, vhdx.Options{Parent: vhdx.Parent{Image: parent, Path: `C:\VMs\db.vhdx`, Child: `C:\VMs\snap\db_1.avhdx`}})
	if err != nil {
		log.Fatal(err)
	}
	child.WriteAt([]byte("after"), 512)
	child.Close()

	child, _ = vhdx.Open(file, file.Size())
	link, _ := child.Link()
	fmt.Println(link.Candidates())
	fmt.Println(child.SetParent(parent, vhdx.CheckID))
	p := make([]byte, 6)
	child.ReadAt(p, 0)
	fmt.Printf("%s", p)
	child.ReadAt(p[:5], 512)
	fmt.Printf(" %s\n", p[:5])

	parent, _ = vhdx.OpenFile(base) // somebody writes the parent
	parent.WriteAt([]byte("BEFORE"), 0)
	fmt.Println(errors.Is(child.SetParent(parent, vhdx.CheckID), vhdx.ErrParentID))
	// Output:
	// [..\db.vhdx \\?\C:\VMs\db.vhdx]
	// <nil>
	// before after
	// true
}

// A disk becomes an image file, front to back, with its length known before.
func ExamplePlan() {
	src := disk.NewMemory(10 << 20)
	src.WriteAt([]byte("boot"), 0)
	plan, err := vhdx.NewPlan(src, vhdx.Options{BlockSize: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	var w bytes.Buffer
	n, err := plan.WriteTo(&w)
	fmt.Println(plan.Size(), n, err)
	// Output:
	// 5242880 5242880 <nil>
}

func ExampleWrite() {
	src := disk.NewMemory(4 << 20)
	var w bytes.Buffer
	n, err := vhdx.Write(&w, src, vhdx.Options{Type: vhdx.Fixed, BlockSize: 1 << 20})
	fmt.Println(n, err)
	im, err := vhdx.Open(bytes.NewReader(w.Bytes()), n)
	fmt.Println(im.Type(), im.Creator(), err)
	// Output:
	// 8388608 <nil>
	// fixed shadowsim <nil>
}

// What an image has of its own, what it knows to be zero, and what is its
// parent's.
func ExampleImage_Spans() {
	parent, _ := vhdx.Create(disk.NewMemory(0), vhdx.Options{Size: 4 << 20})
	child, _ := vhdx.Create(disk.NewMemory(0), vhdx.Options{BlockSize: 1 << 20, Parent: vhdx.Parent{Image: parent, Path: `.\p.vhdx`}})
	child.WriteAt([]byte("own"), 1000)
	child.Discard(1<<20, 1<<20)
	for s := range child.Spans(0, child.Size()) {
		fmt.Println(s.Off, s.Len, map[disk.Origin]string{disk.Own: "own", disk.Zero: "zero", disk.Below: "below"}[s.Origin])
	}
	// Output:
	// 0 512 below
	// 512 512 own
	// 1024 1047552 below
	// 1048576 1048576 zero
	// 2097152 2097152 below
}

// Errors carry Windows' code and say where the trouble lies.
func ExampleError() {
	file := disk.NewMemory(0)
	vhdx.Create(file, vhdx.Options{Size: 40 << 20})
	file.WriteAt([]byte{6, 0, 0x10}, 3<<20) // block 0 over the log

	_, err := vhdx.OpenFile(file)
	fmt.Println(errors.Is(err, vhdx.ErrBAT))
	fmt.Println(err)
	// Output:
	// true
	// vhdx: OpenFile: block allocation table at 3145728: block 0 at 1048576 leaves the file of 4194304: ERROR_VHD_BLOCK_ALLOCATION_TABLE_CORRUPT (0xC03A000A)
}
