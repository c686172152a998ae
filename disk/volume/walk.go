package volume

import "strings"

// A place is where a path leads: a name in a directory, and the inode there, if
// there is one.
type place struct {
	dir  inodeID
	name string  // as the directory has it, or as it was asked for
	id   inodeID // 0: nothing is there
	via  string  // the name of the link that the path ended in, if it did
}

// shown is the name under which the place was reached.
func (p place) shown() string {
	if p.via != "" {
		return p.via
	}
	return p.name
}

// walk finds the place of a path. Links on the way are followed, and one at the
// end when follow says so. It fails when a directory on the way is missing, and
// with an *Elsewhere when the path leaves the volume.
func (v *Volume) walk(elems []string, follow bool) (place, error) {
	var via string
	for range maxLinks + 1 {
		p, rest, err := v.step(elems, follow)
		if via == "" {
			via = p.via
		}
		if err != nil || rest == nil {
			p.via = via
			return p, err
		}
		elems = rest
	}
	return place{}, ErrCantResolveName
}

// step walks to the end, or to the first link that has to be followed: then rest
// is the path to go on with from the root, and not nil.
func (v *Volume) step(elems []string, follow bool) (p place, rest []string, err error) {
	p = place{dir: rootID, name: `\`, id: rootID}
	known := v.trail.common(elems)
	if known > 0 {
		p = v.trail[known-1].place
	}
	d := v.files.get(p.id)
	for i := known; i < len(elems); i++ {
		e, last := elems[i], i == len(elems)-1
		if d == nil || d.kind != isDir {
			return place{}, nil, ErrPathNotFound
		}
		p = place{dir: p.id, name: e}
		x, found := d.dir.get(e)
		if d = nil; !found {
			continue // to fail, unless this is the end
		}
		p.name, p.id = x.name, x.id
		d = v.files.get(x.id)
		if d.kind != isLink {
			v.trail = append(v.trail[:i], passed{e, p})
			continue
		}
		if last && !follow {
			continue
		}
		if last {
			p.via = x.name
		}
		rest, err = redirect(d.target, elems[:i], elems[i+1:])
		return p, rest, err
	}
	return p, nil, nil
}

// A trail is what the latest walk found on its way from the root, up to the first
// link: the next one often goes the same way. What is removed or renamed cuts it off
// there; whatever else is done to a volume leaves it true.
type trail []passed

// A passed is a place on a trail, and the name it was asked for by.
type passed struct {
	asked string
	place
}

// common counts the first elements of a path that the trail knows.
func (t trail) common(elems []string) int {
	n := 0
	for n < len(t) && n < len(elems) && t[n].asked == elems[n] {
		n++
	}
	return n
}

// forget cuts the trail off at an inode that is to lose its name.
func (v *Volume) forget(id inodeID) {
	for i, x := range v.trail {
		if x.id == id {
			v.trail = v.trail[:i]
			return
		}
	}
}

// redirect is the path behind a link: its target, and what followed the link.
func redirect(target string, dir, after []string) ([]string, error) {
	drive, elems, err := parse(nil, target)
	if drive != "" || err != nil {
		return nil, &Elsewhere{Path: Join(target, strings.Join(after, `\`))}
	}
	if !isSlash(target[0]) {
		if elems, err = resolve(dir, target); err != nil {
			return nil, err
		}
	}
	return append(elems, after...), nil
}

// resolve is the path that a relative target means in a directory.
func resolve(dir []string, target string) ([]string, error) {
	elems := append(make([]string, 0, len(dir)+4), dir...)
	for e := range strings.FieldsFuncSeq(target, func(r rune) bool { return r == '\\' || r == '/' }) {
		var err error
		if elems, err = push(elems, e); err != nil {
			return nil, err
		}
	}
	return elems, nil
}

// find is walk to something that must be there.
func (v *Volume) find(elems []string, follow bool) (place, error) {
	p, err := v.walk(elems, follow)
	if err == nil && p.id == 0 {
		err = ErrFileNotFound
	}
	return p, err
}
