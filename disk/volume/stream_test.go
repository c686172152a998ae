package volume_test

import (
	"bytes"
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

func TestRemovedStreamHindersNothing(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.MkdirAll(`\dir\below`))
	must(t, v.WriteFile(`\dir\below\f`, []byte("x")))
	f, err := v.Open(`\dir\below\f`)
	must(t, err)
	must(t, v.AdoptStream(`\dir\below\f`, "s", f.Bytes()))
	s, err := v.OpenStream(`\dir\below\f`, "s")
	must(t, err)
	wantCode(t, v.Rename(`\dir`, `\moved`), volume.ErrAccessDenied)
	must(t, v.RemoveStream(`\dir\below\f`, "s"))
	must(t, v.Rename(`\dir`, `\moved`))
	must(t, s.Close())
	wantCode(t, s.Close(), volume.ErrInvalidHandle)
}

func TestStreamsGiveBackNoMoreThanTheyTook(t *testing.T) {
	const capacity = 64 << 12
	v := volume.New(volume.Config{Capacity: capacity})
	must(t, v.WriteFile(`\f`, bytes.Repeat([]byte{1}, 16<<12)))
	f, err := v.Open(`\f`)
	must(t, err)
	must(t, v.AdoptStream(`\f`, "s", f.Bytes()))
	s, err := v.OpenStream(`\f`, "s")
	must(t, err)
	free := func(what string, want int64) {
		t.Helper()
		if got := v.Free(); got != want<<12 {
			t.Errorf("%s: %d bytes free, want %d clusters", what, got, want)
		}
	}
	free("adopted", 48)
	must(t, s.Discard(0, 8<<12))
	free("discarded what the file has too", 48)
	_, err = s.WriteAt(bytes.Repeat([]byte{2}, 2<<12), 0)
	must(t, err)
	free("written anew", 46)
	must(t, s.Resize(0))
	free("emptied", 48)
	must(t, s.Close())
	must(t, v.Remove(`\f`))
	free("removed with the file", 64)
}

func TestOverwritingRemovesStreams(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\f`, []byte("x")))
	for what, overwrite := range map[string]func(m *volume.File) error{
		"WriteFile": func(*volume.File) error { return v.WriteFile(`\f`, []byte("y")) },
		"Adopt":     func(f *volume.File) error { return v.Adopt(`\f`, f.Bytes()) },
		"Create": func(*volume.File) error {
			w, err := v.Create(`\f`)
			if err != nil {
				return err
			}
			return w.Close()
		},
	} {
		f, err := v.Open(`\f`)
		must(t, err)
		must(t, v.AdoptStream(`\f`, "s", f.Bytes()))
		must(t, v.Rename(`\f`, `\g`))
		must(t, v.Rename(`\g`, `\f`))
		if names, err := v.Streams(`\f`); len(names) != 1 || err != nil {
			t.Errorf("%s: before it the file has streams %q, %v", what, names, err)
		}
		shadow := [16]byte{9}
		must(t, v.CreateShadow(shadow))
		must(t, overwrite(f))
		if names, err := v.Streams(`\f`); len(names) != 0 || err != nil {
			t.Errorf("%s left streams %q, %v", what, names, err)
		}
		s, err := v.ShadowVolume(shadow)
		must(t, err)
		if names, err := s.Streams(`\f`); len(names) != 1 || err != nil {
			t.Errorf("%s: the shadow copy has streams %q, %v", what, names, err)
		}
		must(t, v.DeleteShadow(shadow))
	}
}

func TestStreamNames(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.WriteFile(`\f`, nil))
	must(t, v.Mkdir(`\dir`))
	f, err := v.Open(`\f`)
	must(t, err)
	wantCode(t, v.AdoptStream(`\f`, "a:b", f.Bytes()), volume.ErrInvalidName)
	wantCode(t, v.AdoptStream(`\dir`, "s", f.Bytes()), volume.ErrAccessDenied)
	wantCode(t, v.SealStream(`\f`, "s"), volume.ErrFileNotFound)
	wantCode(t, v.RemoveStream(`\f`, "s"), volume.ErrFileNotFound)
	_, err = v.OpenStream(`\x\f`, "s")
	wantCode(t, err, volume.ErrPathNotFound)
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
