package volume_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// A backup program reads a shadow copy into an archive while the volume is
// written, and a restore puts it on another volume.
func ExampleWriteTar() {
	v := volume.New(volume.Config{Label: "data"})
	v.MkdirAll(`\VMs\sql01`)
	v.WriteFile(`\VMs\sql01\config.xml`, []byte("as of the backup"))
	v.SetAttributes(`\VMs\sql01\config.xml`, volume.ReadOnly)

	id := [16]byte{1}
	v.CreateShadow(id)
	v.SealShadow(id)
	v.WriteFile(`\VMs\later.xml`, []byte("not in it"))
	shadow, err := v.OpenShadow(id)
	if err != nil {
		fmt.Println(err)
		return
	}
	var archive bytes.Buffer
	if err := volume.WriteTar(&archive, shadow); err != nil {
		fmt.Println(err)
	}

	r := tar.NewReader(bytes.NewReader(archive.Bytes()))
	for h, err := r.Next(); err != io.EOF; h, err = r.Next() {
		fmt.Println(h.Name, h.Size)
	}
	target := volume.New(volume.Config{})
	if err := volume.ReadTar(target.FS(), "restored", &archive); err != nil {
		fmt.Println(err)
	}
	info, _ := target.Stat(`\restored\VMs\sql01\CONFIG.XML`)
	fmt.Println(info.Name(), info.Attributes())
	// Output:
	// VMs/ 0
	// VMs/sql01/ 0
	// VMs/sql01/config.xml 16
	// config.xml ReadOnly
}

// A quota holds for everything below a directory.
func ExampleVolume_SetQuota() {
	v := volume.New(volume.Config{})
	v.MkdirAll(`\Backups\monday`)
	v.SetQuota(`\Backups`, 8192)
	fmt.Println(v.WriteFile(`\Backups\monday\a`, []byte("takes a cluster")))
	fmt.Println(v.WriteFile(`\Backups\b`, bytes.Repeat([]byte("x"), 5000)))
	q, _ := v.QuotaOf(`\Backups`)
	fmt.Println(q.Used, "of", q.Limit)
	// Output:
	// <nil>
	// WriteFile \Backups\b: ERROR_DISK_FULL (112)
	// 4096 of 8192
}
