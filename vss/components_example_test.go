package vss_test

import (
	"fmt"

	"github.com/shadowsim/shadowsim/vss"
)

func ExampleComponentTree() {
	tree := vss.NewComponentTree([]vss.ComponentInfo{
		{ComponentKey: vss.ComponentKey{Name: "Executables"}},
		{ComponentKey: vss.ComponentKey{Name: "Data"}, Selectable: true},
		{ComponentKey: vss.ComponentKey{LogicalPath: "Data", Name: "January"}, SelectableForRestore: true},
	})
	data, january := vss.ComponentKey{Name: "Data"}, vss.ComponentKey{LogicalPath: "Data", Name: "January"}

	added, err := tree.Choose(data)
	fmt.Println(added, err)
	fmt.Println("with Data come", tree.Members(data))
	root, err := tree.RestoreRoot(january, added)
	fmt.Println("January is restored as a subcomponent of", root, err)
	// Output:
	// [Executables Data] <nil>
	// with Data come [Data\January]
	// January is restored as a subcomponent of Data <nil>
}
