package requester

import (
	"context"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The points at which the requester asks for a fault; the object is the actor it
// runs as.
const (
	FaultCopy    sim.Point = "requester/copy"    // before a file is copied out of a shadow copy
	FaultRestore sim.Point = "requester/restore" // before a file is put back
)

// FaultPoints lists the requester's own fault points.
func FaultPoints() []sim.FaultPoint {
	full := sim.Outcome{Err: 0x80070070}
	dies := sim.Outcome{Kill: "."}
	return []sim.FaultPoint{
		{Point: FaultCopy, Doc: "a file is about to be copied out of a shadow copy", Outcomes: []sim.Outcome{full, dies}},
		{Point: FaultRestore, Doc: "a file is about to be put back", Outcomes: []sim.Outcome{full, dies}},
	}
}

// A copier copies files into the target, each one once, however many components
// have it.
type copier struct {
	to   *tree
	done map[string]bool // by folded name
}

// copy copies the files of the chosen components out of the shadow copies. Which
// files there are is seen only now.
func (j *job) copy(ctx context.Context) error {
	c := &copier{to: newTree(j.Target), done: make(map[string]bool)}
	c.to.fresh = true
	for _, comp := range j.chosen {
		for i := range comp.sets {
			if err := c.set(ctx, comp, &comp.sets[i]); err != nil {
				return err
			}
		}
		j.made.Files += comp.Files
		j.made.Bytes += comp.Bytes
	}
	return nil
}

// set copies the files of one file set.
func (c *copier) set(ctx context.Context, comp *chosen, set *source) error {
	found, err := vss.ExpandFileSet(set.on.shadow, set.on.Name, set.FileSet, vss.ExpandOptions{Excludes: comp.excludes})
	if err != nil {
		return phase("copy", set.FileSpec.String(), err)
	}
	for _, f := range found {
		name, err := fileName(f.Path)
		if err != nil {
			return phase("copy", f.Path, err)
		}
		key := fold(name)
		if c.done[key] {
			continue
		}
		c.done[key] = true
		n, err := c.file(ctx, set, f, FilesName+"/"+name)
		if err != nil {
			return phase("copy", f.Path, err)
		}
		comp.Files++
		comp.Bytes += n
	}
	return nil
}

func (c *copier) file(ctx context.Context, set *source, f vss.FoundFile, to string) (int64, error) {
	if err := sim.At(ctx, FaultCopy); err != nil {
		return 0, err
	}
	n, err := c.to.put(to, set.on.shadow, f)
	if err == nil {
		sim.Emit(ctx, "requester/copy", "", sim.S("file", f.Path), sim.N("bytes", n))
	}
	return n, err
}
