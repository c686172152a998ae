package vss

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// manyFiles is the document of a writer with n files, a hundred a component.
func manyFiles(n int) *WriterMetadata {
	m := NewWriterMetadata(WriterIdentity{WriterID: [16]byte{1}, InstanceID: [16]byte{2}, FriendlyName: "Bench Writer",
		Usage: UsageUserData, Source: SourceOther})
	for i := range n {
		key := ComponentKey{Name: fmt.Sprintf("component %d", i/100)}
		if i%100 == 0 {
			m.Components = append(m.Components, ComponentInfo{ComponentKey: key, Type: ComponentFileGroup, Selectable: true})
		}
		c := &m.Components[len(m.Components)-1]
		c.Files = append(c.Files, FileSet{
			FileSpec: FileSpec{Path: fmt.Sprintf(`C:\Windows\WinSxS\amd64_package_%d`, i), Spec: "file.dll", Recursive: i%7 == 0},
			Mask:     FileSpecDefault,
		})
	}
	return m
}

func BenchmarkReadWriterMetadata(b *testing.B) {
	for _, n := range []int{1_000, 20_000, 50_000} {
		var text bytes.Buffer
		if err := manyFiles(n).WriteXML(&text); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			b.SetBytes(int64(text.Len()))
			b.ReportAllocs()
			for b.Loop() {
				m, err := ReadWriterMetadata(bytes.NewReader(text.Bytes()))
				if err != nil || len(m.Components) != n/100 {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadWriterMetadataUTF16(b *testing.B) {
	var text bytes.Buffer
	if err := manyFiles(20_000).WriteXMLUTF16(&text); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := ReadWriterMetadata(bytes.NewReader(text.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteWriterMetadata(b *testing.B) {
	for _, n := range []int{1_000, 20_000, 50_000} {
		m := manyFiles(n)
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := m.WriteXML(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAddComponent adds components by the methods a writer uses.
func BenchmarkAddComponent(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("components=%d", n), func(b *testing.B) {
			for b.Loop() {
				m := NewWriterMetadata(WriterIdentity{FriendlyName: "Bench Writer"})
				for i := range n {
					key := ComponentKey{Name: fmt.Sprintf("%08X", i)}
					if err := m.AddComponent(ComponentInfo{ComponentKey: key, Type: ComponentFileGroup}); err != nil {
						b.Fatal(err)
					}
					if err := m.AddFilesToFileGroup(key, FileSet{FileSpec: FileSpec{Path: `D:\`, Spec: "x"}}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/component")
		})
	}
}
