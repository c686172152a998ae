package disktest_test

import (
	"fmt"
	"io"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/disktest"
)

// sectors is a store of one's own: whole sectors in a map. It forgets that a
// write may begin within one.
type sectors struct {
	size int64
	data map[int64][512]byte
}

func (s *sectors) Size() int64 { return s.size }

func (s *sectors) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, disk.ErrRange
	}
	n := 0
	for n < len(p) && off < s.size {
		sector := s.data[off/512]
		k := copy(p[n:min(int64(len(p)), int64(n)+s.size-off)], sector[off%512:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *sectors) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, disk.ErrRange
	}
	n := 0
	for n < len(p) && off < s.size {
		var sector [512]byte // should be s.data[off/512]
		k := copy(sector[off%512:], p[n:min(int64(len(p)), int64(n)+s.size-off)])
		s.data[off/512] = sector
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, disk.ErrRange
	}
	return n, nil
}

// Write a store, and let the kit find what is wrong with it.
func ExampleTestStore() {
	err := disktest.TestStore(func() (disk.Store, error) {
		return &sectors{size: 10_007, data: map[int64][512]byte{}}, nil
	})
	fmt.Println(err)
	// Output:
	// disk.Store: a write changes no other bytes
	// 	byte 1 of store is 0x00, want 0x01
	// 	store.WriteAt(4096 bytes of 0x01, 0)
	// 	store.WriteAt(1 byte of 0x01, 0)
}
