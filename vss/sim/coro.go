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
	wait  wait
	busy  bool // it runs another process on top of its own
	lent  bool // it runs on top of another process

	base   uintptr // address in its first frame
	lo, hi uintptr // between them are addresses on its stack; see own
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
	for {
		if here() != c.base { // it is new, or was moved
			grow()
			c.base = here()
		}
		c.lo, c.hi = c.base-room, c.base+callers
		c.p.run()
		c.p = nil
		if !yield(struct{}{}) {
			return
		}
	}
}

// Bytes that are on a coroutine's stack for certain: below its first frame, below
// any frame, because the runtime keeps them free for functions that do not check,
// and above a kernel function, in the frames of its callers.
const (
	room    = 11 << 10
	guard   = 768
	callers = 256
)

// grow makes the stack large enough for most processes, so that it is not moved
// after something was noted of it.
//
//go:noinline
func grow() byte {
	var b [room]byte
	return b[here()%room]
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
// address near those that were seen on this stack last is believed. That fails to
// find out a goroutine that got the very memory from which the process's stack
// was moved since.
func (c *coro) own() bool {
	at := here()
	if c.lo <= at && at <= c.hi {
		return true
	}
	if !insideProcess() {
		return false
	}
	c.seen(at)
	return true
}

// seen notes an address on the coroutine's stack. What overlaps with what was
// noted before is on the stack with it; else the stack may have been moved.
func (c *coro) seen(at uintptr) {
	lo, hi := at-guard, at+callers
	if lo <= c.hi && c.lo <= hi {
		lo, hi = min(lo, c.lo), max(hi, c.hi)
	}
	c.lo, c.hi = lo, hi
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
