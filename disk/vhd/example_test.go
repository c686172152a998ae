package vhd_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
)

// A virtual machine writes its disk; the bytes of the file are an image at
// every instant.
func Example() {
	file := disk.NewMemory(0)
	im, err := vhd.Create(file, vhd.Options{Size: 127 << 30})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("empty:", file.Size(), "bytes")
	im.WriteAt([]byte("ledger"), 100<<30)
	backup := file.Freeze()
	im.WriteAt([]byte("LEDGER"), 100<<30)

	old, err := vhd.Open(backup, backup.Size())
	if err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 6)
	old.ReadAt(p, 100<<30)
	fmt.Printf("backup: %d bytes, a %v disk of %d with %q\n", backup.Size(), old.Type(), old.Size(), p)
	// Output:
	// empty: 266240 bytes
	// backup: 2367488 bytes, a dynamic disk of 136365211648 with "ledger"
}

// A disk becomes an image file, front to back, with its length known before.
func ExamplePlan() {
	src := disk.NewMemory(10 << 20)
	src.WriteAt([]byte("boot"), 0)
	plan, err := vhd.NewPlan(src, vhd.Options{BlockSize: 512 << 10})
	if err != nil {
		log.Fatal(err)
	}
	var w bytes.Buffer
	n, err := plan.WriteTo(&w)
	fmt.Println(plan.Size(), n, err)
	// Output:
	// 536576 536576 <nil>
}

// Errors carry Windows' code and say where the trouble lies.
func ExampleError() {
	file := disk.NewMemory(0)
	vhd.Create(file, vhd.Options{Size: 40 << 20})
	file.WriteAt([]byte{0, 0, 0, 1}, 1536) // block 0 in the dynamic header

	_, err := vhd.OpenFile(file)
	fmt.Println(errors.Is(err, vhd.ErrBAT))
	fmt.Println(err)
	// Output:
	// true
	// vhd: OpenFile: block allocation table at 1536: block 0 cannot lie at 512 to 2098176: ERROR_VHD_BLOCK_ALLOCATION_TABLE_CORRUPT (0xC03A000A)
}

func ExampleDetect() {
	file := disk.NewMemory(0)
	vhd.Create(file, vhd.Options{Size: 1 << 20, Type: vhd.Fixed})
	fmt.Println(vhd.Detect(file, file.Size()))
	fmt.Println(vhd.Detect(bytes.NewReader([]byte("MZ")), 2))
	// Output:
	// fixed VHD <nil>
	// unknown <nil>
}

func ExampleWrite() {
	src := disk.NewMemory(4 << 20)
	var w bytes.Buffer
	n, err := vhd.Write(&w, src, vhd.Options{Type: vhd.Fixed})
	fmt.Println(n, err)
	im, err := vhd.Open(bytes.NewReader(w.Bytes()), n)
	fmt.Println(im.Footer().Creator, im.Footer().Geometry, err)
	// Output:
	// 4194816 <nil>
	// win {120 4 17} <nil>
}
