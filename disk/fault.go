package disk

import (
	"fmt"
	"sync"
	"time"
)

// An Op names an operation of a store, as faults do.
type Op string

// The operations in which something can go wrong.
const (
	OpRead     Op = "read"     // ReadAt
	OpWrite    Op = "write"    // WriteAt
	OpDiscard  Op = "discard"  // Discard
	OpResize   Op = "resize"   // Resize
	OpSync     Op = "sync"     // Sync
	OpSnapshot Op = "snapshot" // Snapshot
	OpClone    Op = "clone"    // Clone
)

// A Fault is something that goes wrong with an operation of a store. It prints
// as it is written:
//
//	write nth=3 err=0x80070070
//	read at=1048576+4096 from=1 err=0x80070017
//	write nth=2 torn=512
//	sync drop
//	discard delay=30s
//
// At is the range that the operation has to touch; without it, every operation
// of the name counts. The fault strikes the nth of them, or all from that one
// on; without either just the first.
type Fault struct {
	Op      Op
	At      Extent
	Nth     int
	From    int
	Outcome FaultOutcome
}

// A FaultOutcome is what a fault does. It is one of:
//
//   - an error: nothing is done, and the call fails with a [FaultError];
//   - a delay: the plan's Delay is called, and the operation goes on;
//   - a tear: the first Torn bytes are done, then the call fails;
//   - a drop: the first Keep bytes are done and the rest is not, but the call
//     says that all of it was. What was not read is zero.
//
// A resize and a sync can only be dropped whole; snapshots and clones cannot be
// dropped.
type FaultOutcome struct {
	Err   uint32 // the HRESULT of an error
	Delay time.Duration
	Torn  int64
	Drop  bool
	Keep  int64
}

// The HRESULTs of a torn operation, ERROR_WRITE_FAULT and ERROR_READ_FAULT.
const (
	writeFault = 0x8007001D
	readFault  = 0x8007001E
)

// A FaultError is the error of an injected fault, within an [Error] that names
// the call and the place.
type FaultError struct{ Fault Fault }

// Error prints the fault and its number.
func (e *FaultError) Error() string {
	return fmt.Sprintf("injected error 0x%08X (%v)", e.HRESULT(), e.Fault)
}

// HRESULT is the code the fault was planned with, or ERROR_WRITE_FAULT or
// ERROR_READ_FAULT of a torn operation.
func (e *FaultError) HRESULT() uint32 {
	switch {
	case e.Fault.Outcome.Err != 0:
		return e.Fault.Outcome.Err
	case e.Fault.Op == OpRead:
		return readFault
	}
	return writeFault
}

// Is makes ERROR_DISK_FULL an [ErrNoSpace] and ERROR_WRITE_PROTECT an
// [ErrReadOnly].
func (e *FaultError) Is(target error) bool {
	switch e.HRESULT() {
	case 0x80070070:
		return target == ErrNoSpace
	case 0x80070013:
		return target == ErrReadOnly
	}
	return false
}

// check tells what is wrong with a fault.
func (f Fault) check() error {
	o, ranged, kinds := f.Outcome, false, 0
	switch f.Op {
	case OpRead, OpWrite, OpDiscard:
		ranged = true
	case OpResize, OpSync, OpSnapshot, OpClone:
	default:
		return fmt.Errorf("%q is no operation of a store", string(f.Op))
	}
	for _, is := range []bool{o.Err != 0, o.Delay != 0, o.Torn != 0, o.Drop} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("%d outcomes where one is wanted", kinds)
	case o.Delay < 0 || o.Torn < 0 || o.Keep < 0 || o.Keep > 0 && !o.Drop:
		return fmt.Errorf("outcome %+v makes no sense", o)
	case f.Nth < 0 || f.From < 0 || f.Nth > 0 && f.From > 0:
		return fmt.Errorf("nth=%d and from=%d do not go together", f.Nth, f.From)
	case !ranged && (f.At.Len != 0 || o.Torn > 0 || o.Keep > 0), f.At.Off < 0 || f.At.Len < 0 || f.At.End() < f.At.Off:
		return fmt.Errorf("a %s has no such range", f.Op)
	case o.Drop && (f.Op == OpSnapshot || f.Op == OpClone):
		return fmt.Errorf("a %s cannot be dropped", f.Op)
	}
	return nil
}

// touches reports whether a fault is about an operation on a range.
func (f Fault) touches(op Op, off, n int64) bool {
	return f.Op == op && (f.At.Len == 0 || n > 0 && off < f.At.End() && n > f.At.Off-off)
}

// A FaultPlan says what goes wrong with a store.
type FaultPlan struct {
	Faults []Fault

	// Delay lets time pass for a fault that delays: a store knows no clock.
	// Its error ends the operation. Without it a delay is only counted.
	Delay func(Fault) error
}

// A Faulty is a store in which planned faults strike. Without faults it does
// what the store inside does. Its snapshots and clones are those of the store
// inside, and no fault strikes there.
//
// Operations are counted in the order in which they come: a plan that is to
// strike the same one each time needs calls that come in the same order.
type Faulty struct {
	wrapper
	delay func(Fault) error

	mu   sync.Mutex
	plan []plannedFault
	hits map[Op]int
}

type plannedFault struct {
	Fault
	seen, fired int
	healed      bool
}

// WithFaults puts a store under a plan. It panics on a fault that cannot be, as
// [ParseFault] returns none.
func WithFaults(s Store, plan FaultPlan) *Faulty {
	f := &Faulty{wrapper: wrapper{s}, delay: plan.Delay, hits: make(map[Op]int)}
	f.Inject(plan.Faults...)
	return f
}

// Inject adds faults to the plan: what happened before does not count towards
// theirs. It panics as [WithFaults] does.
func (f *Faulty) Inject(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range faults {
		if err := x.check(); err != nil {
			panic(fmt.Sprintf("disk: fault %q: %v", x, err))
		}
		f.plan = append(f.plan, plannedFault{Fault: x})
	}
}

// Heal ends the faults planned so far: what follows goes well.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.plan {
		f.plan[i].healed = true
	}
}

// Hits counts the operations of a name so far: of a clean run, what a plan can
// be drawn from.
func (f *Faulty) Hits(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits[op]
}

// Unreached lists the planned faults that never struck.
func (f *Faulty) Unreached() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Fault
	for _, x := range f.plan {
		if x.fired == 0 {
			list = append(list, x.Fault)
		}
	}
	return list
}

// struck counts an operation and returns the faults that strike it: the delays,
// and the first of the others, if any.
func (f *Faulty) struck(op Op, off, n int64) (delays []Fault, other *Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hits[op]++
	for i := range f.plan {
		x := &f.plan[i]
		if x.healed || !x.touches(op, off, n) {
			continue
		}
		x.seen++
		if x.From > 0 && x.seen < x.From || x.From == 0 && x.seen != max(x.Nth, 1) {
			continue
		}
		if x.Outcome.Delay == 0 && other != nil {
			continue
		}
		x.fired++
		if struck := x.Fault; struck.Outcome.Delay > 0 {
			delays = append(delays, struck)
		} else {
			other = &struck
		}
	}
	return delays, other
}

// A strike is what is left of an operation: how many of its bytes are done, and
// the error behind them. A lie is none: all is said to be done.
type strike struct {
	keep int64
	lie  bool
	err  error
}

// ask tells what happens to an operation.
func (f *Faulty) ask(op Op, off, n int64) strike {
	delays, fault := f.struck(op, off, n)
	for _, d := range delays {
		if f.delay == nil {
			continue
		}
		if err := f.delay(d); err != nil {
			return strike{err: err}
		}
	}
	switch {
	case fault == nil:
		return strike{keep: n}
	case fault.Outcome.Drop:
		return strike{keep: min(fault.Outcome.Keep, n), lie: true}
	}
	return strike{keep: min(fault.Outcome.Torn, n), err: &FaultError{*fault}}
}

// ReadAt reads as [Source] demands, unless a fault strikes.
func (f *Faulty) ReadAt(p []byte, off int64) (int, error) {
	x := f.ask(OpRead, off, int64(len(p)))
	n, err := f.s.ReadAt(p[:x.keep], off)
	switch {
	case x.lie:
		n, ok := fit(len(p), off, f.Size())
		clear(p[min(int(x.keep), n):n])
		if !ok {
			return n, readEnd("ReadAt", off)
		}
		return n, nil
	case x.err != nil:
		return n, fail("ReadAt", off, x.err)
	}
	return n, err
}

// WriteAt writes as [Store] demands, unless a fault strikes.
func (f *Faulty) WriteAt(p []byte, off int64) (int, error) {
	x := f.ask(OpWrite, off, int64(len(p)))
	n, err := 0, error(nil)
	if x.keep > 0 || !x.lie && x.err == nil {
		n, err = f.s.WriteAt(p[:x.keep], off)
	}
	switch {
	case err != nil && !x.lie:
		return n, err
	case x.lie:
		n, ok := fit(len(p), off, f.Size())
		if !ok {
			return n, fail("WriteAt", off, ErrRange)
		}
		return n, nil
	case x.err != nil:
		return n, fail("WriteAt", off, x.err)
	}
	return n, nil
}

// Discard makes a range zero as [Discarder] promises, unless a fault strikes.
func (f *Faulty) Discard(off, n int64) error {
	if err := checkRange("Discard", off, n, f.Size()); err != nil {
		return err
	}
	x := f.ask(OpDiscard, off, n)
	if x.keep > 0 || !x.lie && x.err == nil {
		if err := Discard(f.s, off, x.keep); err != nil {
			return err
		}
	}
	if x.err != nil {
		return fail("Discard", off, x.err)
	}
	return nil
}

// whole runs an operation that is done wholly or not at all.
func (f *Faulty) whole(op Op, name string, off int64, do func() error) error {
	switch x := f.ask(op, 0, 0); {
	case x.err != nil:
		return fail(name, off, x.err)
	case x.lie:
		return nil
	}
	return do()
}

// Resize changes the size as [Resizer] promises, unless a fault strikes.
func (f *Faulty) Resize(size int64) error {
	return f.whole(OpResize, "Resize", size, func() error { return Resize(f.s, size) })
}

// Sync makes what was written safe, unless a fault strikes.
func (f *Faulty) Sync() error {
	return f.whole(OpSync, "Sync", 0, func() error { return Sync(f.s) })
}

// Snapshot returns a snapshot of the store inside, unless a fault strikes.
func (f *Faulty) Snapshot() (s Store, err error) {
	err = f.whole(OpSnapshot, "Snapshot", 0, func() (err error) {
		s, err = Snapshot(f.s)
		return err
	})
	return s, err
}

// Clone returns a fork of the store inside, unless a fault strikes.
func (f *Faulty) Clone() (s Store, err error) {
	err = f.whole(OpClone, "Clone", 0, func() (err error) {
		s, err = Clone(f.s)
		return err
	})
	return s, err
}

// Map names no other store: whoever copies has to read, so that faults strike.
func (f *Faulty) Map(off, n int64) Segment { return Segment{Off: off, Len: n} }
