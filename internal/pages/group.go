package pages

import (
	"math/bits"
	"slices"
)

// A group has room for up to 64 items. Only those that exist have a place in a
// slice. What a read in a filled tree needs stands together at the front.
type group[P, S any] struct {
	own    uint64 // the items that only this group reaches
	joined uint64 // the items that are one piece
	whole  []*P   // these pieces
	mask   uint64 // the items that exist
	subs   []*S   // the items that are not one piece
}

// An item is bytes in one piece, or what stands for them. It has one of the
// two; the zero item is one that does not exist.
type item[P, S any] struct {
	whole *P
	sub   *S
}

// rank returns the place that item i has, or would have, in a slice of those in
// mask.
func rank(mask uint64, i uint) int { return bits.OnesCount64(mask & (1<<(i&63) - 1)) }

func (g *group[P, S]) has(i uint) bool { return g.mask>>(i&63)&1 != 0 }

func (g *group[P, S]) owns(i uint) bool { return g.own>>(i&63)&1 != 0 }

// get returns item i, or the zero item.
func (g *group[P, S]) get(i uint) item[P, S] {
	switch {
	case g.joined>>(i&63)&1 != 0:
		return item[P, S]{whole: g.whole[rank(g.joined, i)]}
	case g.has(i):
		return item[P, S]{sub: g.subs[rank(g.mask&^g.joined, i)]}
	}
	return item[P, S]{}
}

// set makes x item i of a group that may be changed; the zero item removes it.
func (g *group[P, S]) set(i uint, x item[P, S], own bool) {
	g.drop(i)
	bit := uint64(1) << i
	switch {
	case x.whole != nil:
		g.whole = slices.Insert(g.whole, rank(g.joined, i), x.whole)
		g.joined |= bit
	case x.sub != nil:
		g.subs = slices.Insert(g.subs, rank(g.mask&^g.joined, i), x.sub)
	default:
		return
	}
	g.mask |= bit
	if own {
		g.own |= bit
	}
}

func (g *group[P, S]) drop(i uint) {
	switch x := g.get(i); {
	case x.whole != nil:
		j := rank(g.joined, i)
		g.whole = slices.Delete(g.whole, j, j+1)
	case x.sub != nil:
		j := rank(g.mask&^g.joined, i)
		g.subs = slices.Delete(g.subs, j, j+1)
	}
	bit := uint64(1) << i
	g.mask, g.own, g.joined = g.mask&^bit, g.own&^bit, g.joined&^bit
}

// shared returns a copy that owns none of its items.
func (g *group[P, S]) shared() group[P, S] {
	return group[P, S]{
		joined: g.joined,
		whole:  slices.Clone(g.whole),
		mask:   g.mask,
		subs:   slices.Clone(g.subs),
	}
}
