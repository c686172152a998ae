package hyperv_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// folderHost has n machines whose files all lie in the same folders.
func folderHost(ctx context.Context, w *sim.World, n int) (*hyperv.Host, error) {
	h, err := hyperv.NewHost(w, hyperv.HostConfig{Name: "h1", Volumes: hyperv.Volumes("C:", "D:")})
	for i := 0; i < n && err == nil; i++ {
		name := fmt.Sprintf("vm%05d", i)
		_, err = h.CreateVM(ctx, hyperv.VMConfig{Name: name, Disks: []hyperv.DiskConfig{{Path: `D:\Disks\` + name + `.vhd`, Size: 32 << 20}}})
	}
	return h, err
}

// BenchmarkSharedFolder is BenchmarkHost for machines in the default location,
// whose files all lie in the same folders.
func BenchmarkSharedFolder(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var c costs
			for b.Loop() {
				check(b, c.folder(b.Context(), n))
			}
			c.report(b, n)
		})
	}
}

func (c *costs) folder(ctx context.Context, n int) error {
	w := sim.New(sim.Limits(0, 1<<40))
	c.begin()
	h, err := folderHost(ctx, w, n)
	c.end("build-us/vm")
	if err != nil {
		return err
	}
	target := newTarget()
	c.begin()
	err = backUp(ctx, h, target)
	c.end("backup-us/vm")
	if err != nil {
		return err
	}
	c.begin()
	err = restoreTo(ctx, h, target)
	c.end("restore-us/vm")
	if err == nil && len(h.VMs()) != n {
		err = fmt.Errorf("%d machines", len(h.VMs()))
	}
	if err != nil {
		return err
	}
	return w.Close()
}

// What a machine costs does not grow with the number of files beside its own.
func TestSharedFolder(t *testing.T) {
	var few, many costs
	for n, c := range map[int]*costs{20: &few, 200: &many} {
		if err := c.folder(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := few.bytes/20, many.bytes/200; b > a*5/4 {
		t.Errorf("a machine among 200 takes %d bytes, one among 20 takes %d", b, a)
	}
}
