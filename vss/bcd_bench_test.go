package vss

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// BenchmarkBackupComponents reads and writes the document of a backup with that
// many components, and adds them one by one.
func BenchmarkBackupComponents(b *testing.B) {
	for _, n := range []int{1_000, 20_000} {
		build := func() *BackupComponentsDocument {
			d := &BackupComponentsDocument{SelectComponents: true, BackupType: BackupFull}
			w := d.AddWriter(WriterRecord{WriterID: [16]byte{1}, InstanceID: [16]byte{2}})
			for i := range n {
				c, err := w.AddComponent(ComponentRecord{ComponentKey: ComponentKey{Name: fmt.Sprintf("%08X", i)}, Type: ComponentFileGroup})
				if err != nil {
					b.Fatal(err)
				}
				c.BackupStamp = "a stamp"
			}
			return d
		}
		var text bytes.Buffer
		if err := build().WriteXML(&text); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("build/components=%d", n), func(b *testing.B) {
			for b.Loop() {
				build()
			}
		})
		b.Run(fmt.Sprintf("read/components=%d", n), func(b *testing.B) {
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				if _, err := ReadBackupComponents(bytes.NewReader(text.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("write/components=%d", n), func(b *testing.B) {
			d := build()
			for b.Loop() {
				if err := d.WriteXML(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
