package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
)

func TestOpenFileAcrossShadowCopies(t *testing.T) {
	v := volume.New(volume.Config{})
	f, err := v.Create(`\disk.vhd`)
	must(t, err)
	const generations = 5
	for i := range byte(generations) {
		_, err := f.WriteAt(bytes.Repeat([]byte{i + 1}, 100), int64(i)*50)
		must(t, err)
		must(t, v.CreateShadow([16]byte{i}))
	}
	must(t, f.Resize(10))
	for i := range byte(generations) {
		shadow, err := v.OpenShadow([16]byte{i})
		must(t, err)
		got, err := fs.ReadFile(shadow, "disk.vhd")
		must(t, err)
		want := make([]byte, int(i)*50+100)
		for j := range i + 1 {
			copy(want[int(j)*50:], bytes.Repeat([]byte{j + 1}, 100))
		}
		if !bytes.Equal(got, want) {
			t.Errorf("shadow copy %d changed", i)
		}
	}
	if got := len(v.Shadows()); got != generations || v.Shadows()[2] != [16]byte{2} {
		t.Errorf("shadow copies: %v", v.Shadows())
	}
	_, err = f.ReadAt(make([]byte, 11), 0)
	if err != io.EOF {
		t.Errorf("the live file was not cut: %v", err)
	}
}

func TestShadowCopyIsWritableUntilSealed(t *testing.T) {
	v := sample(t)
	must(t, v.CreateShadow(shadowID))
	s, err := v.ShadowVolume(shadowID)
	must(t, err)
	f, err := s.OpenFile(`\VMs\sql01\config.xml`, volume.ReadWrite, volume.Exclusive)
	must(t, err)
	_, err = f.WriteAt([]byte("<recovered/>"), 0)
	must(t, err)
	must(t, s.WriteFile(`\log`, []byte("recovered")))
	must(t, v.WriteFile(`\live`, []byte("later")))
	if data, err := v.ReadFile(`\VMs\sql01\config.xml`); string(data) != "<configuration/>" {
		t.Errorf("writing the shadow copy made the live file %q, %v", data, err)
	}
	if _, err := v.Stat(`\log`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of the shadow copy is on the volume: %v", err)
	}
	must(t, v.SealShadow(shadowID))
	must(t, v.SealShadow(shadowID))
	_, err = f.WriteAt([]byte("x"), 0)
	wantCode(t, err, volume.ErrWriteProtect)
	wantCode(t, f.Resize(0), volume.ErrWriteProtect)
	must(t, f.Close())
	for what, err := range map[string]error{
		"WriteFile": s.WriteFile(`\x`, nil), "Mkdir": s.Mkdir(`\x`), "Remove": s.Remove(`\log`),
		"RemoveAll": s.RemoveAll(`\VMs`), "Rename": s.Rename(`\log`, `\x`), "Symlink": s.Symlink(`\log`, `\x`),
		"Chtimes": s.Chtimes(`\log`, volume.Times{}), "SetAttributes": s.SetAttributes(`\log`, 0),
		"FS.Mkdir": s.FS().Mkdir("x"), "FS.Remove": s.FS().Remove("log"),
	} {
		if !errors.Is(err, volume.ErrWriteProtect) {
			t.Errorf("%s of a sealed shadow copy: %v", what, err)
		}
	}
	_, err = s.OpenFile(`\log`, volume.Write, volume.ShareWrite)
	wantCode(t, err, volume.ErrWriteProtect)
	_, err = s.FS().Create("log")
	wantCode(t, err, volume.ErrWriteProtect)
	if data, err := fs.ReadFile(s.FS(), "VMs/sql01/config.xml"); string(data) != "<recovered/>on/>" {
		t.Errorf("the sealed shadow copy has %q, %v", data, err)
	}
}

func TestDeletedShadowCopy(t *testing.T) {
	v := sample(t)
	must(t, v.CreateShadow(shadowID))
	wantCode(t, v.CreateShadow(shadowID), volume.ErrAlreadyExists)
	s, err := v.ShadowVolume(shadowID)
	must(t, err)
	wantCode(t, s.CreateShadow([16]byte{2}), volume.ErrNotSupported)
	if s.ID() != shadowID || s.Label() != "system" {
		t.Errorf("the shadow copy is %v %s", s.ID(), s.Label())
	}
	r, err := s.Open(`\VMs\sql01\config.xml`)
	must(t, err)
	w, err := s.OpenFile(`\VMs\sql01\config.xml`, volume.ReadWrite, volume.Exclusive)
	must(t, err)
	d, err := s.FS().Open("VMs")
	must(t, err)
	must(t, v.DeleteShadow(shadowID))
	if data, err := io.ReadAll(r); string(data) != "<configuration/>" || r.Close() != nil {
		t.Errorf("an open file of a deleted shadow copy: %q, %v", data, err)
	}
	_, err = w.ReadAt(make([]byte, 1), 0)
	wantCode(t, err, volume.ErrNoSuchDevice)
	_, err = w.Stat()
	wantCode(t, err, volume.ErrNoSuchDevice)
	_, err = w.Snapshot()
	wantCode(t, err, volume.ErrNoSuchDevice)
	_, err = w.Diff(r)
	wantCode(t, err, volume.ErrNoSuchDevice)
	for range w.Extents(0, 100) {
		t.Error("a deleted file has extents")
	}
	must(t, w.Close())
	_, err = d.(fs.ReadDirFile).ReadDir(-1)
	wantCode(t, err, volume.ErrNoSuchDevice)
	_, err = s.ReadFile(`\VMs\sql01\config.xml`)
	wantCode(t, err, volume.ErrNoSuchDevice)
	_, err = v.OpenShadow(shadowID)
	wantCode(t, err, volume.ErrNoSuchDevice)
	wantCode(t, v.SealShadow(shadowID), volume.ErrNoSuchDevice)
	wantCode(t, v.DeleteShadow(shadowID), volume.ErrNoSuchDevice)
	if v.ShadowUsage(shadowID) != 0 || len(v.Shadows()) != 0 {
		t.Error("something is left of the shadow copy")
	}
	must(t, v.CreateShadow(shadowID))
}

func TestShadowUsage(t *testing.T) {
	v := volume.New(volume.Config{})
	one, two := [16]byte{1}, [16]byte{2}
	usage := func(what string, wantOne, wantTwo int64) {
		t.Helper()
		if a, b := v.ShadowUsage(one), v.ShadowUsage(two); a != wantOne<<12 || b != wantTwo<<12 {
			t.Errorf("%s: diff areas hold %d and %d bytes, want %d and %d clusters", what, a, b, wantOne, wantTwo)
		}
	}
	f, err := v.Create(`\disk.vhd`)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{1}, 100<<12), 0)
	must(t, err)
	must(t, v.WriteFile(`\small`, []byte("x")))
	must(t, v.CreateShadow(one))
	usage("nothing written", 0, 0)
	_, err = f.WriteAt([]byte("ab"), 3<<12-1)
	must(t, err)
	usage("two clusters written", 2, 0)
	must(t, v.WriteFile(`\new`, []byte("new files are not the shadow copy's")))
	must(t, v.Rename(`\small`, `\renamed`))
	must(t, v.SetAttributes(`\renamed`, volume.Hidden))
	usage("a new and a renamed file", 2, 0)
	must(t, v.CreateShadow(two))
	_, err = f.WriteAt([]byte("c"), 50<<12)
	must(t, err)
	usage("one written after the second", 2, 1)
	must(t, v.Remove(`\renamed`))
	usage("a file removed", 2, 2)
	s, err := v.ShadowVolume(two)
	must(t, err)
	must(t, s.WriteFile(`\recovered`, []byte("y")))
	usage("a file written in the second", 2, 3)
	must(t, v.DeleteShadow(two))
	usage("the second deleted", 4, 0)
	must(t, f.Close())
}

// TestReadersDuringWrites reads shadow copies from several goroutines while the
// volume is written, shadow copies come and go, and the live view is listed. It
// is for the race detector as much as for the bytes.
func TestReadersDuringWrites(t *testing.T) {
	v := volume.New(volume.Config{})
	f, err := v.Create(`\disk.vhd`)
	must(t, err)
	const size = 40 << 12
	fill := func(b byte) {
		_, err := f.WriteAt(bytes.Repeat([]byte{b}, size), 0)
		must(t, err)
		must(t, v.WriteFile(fmt.Sprintf(`\file%d`, b%16), bytes.Repeat([]byte{b}, 10)))
	}
	fill(1)
	must(t, v.CreateShadow(shadowID))
	shadow, err := v.OpenShadow(shadowID)
	must(t, err)
	shared, err := shadow.Open("disk.vhd")
	must(t, err)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := readAllOnes(shadow, shared.(io.ReaderAt), size); err != nil {
					t.Error(err)
					return
				}
				if _, err := v.FS().ReadDir("."); err != nil {
					t.Error(err)
				}
				shared.(*volume.File).Bytes().WriteAt([]byte("a copy"), 0)
			}
		})
	}
	for i := range 60 {
		fill(byte(i + 2))
		id := [16]byte{2, byte(i)}
		must(t, v.CreateShadow(id))
		s, err := v.ShadowVolume(id)
		must(t, err)
		must(t, s.WriteFile(`\disk2.vhd`, []byte("recovered")))
		must(t, v.DeleteShadow(id))
	}
	close(done)
	readers.Wait()
}

// readAllOnes checks that every byte of the shadow copy is still 1.
func readAllOnes(shadow fs.FS, shared io.ReaderAt, size int) error {
	data, err := fs.ReadFile(shadow, "disk.vhd")
	if err != nil {
		return err
	}
	again := make([]byte, size)
	if _, err := shared.ReadAt(again, 0); err != nil {
		return err
	}
	want := bytes.Repeat([]byte{1}, size)
	if !bytes.Equal(data, want) || !bytes.Equal(again, want) {
		return errors.New("the shadow copy changed")
	}
	return nil
}
