package volume_test

import (
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// BenchmarkQuota overwrites a small file ten directories deep, where no quota
// is, and below one.
func BenchmarkQuota(b *testing.B) {
	for _, limit := range []int64{0, 1 << 30} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			v := files(b, 1000)
			must(b, v.MkdirAll(`\a\b\c\d\e\f\g\h\i\j`))
			must(b, v.SetQuota(`\a`, limit))
			page := make([]byte, 4096)
			page[0] = 1
			b.ReportAllocs()
			for b.Loop() {
				must(b, v.WriteFile(`\a\b\c\d\e\f\g\h\i\j\file`, page))
			}
		})
	}
}

// BenchmarkRename renames a directory with many files: beside itself, and from
// below one quota to another, which counts them.
func BenchmarkRename(b *testing.B) {
	for _, count := range []int{10, 100_000} {
		for _, crossing := range []bool{false, true} {
			b.Run(fmt.Sprintf("files=%d/quota=%t", count, crossing), func(b *testing.B) {
				v := volume.New(volume.Config{})
				must(b, v.MkdirAll(`\x\dir`))
				must(b, v.MkdirAll(`\y`))
				for i := range count {
					must(b, v.WriteFile(fmt.Sprintf(`\x\dir\file%d`, i), []byte("content")))
				}
				if crossing {
					must(b, v.SetQuota(`\x`, 1<<40))
				}
				b.ReportAllocs()
				for b.Loop() {
					must(b, v.Rename(`\x\dir`, `\y\dir`))
					must(b, v.Rename(`\y\dir`, `\x\dir`))
				}
			})
		}
	}
}
