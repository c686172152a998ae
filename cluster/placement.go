package cluster

// A Candidate is a node that a group might go to.
type Candidate struct {
	ID      int  // of the node; lower is older
	Able    bool // it is up and a possible owner of every resource of the group
	Crowded bool // it has a group of one of the classes that the group keeps apart from
}

// A Placement is the question where a group goes.
type Placement struct {
	Nodes     []Candidate // all nodes in the order of their ids
	Preferred []int       // ids of the preferred owners, the best first
	Current   int         // id of the node that has the group
	// Best asks for the best node, from the top of the list, as a move by hand to
	// the "best possible" node does; otherwise it is the one after the current.
	Best bool
}

// order is the effective list: preferred owners first in their order, then the
// remaining nodes by id.
func (p Placement) order() []Candidate {
	var out []Candidate
	listed := make(map[int]bool)
	for _, id := range p.Preferred {
		for _, c := range p.Nodes {
			if c.ID == id && !listed[id] {
				out = append(out, c)
				listed[id] = true
			}
		}
	}
	for _, c := range p.Nodes {
		if !listed[c.ID] {
			out = append(out, c)
		}
	}
	return out
}

// Candidates lists the nodes that the group may go to, the first choice first:
// the ones after the current in the effective list, wrapping around, or from the
// top of the list for the best. Nodes that are not able are left out. Crowded ones
// come last: anti-affinity is a wish, not a condition.
func (p Placement) Candidates() []int {
	list := p.order()
	start := 0
	for i, c := range list {
		if c.ID == p.Current && !p.Best {
			start = i + 1
		}
	}
	var free, crowded []int
	for i := range list {
		c := list[(start+i)%len(list)]
		switch {
		case !c.Able, c.ID == p.Current && !p.Best:
		case c.Crowded:
			crowded = append(crowded, c.ID)
		default:
			free = append(free, c.ID)
		}
	}
	return append(free, crowded...)
}
