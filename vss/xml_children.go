package vss

import "github.com/shadowsim/shadowsim/internal/xmlite"

// many are the children that stand for the members of a slice, under any of the
// given names, or under the name of el.
func many[T, C any](el *element[C], list func(*T) *[]C, names ...string) child[T] {
	if len(names) == 0 {
		names = []string{el.name}
	}
	return child[T]{
		names: names,
		count: func(t *T) int { return len(*list(t)) },
		read: func(d *decoder, t *T, name string) error {
			var zero C
			at := list(t)
			*at = append(*at, zero)
			return el.read(d, &(*at)[len(*at)-1], name)
		},
		write: func(w *xmlite.Writer, t *T, i int) { el.write(w, &(*list(t))[i]) },
	}
}

// manyPointers is many for a slice of pointers.
func manyPointers[T, C any](el *element[C], list func(*T) *[]*C) child[T] {
	return child[T]{
		names: []string{el.name},
		count: func(t *T) int { return len(*list(t)) },
		read: func(d *decoder, t *T, name string) error {
			c := new(C)
			*list(t) = append(*list(t), c)
			return el.read(d, c, name)
		},
		write: func(w *xmlite.Writer, t *T, i int) { el.write(w, (*list(t))[i]) },
	}
}

// one is a child that every element has.
func one[T, C any](el *element[C], part func(*T) *C) child[T] {
	return child[T]{
		names: []string{el.name}, least: 1, most: 1,
		count: func(*T) int { return 1 },
		read:  func(d *decoder, t *T, name string) error { return el.read(d, part(t), name) },
		write: func(w *xmlite.Writer, t *T, _ int) { el.write(w, part(t)) },
	}
}

// perhaps is a child that is there if a pointer is not nil.
func perhaps[T, C any](el *element[C], part func(*T) **C) child[T] {
	return child[T]{
		names: []string{el.name}, most: 1,
		count: func(t *T) int {
			if *part(t) == nil {
				return 0
			}
			return 1
		},
		read: func(d *decoder, t *T, name string) error {
			*part(t) = new(C)
			return el.read(d, *part(t), name)
		},
		write: func(w *xmlite.Writer, t *T, _ int) { el.write(w, *part(t)) },
	}
}

// within is a child element that holds a part of T itself; present tells whether
// there is one.
func within[T any](el *element[T], present func(*T) bool) child[T] {
	return child[T]{
		names: []string{el.name}, most: 1,
		count: func(t *T) int {
			if present(t) {
				return 1
			}
			return 0
		},
		read:  func(d *decoder, t *T, name string) error { return el.read(d, t, name) },
		write: func(w *xmlite.Writer, t *T, _ int) { el.write(w, t) },
	}
}

// must makes the child one that every element has.
func (c child[T]) must() child[T] {
	c.least = 1
	return c
}
