package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/shadowsim/shadowsim/disk"
)

// A twin is a store beside its model.
type twin struct {
	name     string
	s        disk.Store
	m        *model
	readOnly bool
}

// maxTwins is how many stores a script has at once.
const maxTwins = 5

// A run is a script in progress.
type run struct {
	kit   *kit
	all   []*twin
	calls []string
	bad   *Broken
	fresh *twin // the snapshot or clone that the last call made
	count int
}

// try runs a script on a fresh store and returns the promise it broke, or nil.
func (k *kit) try(name string, s script) (bad *Broken) {
	r := &run{kit: k, calls: []string{}}
	defer func() {
		if x := recover(); x != nil {
			r.broken("no call panics", "panic: %v", x)
		}
		if len(r.all) > 0 {
			k.close(r.all[0].s)
		}
		if bad = r.bad; bad != nil {
			bad.Interface = name
		}
	}()
	r.begin()
	for _, x := range s {
		if r.bad != nil {
			break
		}
		r.do(x)
	}
	return r.bad
}

// begin makes the store, and takes what is in it for right.
func (r *run) begin() {
	s, err := r.kit.newStore()
	if err != nil {
		r.broken("a fresh store can be made", "%v", err)
		return
	}
	t := &twin{name: "store", s: s, m: newModel(s.Size()), readOnly: r.kit.readOnly}
	r.all = append(r.all, t)
	t.m.each(0, t.m.size, func(off int64, b []byte) {
		if n, err := s.ReadAt(b, off); n != len(b) || err != nil && err != io.EOF {
			r.calls = append(r.calls, fmt.Sprintf("store.ReadAt(%s, %d)", count(int64(len(b))), off))
			r.broken("a read inside the store reads everything", "%d bytes, %v", n, err)
		}
	})
}

// broken notes the first promise that a script breaks.
func (r *run) broken(promise, found string, args ...any) {
	if r.bad == nil {
		r.bad = &Broken{Promise: promise, Found: fmt.Sprintf(found, args...), Calls: r.calls}
	}
}

func (r *run) call(format string, args ...any) {
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

// count says how many bytes these are.
func count(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// do makes one call, if the store has the method, and looks at everything.
func (r *run) do(x step) {
	t, u := r.all[x.on%len(r.all)], r.all[x.and%len(r.all)]
	before := t.m.size
	r.fresh = nil
	switch x.kind {
	case read:
		r.read(t, x.off, x.n)
	case write:
		r.write(t, x.off, x.n, x.fill)
	case snapshot:
		r.fork(t, "snapshot", x.and)
	case clone:
		r.fork(t, "clone", x.and)
	case discard:
		r.discard(t, x.off, x.n)
	case discardAll:
		r.discardAll(t)
	case resize:
		r.resize(t, x.n)
	case extents:
		r.extents(t, x.off, x.n)
	case diff:
		r.diff(t, u)
	case stranger:
		r.stranger(t)
	case mapped:
		r.mapped(t, x.off, x.n)
	case copyOut:
		r.copyOut(t)
	}
	r.lookAround(t, x, before)
}

// lookAround compares all stores after a call on one of them.
func (r *run) lookAround(on *twin, x step, before int64) {
	for _, t := range r.all {
		if r.bad != nil {
			return
		}
		if got := t.s.Size(); got != t.m.size {
			r.broken("the size changes by Resize alone", "%s has %d bytes, want %d", t.name, got, t.m.size)
			return
		}
		t.m.each(0, t.m.size, func(off int64, want []byte) {
			got := r.room(len(want))
			if n, err := t.s.ReadAt(got, off); n != len(got) || err != nil && err != io.EOF {
				r.call("%s.ReadAt(%s, %d)", t.name, count(int64(len(got))), off)
				r.broken("a read inside the store reads everything", "%d bytes, %v", n, err)
			} else if i := mismatch(got, want); i >= 0 {
				at := off + int64(i)
				r.broken(r.blame(t, on, x, at, before), "byte %d of %s is %#02x, want %#02x", at, t.name, got[i], want[i])
			}
		})
	}
}

// blame names the promise that is broken if a byte of t is wrong after a call on
// another store or the same.
func (r *run) blame(t, on *twin, x step, at, before int64) string {
	inside := at >= x.off && at < x.off+x.n
	switch {
	case t == r.fresh:
		return "a snapshot and a clone begin with the bytes of their store"
	case t.readOnly:
		return "a snapshot stays as it is"
	case t != on:
		return "a store and its clones do not see what is written to the others"
	case x.kind == write && inside:
		return "what was written can be read"
	case x.kind == write:
		return "a write changes no other bytes"
	case x.kind == discard && inside, x.kind == discardAll:
		return "what is discarded reads as zero"
	case x.kind == discard:
		return "a discard changes no other bytes"
	case x.kind == resize && at >= before:
		return "what a resize adds is zero"
	case x.kind == resize:
		return "a resize keeps what lies inside the smaller size"
	}
	return "only writes, discards and resizes change bytes"
}

// room returns n bytes to read into.
func (r *run) room(n int) []byte { return grow(&r.kit.buf, n) }

// passed returns n bytes to pass to a write.
func (r *run) passed(n int) []byte { return grow(&r.kit.slice, n) }

func grow(buf *[]byte, n int) []byte {
	if n > len(*buf) {
		*buf = make([]byte, n)
	}
	return (*buf)[:n]
}

// fit returns how many of n bytes at off the store has.
func (t *twin) fit(off, n int64) int64 {
	if off < 0 {
		return 0
	}
	return max(0, min(n, t.m.size-off))
}

func (r *run) read(t *twin, off, n int64) {
	r.call("%s.ReadAt(%s, %d)", t.name, count(n), off)
	p := soil(r.room(int(n)))
	k, err := t.s.ReadAt(p, off)
	fits := t.fit(off, n)
	switch {
	case off < 0:
		if k != 0 || !errors.Is(err, disk.ErrRange) {
			r.broken("a read at a negative offset reads nothing and is disk.ErrRange", "%d bytes, %v", k, err)
		}
		return
	case fits == n && off+n <= t.m.size:
		if int64(k) != n || err != nil && (err != io.EOF || off+n != t.m.size) {
			r.broken("a read inside the store reads everything", "%d bytes, %v", k, err)
			return
		}
	case n == 0:
		if k != 0 || err != nil && err != io.EOF {
			r.broken("a read of nothing reads nothing", "%d bytes, %v", k, err)
		}
		return
	case int64(k) != fits || err != io.EOF:
		r.broken("a read that leaves the store reads the part that fits and returns io.EOF", "%d bytes, %v; %d fit", k, err, fits)
		return
	}
	t.m.each(off, fits, func(at int64, want []byte) {
		if i := mismatch(p[at-off:][:len(want)], want); i >= 0 {
			r.broken("a read returns the bytes that are there", "byte %d is %#02x, want %#02x", at+int64(i), p[at-off+int64(i)], want[i])
		}
	})
}

// patterns are 512 bytes of each value: to copy them is quicker than to make
// them.
var patterns = func() (list [256][512]byte) {
	for v := range list {
		for i := range list[v] {
			list[v][i] = byte(v)
		}
	}
	return list
}()

// fill fills p with bytes that tell where they belong, or with zeros.
func fill(p []byte, value byte) []byte {
	for i := 0; i < len(p); i += 512 {
		v := value
		if value != 0 {
			v ^= byte(i >> 9)
		}
		copy(p[i:], patterns[v][:])
	}
	return p
}

// soil fills p with one value, so that what is not written there shows.
func soil(p []byte) []byte {
	for i := 0; i < len(p); i += 512 {
		copy(p[i:], patterns[0xcc][:])
	}
	return p
}

func (r *run) write(t *twin, off, n int64, value byte) {
	r.call("%s.WriteAt(%s of %#02x, %d)", t.name, count(n), value, off)
	want := fill(r.room(int(n)), value)
	p := fill(r.passed(int(n)), value)
	k, err := t.s.WriteAt(p, off)
	if !bytes.Equal(p, want) {
		r.broken("a write leaves the slice as it is", "the slice has other bytes")
	}
	soil(p) // a store that kept the slice shows it
	fits := t.fit(off, n)
	switch {
	case t.readOnly:
		if k != 0 || n > 0 && !errors.Is(err, disk.ErrReadOnly) && (off >= 0 || !errors.Is(err, disk.ErrRange)) {
			r.broken("a snapshot and a read-only store answer a write with disk.ErrReadOnly", "%d bytes, %v", k, err)
		}
		return
	case off < 0:
		if k != 0 || !errors.Is(err, disk.ErrRange) {
			r.broken("a write at a negative offset writes nothing and is disk.ErrRange", "%d bytes, %v", k, err)
		}
		return
	case fits == n:
		if int64(k) != n || err != nil && (n > 0 || off <= t.m.size) {
			r.broken("a write inside the store writes everything", "%d bytes, %v", k, err)
		}
	case int64(k) != fits || !errors.Is(err, disk.ErrRange):
		r.broken("a write that leaves the store writes the part that fits and is disk.ErrRange", "%d bytes, %v; %d fit", k, err, fits)
	}
	t.m.write(off, want[:fits])
}

// fork takes a snapshot or makes a clone. Beyond the limit it takes the place of
// another, so that those lose their parents.
func (r *run) fork(t *twin, what string, drop int) {
	var s disk.Store
	var err error
	if x, ok := t.s.(disk.Snapshotter); ok && what == "snapshot" {
		s, err = x.Snapshot()
	} else if x, ok := t.s.(disk.Cloner); ok && what == "clone" {
		s, err = x.Clone()
	} else {
		return
	}
	r.count++
	name := fmt.Sprintf("%s%d", what, r.count)
	if what == "snapshot" {
		r.call("%s := %s.Snapshot()", name, t.name)
	} else {
		r.call("%s := %s.Clone()", name, t.name)
	}
	if err != nil && (t.readOnly || errors.Is(err, disk.ErrUnsupported)) {
		return // not every snapshot has to make clones, and a wrapper does what it wraps
	}
	if err != nil || s == nil {
		r.broken("a store that is a Snapshotter or Cloner takes snapshots or makes clones", "%v, %v", s, err)
		return
	}
	u := &twin{name: name, s: s, m: t.m.clone(), readOnly: what == "snapshot"}
	r.fresh = u
	if len(r.all) < maxTwins {
		r.all = append(r.all, u)
		return
	}
	r.all[1+drop%(maxTwins-1)] = u
}

func (r *run) discard(t *twin, off, n int64) {
	x, ok := t.s.(disk.Discarder)
	if !ok {
		return
	}
	r.call("%s.Discard(%d, %d)", t.name, off, n)
	err := x.Discard(off, n)
	switch fits := off >= 0 && n >= 0 && off <= t.m.size && n <= t.m.size-off; {
	case t.readOnly:
		if !errors.Is(err, disk.ErrReadOnly) && (fits && n > 0 || !errors.Is(err, disk.ErrRange)) && (n != 0 || err != nil) {
			r.broken("a snapshot and a read-only store answer a discard with disk.ErrReadOnly", "%v", err)
		}
	case !fits:
		if !errors.Is(err, disk.ErrRange) {
			r.broken("a discard that leaves the store is disk.ErrRange", "%v", err)
		}
	case err != nil:
		r.broken("a discard inside the store succeeds", "%v", err)
	default:
		t.m.discard(off, n)
	}
}

// discardAll discards a whole store. What reports holes at all reports one then;
// blocks that the store shares with something else may stay.
func (r *run) discardAll(t *twin) {
	before := allocated(t)
	r.discard(t, 0, t.m.size)
	if _, ok := t.s.(disk.Discarder); !ok || t.readOnly || !r.kit.sparse || r.bad != nil {
		return
	}
	if after := allocated(t); before > 8192 && after > before/2 {
		r.broken("what is discarded is not allocated any more", "%s of %d are", count(after), before)
	}
}

// allocated counts the bytes of a store's extents.
func allocated(t *twin) (n int64) {
	if x, ok := t.s.(disk.Extenter); ok {
		for e := range x.Extents(0, t.m.size) {
			n += e.Len
		}
	}
	return n
}

func (r *run) resize(t *twin, size int64) {
	x, ok := t.s.(disk.Resizer)
	if !ok {
		return
	}
	r.call("%s.Resize(%d)", t.name, size)
	err := x.Resize(size)
	switch {
	case t.readOnly:
		if err == nil {
			r.broken("a snapshot and a read-only store keep their size", "Resize returns nil")
		}
	case size < 0:
		if err == nil {
			r.broken("a negative size is refused", "Resize returns nil")
		}
	case err == nil:
		t.m.resize(size)
	}
}
