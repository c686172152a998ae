package guest_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
)

func TestKeeper(t *testing.T) {
	d := guest.NewDisk(disk.NewMemory(1 << 20))
	first, second := [16]byte{1}, [16]byte{2}
	write := func(s disk.Store, b byte) error { _, err := s.WriteAt([]byte{b}, 100); return err }
	read := func(s disk.Store) byte {
		b := make([]byte, 1)
		if _, err := s.ReadAt(b, 100); err != nil {
			t.Fatal(err)
		}
		return b[0]
	}
	kept := func(id [16]byte) disk.Store {
		s, err := d.Kept(id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	must(write(d, 'a'))
	must(d.Keep(first))
	must(write(d, 'b'))
	must(d.Keep(second))
	must(write(d, 'c'))
	if err := d.Keep(first); !errors.Is(err, guest.ErrShadowExists) || !errors.Is(err, fs.ErrExist) {
		t.Errorf("Keep again: %v", err)
	}
	if got := string([]byte{read(d), read(kept(first)), read(kept(second))}); got != "cab" {
		t.Errorf("live, first, second: %q", got)
	}

	must(write(kept(first), 'x'))
	if got := string([]byte{read(d), read(kept(first)), read(kept(second))}); got != "cxb" {
		t.Errorf("after a write to the first: %q", got)
	}
	must(d.Seal(first))
	if err := write(kept(first), 'y'); !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("write to a sealed snapshot: %v", err)
	}
	if diff := cmp.Diff([][16]byte{first, second}, d.KeptIDs()); diff != "" {
		t.Errorf("kept: %s", diff)
	}

	must(d.Drop(first))
	for _, err := range []error{d.Drop(first), d.Seal(first), keptError(d, first)} {
		if !errors.Is(err, guest.ErrNoShadow) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a dropped snapshot: %v", err)
		}
	}
	if got := string([]byte{read(d), read(kept(second))}); got != "cb" {
		t.Errorf("after a drop: %q", got)
	}
}

func keptError(d guest.Disk, id [16]byte) error { _, err := d.Kept(id); return err }
