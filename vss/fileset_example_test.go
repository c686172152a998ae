package vss_test

import (
	"fmt"
	"testing/fstest"

	"github.com/shadowsim/shadowsim/vss"
)

// A requester lists the files of a component in a shadow copy of volume D:.
func ExampleExpandFileSet() {
	shadow := fstest.MapFS{
		"VMs/sql01/data.vhd":   {},
		"VMs/sql01/log.vhd":    {},
		"VMs/sql01/log.bak":    {},
		"VMs/sql01/notes.txt":  {},
		"VMs/files01/data.vhd": {},
	}
	set := vss.FileSet{FileSpec: vss.FileSpec{Path: `%vms%\SQL01`, Spec: "*", Recursive: true}}
	files, err := vss.ExpandFileSet(shadow, `D:\`, set, vss.ExpandOptions{
		Excludes:    []vss.FileSpec{{Path: `D:\VMs`, Spec: "*.bak", Recursive: true}},
		Environment: map[string]string{"VMs": `D:\VMs`},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range files {
		fmt.Println(f.Name, "is restored to", f.Path)
	}
	// Output:
	// VMs/sql01/data.vhd is restored to D:\VMs\SQL01\data.vhd
	// VMs/sql01/log.vhd is restored to D:\VMs\SQL01\log.vhd
	// VMs/sql01/notes.txt is restored to D:\VMs\SQL01\notes.txt
}

func ExampleParseRanges() {
	ranges, _, err := vss.ParseRanges("0:512, 0x1000:0x200")
	fmt.Println(ranges, err)
	_, file, err := vss.ParseRanges(`File=D:\backup\ranges.bin`)
	fmt.Println(file, err)
	// Output:
	// [0:512 4096:512] <nil>
	// D:\backup\ranges.bin <nil>
}
