package volume_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
)

func streamText(t *testing.T, v *volume.Volume, path, name string) string {
	t.Helper()
	f, err := v.OpenStream(path, name)
	must(t, err)
	defer func() { _ = f.Close() }()
	b := make([]byte, f.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStreamsBelongToTheFileAndNotToItsBytes(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\disk.vhd`, []byte("old")))
	f, err := v.OpenFile(`\disk.vhd`, volume.ReadWrite, volume.Exclusive)
	must(t, err)
	must(t, v.AdoptStream(`\disk.vhd`, "kept", f.Bytes()))
	if err := v.AdoptStream(`\disk.vhd`, "KEPT", f.Bytes()); !errors.Is(err, volume.ErrAlreadyExists) {
		t.Errorf("a second stream of the name: %v", err)
	}
	_, err = f.WriteAt([]byte("new"), 0)
	must(t, err)
	shadow := [16]byte{1}
	must(t, v.CreateShadow(shadow))

	s, err := v.ShadowVolume(shadow)
	must(t, err)
	k, err := s.OpenStream(`\disk.vhd`, "kept")
	must(t, err)
	_, err = k.WriteAt([]byte("OLD"), 0)
	must(t, err)
	if got := streamText(t, s, `\disk.vhd`, "kept"); got != "OLD" {
		t.Errorf("the shadow copy's stream holds %q", got)
	}
	if got := streamText(t, v, `\disk.vhd`, "kept"); got != "old" {
		t.Errorf("the volume's stream holds %q", got)
	}
	copied, err := v.Open(`\disk.vhd`)
	must(t, err)
	must(t, v.Adopt(`\copy.vhd`, copied.Bytes()))
	if names, err := v.Streams(`\copy.vhd`); err != nil || len(names) != 0 {
		t.Errorf("a copy of the bytes has streams %q, %v", names, err)
	}
}

func TestSealedAndRemovedStreams(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\f`, []byte("x")))
	f, err := v.Open(`\f`)
	must(t, err)
	for _, name := range []string{"b", "a"} {
		must(t, v.AdoptStream(`\f`, name, f.Bytes()))
	}
	if names, _ := v.Streams(`\F`); !slices.Equal(names, []string{"b", "a"}) {
		t.Errorf("streams %q", names)
	}
	must(t, v.SealStream(`\f`, "a"))
	a, err := v.OpenStream(`\f`, "a")
	must(t, err)
	if _, err := a.WriteAt([]byte("y"), 0); !errors.Is(err, volume.ErrAccessDenied) {
		t.Errorf("writing a sealed stream: %v", err)
	}
	b, err := v.OpenStream(`\f`, "b")
	must(t, err)
	must(t, v.RemoveStream(`\f`, "b"))
	if _, err := b.WriteAt([]byte("y"), 0); !errors.Is(err, volume.ErrInvalidHandle) {
		t.Errorf("writing a removed stream: %v", err)
	}
	if b.Size() != 0 {
		t.Errorf("a removed stream has %d bytes", b.Size())
	}
	must(t, b.Close())
	if _, err := v.OpenStream(`\f`, "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening a removed stream: %v", err)
	}
	must(t, v.Remove(`\f`))
	if _, err := v.Streams(`\f`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("streams of a removed file: %v", err)
	}
}
