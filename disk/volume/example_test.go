package volume_test

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// A running machine writes its disk before and after a shadow copy is taken.
func Example() {
	v := volume.New(volume.Config{Label: "data"})
	v.MkdirAll(`\VMs\sql01`)
	f, err := v.Create(`\VMs\sql01\disk.vhd`)
	if err != nil {
		fmt.Println(err)
		return
	}
	f.WriteAt([]byte("as of the backup"), 0)

	id := [16]byte{0x66, 0x84}
	if err := v.CreateShadow(id); err != nil {
		fmt.Println(err)
		return
	}
	f.WriteAt([]byte("written later..."), 0)

	shadow, err := v.OpenShadow(id)
	if err != nil {
		fmt.Println(err)
		return
	}
	old, _ := fs.ReadFile(shadow, "VMs/sql01/DISK.VHD")
	now, _ := v.ReadFile(`\vms\sql01\disk.vhd`)
	fmt.Printf("shadow copy: %s\nvolume:      %s\n", old, now)
	fmt.Println("diff area:  ", v.ShadowUsage(id))

	_, err = v.OpenFile(`\VMs\sql01\disk.vhd`, volume.Write, volume.Exclusive)
	fmt.Println(err)
	if code, ok := errors.AsType[volume.Code](err); ok {
		fmt.Printf("0x%08X\n", code.HRESULT())
	}
	// Output:
	// shadow copy: as of the backup
	// volume:      written later...
	// diff area:   4096
	// OpenFile \VMs\sql01\disk.vhd: ERROR_SHARING_VIOLATION (32)
	// 0x80070020
}

// A shadow copy can be brought in order until it is sealed.
func ExampleVolume_SealShadow() {
	v := volume.New(volume.Config{})
	v.WriteFile(`\ledger.log`, []byte("unfinished"))
	id := [16]byte{1}
	v.CreateShadow(id)

	s, _ := v.ShadowVolume(id)
	fmt.Println(s.WriteFile(`\ledger.log`, []byte("rolled back")))
	v.SealShadow(id)
	fmt.Println(s.WriteFile(`\ledger.log`, nil))

	old, _ := s.ReadFile(`\ledger.log`)
	now, _ := v.ReadFile(`\ledger.log`)
	fmt.Printf("%s, %s\n", old, now)
	// Output:
	// <nil>
	// WriteFile \ledger.log: ERROR_WRITE_PROTECT (19)
	// rolled back, unfinished
}

// A host puts drives together, and links lead from one to another.
func ExampleHost() {
	c, d := volume.New(volume.Config{}), volume.New(volume.Config{})
	c.MkdirAll(`\ProgramData\Virtual Machines`)
	c.Symlink(`D:\VMs\sql01.xml`, `\ProgramData\Virtual Machines\sql01.xml`)
	d.MkdirAll(`\VMs`)
	d.WriteFile(`\VMs\sql01.xml`, []byte("<configuration/>"))

	host, err := volume.NewHost(map[string]fs.FS{"C": c.FS(), "D": d.FS()})
	if err != nil {
		fmt.Println(err)
		return
	}
	data, _ := fs.ReadFile(host, "C/ProgramData/Virtual Machines/sql01.xml")
	fmt.Printf("%s\n", data)
	path, _ := host.Resolve(`c:\programdata\virtual machines\SQL01.xml`)
	fmt.Println(path)
	fs.WalkDir(host, ".", func(name string, d fs.DirEntry, err error) error {
		fmt.Println(d)
		return err
	})
	// Output:
	// <configuration/>
	// D:\VMs\sql01.xml
	// d ./
	// d C/
	// d ProgramData/
	// d Virtual Machines/
	// L sql01.xml
	// d D/
	// d VMs/
	// - sql01.xml
}

// CopyFS fills a volume from any file system, another volume among them.
func ExampleCopyFS() {
	from, to := volume.New(volume.Config{}), volume.New(volume.Config{})
	disk, _ := from.Create(`\disk.vhd`)
	disk.Resize(127 << 30) // nothing is written, nothing is copied
	disk.Close()
	from.SetAttributes(`\disk.vhd`, volume.ReadOnly)

	if err := volume.CopyFS(to.FS(), "restored", from.FS()); err != nil {
		fmt.Println(err)
	}
	info, _ := to.Stat(`\restored\disk.vhd`)
	fmt.Println(info, info.Attributes())
	// Output: -r--r--r-- 136365211648 2008-01-01 00:00:00 disk.vhd ReadOnly
}

func ExampleSplit() {
	drive, rest, _ := volume.Split(`d:/VMs\.\sql01\..\web`)
	fmt.Println(drive, rest)
	_, _, err := volume.Split(`D:\VMs\nul.txt`)
	fmt.Println(err)
	// Output:
	// D \VMs\web
	// Split D:\VMs\nul.txt: ERROR_INVALID_NAME (123)
}
