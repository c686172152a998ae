package volume

import (
	"errors"
	"io/fs"
	"testing"
	"time"
)

func TestMetadataOfStandardTypes(t *testing.T) {
	v := New(Config{})
	h, err := NewHost(map[string]fs.FS{"D": v.FS()})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.WriteFile(`\a`, []byte("x")); err != nil {
		t.Fatal(err)
	}
	created, modified := time.Unix(1e9, 0).UTC(), time.Unix(2e9, 0).UTC()
	const hidden, directory = 0x2, 0x10
	if err := h.SetMetadata("D/a", created, modified, hidden|directory); err != nil {
		t.Fatal(err)
	}
	info, err := v.Stat(`\a`)
	if err != nil || info.FileAttributes() != hidden || !info.Created().Equal(created) || !info.ModTime().Equal(modified) {
		t.Errorf("the file has %v, %v, %v, %v", info.Attributes(), info.Created(), info.ModTime(), err)
	}
	if err := h.Writable("D/a"); err != nil {
		t.Errorf("a file that nobody has open: %v", err)
	}
	f, err := v.OpenFile(`\a`, Write, ShareWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Writable("D/a"); !errors.Is(err, ErrSharingViolation) {
		t.Errorf("a file in use: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.SetMetadata("D/a", time.Time{}, time.Time{}, 0x1); err != nil {
		t.Fatal(err)
	}
	if err := h.Writable("D/a"); !errors.Is(err, ErrAccessDenied) {
		t.Errorf("a read-only file: %v", err)
	}
	if err := h.Writable("D/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
