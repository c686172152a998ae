package requester_test

import (
	"context"
	"fmt"
	"io/fs"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// many is a machine with one writer of n components of one file each.
func many(b *testing.B, n int) (*vss.Service, *volume.Volume) {
	w := sim.New(sim.NoTrace())
	b.Cleanup(func() { _ = w.Close() })
	s := vss.NewService(w.Actor("h1"), vss.ServiceConfig{})
	v := volume.New(volume.Config{})
	a := &app{name: "many", restore: vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways}}
	for i := range n {
		dir := fmt.Sprintf(`\store\%05d`, i)
		a.parts = append(a.parts, group(dir[1:], `D:`+dir+`\disk.vhd`))
		if err := v.MkdirAll(dir); err != nil {
			b.Fatal(err)
		}
		if err := v.WriteFile(dir+`\disk.vhd`, []byte("content")); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.AddVolume(&drive{Volume: v, name: `D:\`}); err != nil {
		b.Fatal(err)
	}
	if _, err := s.Subscribe(a, vss.WriterConfig{ClassID: guid.GUID{1}, Name: "many"}); err != nil {
		b.Fatal(err)
	}
	return s, v
}

// BenchmarkComponents is the cost of a component, in a backup and in a restore.
func BenchmarkComponents(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		s, v := many(b, n)
		target := &requester.Memory{}
		host, err := volume.NewHost(map[string]fs.FS{"D": v.FS()})
		if err != nil {
			b.Fatal(err)
		}
		run := func(name string, fn func(ctx context.Context) error) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := fn(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/component")
			})
		}
		run("backup", func(ctx context.Context) error {
			target = &requester.Memory{}
			_, err := (&requester.Backup{Service: s, Target: target}).Run(ctx)
			return err
		})
		run("restore", func(ctx context.Context) error {
			_, err := (&requester.Restore{Service: s, Source: target, Destination: host}).Run(ctx)
			return err
		})
	}
}
