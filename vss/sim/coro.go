package sim

import (
	"iter"
	"runtime"
	"strings"
	"unsafe"
)

// A coro is a coroutine that runs one process after another.
type coro struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	p     *Proc

	lo, hi uintptr // addresses seen on its stack; see own
}

func newCoro() *coro {
	c := &coro{}
	c.next, c.stop = iter.Pull(c.loop)
	return c
}

// loop is the frame by which a goroutine knows that it runs a process.
//
//go:noinline
func (c *coro) loop(yield func(struct{}) bool) {
	c.yield = yield
	c.hi = here()
	c.lo = c.hi - 512 // the least stack is larger, and holds little yet
	for {
		c.p.run()
		c.p = nil
		if !yield(struct{}{}) {
			return
		}
	}
}

// here is an address on the stack of the calling goroutine.
//
//go:noinline
func here() uintptr {
	var b byte
	return uintptr(unsafe.Pointer(&b))
}

// own tells whether the calling goroutine is the coroutine's. A process's
// context may have been carried to another goroutine, which must not give way in
// the process's place. Walking the stack would cost more than a switch, so an
// address between two that were seen on this stack before is believed; a stack
// that was moved is walked again.
func (c *coro) own() bool {
	at := here()
	return c.lo <= at && at <= c.hi || c.ownSlow(at)
}

func (c *coro) ownSlow(at uintptr) bool {
	if !insideProcess() {
		return false
	}
	const near, below = 16 << 10, 1 << 10 // what is a little below is believed as well
	if at < c.lo && c.lo-at < near {
		c.lo = at - below
	} else if at > c.hi && at-c.hi < near {
		c.hi = at
	} else {
		c.lo, c.hi = at, at
	}
	return true
}

// lock takes the world for a call from ordinary code. It fails inside a process:
// there the world is taken by the goroutine that waits for the process.
func (w *World) lock() bool {
	if w.mu.TryLock() {
		return true
	}
	if insideProcess() {
		return false
	}
	w.mu.Lock()
	return true
}

// loopDepth is the most frames that stand below loop in a coroutine's stack.
const loopDepth = 8

// insideProcess tells whether the calling goroutine is a coroutine of a world:
// loop is among the frames its stack begins with.
func insideProcess() bool {
	var last, pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == len(pcs) {
			last = pcs
			continue
		}
		if isLoop(pcs[:n]) {
			return true
		}
		return n < loopDepth && isLoop(last[:])
	}
}

func isLoop(pcs []uintptr) bool {
	for _, pc := range pcs[max(0, len(pcs)-loopDepth):] {
		if f := runtime.FuncForPC(pc - 1); f != nil && strings.HasSuffix(f.Name(), "/vss/sim.(*coro).loop") {
			return true
		}
	}
	return false
}
