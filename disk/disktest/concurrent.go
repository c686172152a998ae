package disktest

import (
	"fmt"
	"io"
	"sync"

	"github.com/shadowsim/shadowsim/disk"
)

// readers and rounds say how much is read at the same time.
const (
	readers = 4
	rounds  = 60
)

// concurrent reads a store from several goroutines, and then its snapshots while
// the store is written: what the race detector wants to see, and what shows
// without it.
func (k *kit) concurrent() *Broken {
	const name = "readers at the same time"
	s, err := k.newStore()
	if err != nil {
		return &Broken{Interface: name, Promise: "a fresh store can be made", Found: err.Error()}
	}
	defer k.close(s)
	r := &run{kit: k, all: []*twin{{name: "store", s: s, m: newModel(s.Size()), readOnly: k.readOnly}}}
	live := r.all[0]
	live.m.each(0, live.m.size, func(off int64, b []byte) { _, _ = s.ReadAt(b, off) })
	for i := range int64(16) {
		if off := live.m.size / 16 * i; !k.readOnly && live.m.known(off) {
			r.write(live, off, min(5000, live.m.size-off, live.m.size/16+1), byte(i+1))
		}
	}
	if r.lookAround(live, step{kind: write}, live.m.size); r.bad != nil {
		return nil // it is wrong with a single reader, as another case says
	}
	var wg sync.WaitGroup
	found := make(chan *Broken, readers*8)
	read := func(t *twin, promise string) {
		for i := range readers {
			wg.Go(func() {
				if b := t.readAll(int64(i)*977, promise); b != nil {
					found <- b
				}
			})
		}
	}
	read(live, "a store can be read from several goroutines at once")
	wg.Wait()
	k.underWrites(r, live, read)
	wg.Wait()
	close(found)
	for b := range found {
		r.bad = b // any of them
	}
	if r.bad != nil {
		r.bad.Interface = name
	}
	return r.bad
}

// underWrites writes a store while its snapshots are read.
func (k *kit) underWrites(r *run, live *twin, read func(*twin, string)) {
	x, ok := live.s.(disk.Snapshotter)
	if !ok {
		return
	}
	for round := range int64(4) {
		s, err := x.Snapshot()
		if err != nil {
			return // said elsewhere, or not able to
		}
		snap := &twin{name: "snapshot", s: s, m: live.m.clone(), readOnly: true}
		read(snap, "a snapshot can be read while its store is written")
		for i := range int64(40) {
			off := (i*7919 + round*4096) % live.m.size
			if !k.readOnly && live.m.known(off) {
				r.write(live, off, min(100, live.m.size-off), byte(i+round+1))
			}
		}
	}
}

// known reports whether the model knows the bytes from off on.
func (m *model) known(off int64) bool {
	for _, w := range m.windows {
		if off >= w.off && off+5000 < w.end() {
			return true
		}
	}
	return false
}

// readAll reads a store again and again, in pieces, from another place each time.
func (t *twin) readAll(from int64, promise string) (bad *Broken) {
	defer func() {
		if x := recover(); x != nil {
			bad = &Broken{Promise: promise, Found: fmt.Sprint("panic: ", x)}
		}
	}()
	p := make([]byte, 3000)
	for i := range int64(rounds) {
		w := t.m.windows[int(i)%len(t.m.windows)]
		off := w.off + (from+i*3001)%max(1, min(w.end(), t.m.size)-w.off)
		n := min(int64(len(p)), min(w.end(), t.m.size)-off)
		k, err := t.s.ReadAt(p[:n], off)
		if int64(k) != n || err != nil && err != io.EOF {
			return &Broken{Promise: promise, Found: fmt.Sprintf("%d of %s at %d, %v", k, count(n), off, err)}
		}
		want := w.b[off-w.off:][:n]
		if j := mismatch(p[:n], want); j >= 0 {
			return &Broken{Promise: promise, Found: fmt.Sprintf("byte %d is %#02x, want %#02x", off+int64(j), p[j], want[j])}
		}
	}
	return nil
}
