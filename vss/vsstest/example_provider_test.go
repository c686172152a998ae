package vsstest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A forgetful array does not take its copies back.
type forgetful struct{ *array }

func (forgetful) AbortSnapshots(context.Context, guid.GUID) error { return nil }

// A provider of one's own, proved: an array that keeps its copies outside of the
// volumes, then one that does not take them back when a set is given up.
func ExampleTestProvider() {
	o := vsstest.ProviderOptions{Config: vss.ProviderConfig{Name: "Array", Type: vss.ProviderHardware}, Runs: 20}
	fmt.Println(vsstest.TestProvider(newArray, o))

	o.Replay = "begin set=1 volume=D; end set=1; precommit set=1; commit set=1; abort set=1"
	err := vsstest.TestProvider(func(context.Context, *vsstest.ProviderEnv) (vss.Provider, error) {
		return forgetful{openArray()}, nil
	}, o)
	var first *vsstest.Broken
	if errors.As(err, &first) {
		fmt.Println(first.Call, "breaks:", first.Promise)
		fmt.Println(first.Fact)
	}
	// Output:
	// <nil>
	// AbortSnapshots breaks: nothing is left of a set that was given up (AbortSnapshots)
	// the copy of D:\ in set 1 is still there
}
