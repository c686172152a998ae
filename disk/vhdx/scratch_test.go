package vhdx_test

import (
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhdx"
)

func TestScratchShort(t *testing.T) {
	for _, size := range []int64{5*mib + 1024, 5*mib + mib/2} {
	file := disk.NewMemory(0)
	im := must(vhdx.Create(file, vhdx.Options{Size: size, BlockSize: mib}))
	must(im.WriteAt(pattern(3, 1024), 5*mib))
	must(0, im.Close())
	must(0, file.Resize(file.Size()-mib+size-5*mib))
	im = must(vhdx.OpenFile(file))
	if err := im.Discard(5*mib, size-5*mib); err != nil {
		t.Fatal(err)
	}
	if _, err := im.WriteAt(pattern(4, 1024), 5*mib); err != nil {
		t.Error("write: ", err)
	}
	}
}

func TestScratchZeros(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5} {
		items := []logItem{}
		for range n {
			items = append(items, logItem{off: 8 * mib, n: 79 << 40})
		}
		k := small().logged(9, 0, logEntry(9, 5, 0, end, 80<<40, items...))
		at := time.Now()
		_, err := vhdx.Open(k, k.Size())
		t.Log(n, time.Since(at), err)
	}
}
