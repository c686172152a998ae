package pages

// A block is sixteen runs that are not one piece together, because some are
// missing or shared or in parts.
type block struct {
	group[[RunSize]byte, parts]
}

// A run is 64 KiB of a block, in one piece or not.
type run = item[[RunSize]byte, parts]

// slice returns run i of a block in one piece.
func slice(whole *[BlockSize]byte, i int) *[RunSize]byte {
	return (*[RunSize]byte)(whole[i*RunSize:])
}

// splitBlock returns a block in one piece as runs that point into it.
func splitBlock(whole *[BlockSize]byte, own bool) *block {
	x := new(block)
	x.mask = 1<<blockRuns - 1
	x.joined = x.mask
	if own {
		x.own = x.mask
	}
	x.whole = make([]*[RunSize]byte, blockRuns)
	for i := range x.whole {
		x.whole[i] = slice(whole, i)
	}
	return x
}

// clone returns a copy that owns none of its runs.
func (x *block) clone() *block { return &block{x.shared()} }

func (x *block) read(p []byte, in int) {
	for len(p) > 0 {
		at := in & (RunSize - 1)
		q := p[:min(len(p), RunSize-at)]
		switch r := x.get(uint(in >> runShift)); {
		case r.whole != nil:
			copy(q, r.whole[at:])
		case r.sub != nil:
			r.sub.read(q, at)
		default:
			clear(q)
		}
		p, in = p[len(q):], in+len(q)
	}
}

// write writes into a block that may be changed. Afterwards it may be empty.
func (x *block) write(p []byte, in int) {
	for len(p) > 0 {
		at := in & (RunSize - 1)
		q := p[:min(len(p), RunSize-at)]
		x.writeRun(uint(in>>runShift), q, at)
		p, in = p[len(q):], in+len(q)
	}
}

func (x *block) writeRun(i uint, p []byte, at int) {
	r := x.get(i)
	switch {
	case r.whole != nil && x.owns(i):
		copy(r.whole[at:], p)
	case len(p) == RunSize:
		x.set(i, newRun(p), true)
	case r == (run{}) && allZero(p):
	default:
		parts := x.open(i)
		parts.write(p, at)
		if whole := parts.join(); whole != nil {
			x.set(i, run{whole: whole}, true)
		}
	}
}

// newRun returns a run with the given bytes: in one piece, or in parts if some
// page of it is all zero.
func newRun(p []byte) run {
	if !hasZeros(p) {
		whole := make([]byte, RunSize) // not cleared first: the copy fills it
		copy(whole, p)
		return run{whole: (*[RunSize]byte)(whole)}
	}
	x := new(parts)
	x.write(p, 0)
	if x.mask == 0 {
		return run{}
	}
	return run{sub: x}
}

// open returns run i of a block that may be changed in parts, for changing.
func (x *block) open(i uint) *parts {
	r := x.get(i)
	switch {
	case r.whole != nil:
		r = run{sub: splitRun(r.whole, x.owns(i))}
	case r.sub == nil:
		r.sub = new(parts)
	case x.owns(i):
		return r.sub
	default:
		r.sub = r.sub.clone()
	}
	x.set(i, r, true)
	return r.sub
}

// join returns the block in one piece if each of its runs is one and nobody
// else's, and nil otherwise.
func (x *block) join() *[BlockSize]byte {
	if x.own&x.joined != 1<<blockRuns-1 {
		return nil
	}
	whole := new([BlockSize]byte)
	for i, run := range x.whole {
		*slice(whole, i) = *run
	}
	return whole
}

// without makes the bytes from one place to another zero. It returns x itself,
// or a copy if x was not the tree's own and something changed, or nil if no run
// is left.
func (x *block) without(own bool, from, to int) *block {
	for i := from >> runShift; i <= (to-1)>>runShift; i++ {
		base := i << runShift
		old := x.get(uint(i))
		if old == (run{}) {
			continue
		}
		left := runWithout(old, own && x.owns(uint(i)), max(from-base, 0), min(to-base, RunSize))
		if left == old {
			continue
		}
		if !own {
			x, own = x.clone(), true
		}
		x.set(uint(i), left, true)
	}
	if x.mask == 0 {
		return nil
	}
	return x
}

// runWithout is the same for a run. What stays of a piece of the tree's own is
// copied out of it, so that the rest is free at once.
func runWithout(r run, own bool, from, to int) run {
	if to-from == RunSize {
		return run{}
	}
	if r.sub != nil {
		return run{sub: r.sub.without(own, from, to)}
	}
	x := splitRun(r.whole, own).without(true, from, to)
	if own {
		x.unpin()
	}
	return run{sub: x}
}

// unpin copies the runs in one piece that are the block's own, so that the
// piece they were cut from can go.
func (x *block) unpin() {
	for j, whole := range x.whole {
		fresh := *whole
		x.whole[j] = &fresh
	}
	x.own |= x.joined
}
