// Package disktest asks block stores whether they keep the promises of package
// disk: those of [disk.Store], and of each optional interface that they have.
//
//	func TestMyStore(t *testing.T) {
//		disktest.RunStore(t, func(t *testing.T) disk.Store { return mystore.New(300_007) })
//	}
//
// The kit runs random calls, and others at every border it can think of, on
// fresh stores beside a plain slice of bytes that is obviously right. A promise
// that was broken is a [Broken]: a sentence, the call that broke it, and the
// shortest way there that was found.
//
//	disk.Snapshotter: a snapshot stays as it is
//		byte 4096 is 0x01, want 0x00
//		snapshot1 := store.Snapshot()
//		store.WriteAt(1 byte of 0x01, 4096)
//
// It asks for refusals, too: what is said to fail has to fail in the way that is
// said. Where a store has only some of the interfaces, the others are skipped.
//
// Runs are always the same. The flag -rapid.checks makes more of them: by
// default 100, of which each interface gets half.
package disktest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
)

// A Broken is a promise that a store broke.
type Broken struct {
	Interface string   // "disk.Snapshotter", or what else was tried
	Promise   string   // what should have been: "a snapshot stays as it is"
	Found     string   // what was instead
	Calls     []string // the way there; the last call broke the promise
}

// Error prints the promise, what was found and the calls, a line each.
func (b *Broken) Error() string {
	return strings.Join(append([]string{b.Interface + ": " + b.Promise, b.Found}, b.Calls...), "\n\t")
}

// TestStore asks stores that newStore makes for all that a [disk.Store] promises
// and for what the optional interfaces do that they have. It returns a [Broken]
// for each promise that was broken, joined.
//
// Each call of newStore returns a fresh store, not shorter than a few bytes,
// always of the same size, with any content, as long as that is the same each
// time. A size that is no multiple of anything, and more than two of the blocks
// that the store is made of, finds most. A store of more than 1 MiB is looked at
// only in places: at its two ends, in the middle, at 2 MiB, 2 GiB and 4 GiB. What
// has a Close method is closed. A store that answers the first write with
// [disk.ErrReadOnly] has to refuse all of them.
func TestStore(newStore func() (disk.Store, error)) error {
	k, err := newKit(newStore)
	if err != nil {
		return err
	}
	var all []error
	told := make(map[string]bool)
	for _, c := range cases {
		if !c.has(k.probe) {
			continue
		}
		if b := c.run(k); b != nil && !told[b.Promise] {
			told[b.Promise] = true
			all = append(all, b)
		}
	}
	return errors.Join(all...)
}

// RunStore does the same as sub-tests, one for each interface; those that the
// store does not have are skipped.
func RunStore(t *testing.T, newStore func(t *testing.T) disk.Store) {
	k, err := newKit(func() (disk.Store, error) { return newStore(t), nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(strings.TrimPrefix(c.name, "disk."), func(t *testing.T) {
			if !c.has(k.probe) {
				t.Skipf("the store is no %s", c.name)
			}
			if b := c.run(k); b != nil {
				t.Error(b)
			}
		})
	}
}

// A kit makes stores and knows what a fresh one looks like.
type kit struct {
	newStore func() (disk.Store, error)
	probe    disk.Store // asked for its interfaces only
	size     int64
	readOnly bool
	sparse   bool // a fresh store reports a hole
	checks   int

	buf   []byte // what was read last
	slice []byte // what was passed to a write last
}

func newKit(newStore func() (disk.Store, error)) (*kit, error) {
	s, err := newStore()
	if err != nil {
		return nil, fmt.Errorf("disktest: no store to test: %w", err)
	}
	k := &kit{newStore: newStore, probe: s, size: s.Size(), checks: 100}
	defer k.close(s)
	if f := flag.Lookup("rapid.checks"); f != nil {
		if n, err := strconv.Atoi(f.Value.String()); err == nil {
			k.checks = n
		}
	}
	if k.size < 1 {
		return nil, fmt.Errorf("disktest: a store of %d bytes has nothing to test", k.size)
	}
	one := make([]byte, 1)
	if _, err := s.ReadAt(one, 0); err == nil || err == io.EOF {
		_, err = s.WriteAt(one, 0)
		k.readOnly = errors.Is(err, disk.ErrReadOnly)
	}
	if x, ok := s.(disk.Extenter); ok {
		covered := int64(0)
		for e := range x.Extents(0, k.size) {
			covered += e.Len
		}
		k.sparse = covered < k.size
	}
	return k, nil
}

func (k *kit) close(s disk.Store) {
	if c, ok := s.(io.Closer); ok {
		_ = c.Close() // what a store says to that is no promise of package disk
	}
}
