package sim

import (
	"context"
	"encoding/binary"
	"time"
)

const offset64 = 14695981039346656037

// hashString is FNV-1a from a start value.
func hashString(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix folds v into h (the finaliser of splitmix64).
func mix(h, v uint64) uint64 {
	h += v*0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15
	h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
	h = (h ^ h>>27) * 0x94D049BB133111EB
	return h ^ h>>31
}

// NewID makes an identifier from a path and the number of identifiers made for
// it before: the same in every run, whatever the seed. It has the form of a
// random (version 4) GUID.
func (w *World) NewID(path string) [16]byte {
	h := mix(hashString(offset64, path), w.countID(path))
	w.observe(h)
	var id [16]byte
	binary.BigEndian.PutUint64(id[0:], h)
	binary.BigEndian.PutUint64(id[8:], mix(h, 1))
	id[6] = id[6]&0x0F | 0x40
	id[8] = id[8]&0x3F | 0x80
	return id
}

// NewID is [World.NewID] for the actor's path and a name.
func (a *Actor) NewID(name string) [16]byte { return a.w.NewID(a.path + "/" + escape(name)) }

// countID counts what was asked for of a name. What a killed process asks for
// does not count.
func (w *World) countID(key string) uint64 {
	n := w.ids[key] + 1
	if p := w.running.Load(); p != nil && p.dead {
		return n
	}
	if w.ids == nil {
		w.ids = make(map[string]uint64)
	}
	w.ids[key] = n
	return n
}

// Latency is a duration from lo up to hi that depends on the seed, the running
// process's actor, the name and how often it was asked for.
func Latency(ctx context.Context, name string, lo, hi time.Duration) time.Duration {
	p := procOf(ctx)
	if p == nil || hi <= lo {
		return lo
	}
	key := "latency " + p.actor.path + "/" + name
	return lo + time.Duration(mix(hashString(p.w.seed, key), p.w.countID(key))%uint64(hi-lo))
}
