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
	job  *job
	to   *tree
	done map[string]bool // by folded name

	missing []byte // text of the file that names what is missing
}

// copy copies the files of the chosen components out of the shadow copies. Which
// files there are is seen only now.
func (j *job) copy(ctx context.Context) error {
	c := &copier{to: newTree(j.Target), done: make(map[string]bool), job: j}
	c.to.fresh, c.to.list = true, &securityList{}
	for _, comp := range j.chosen {
		if err := c.component(ctx, comp); err != nil {
			return err
		}
		j.made.Files += comp.Files
		j.made.Bytes += comp.Bytes
	}
	if err := c.to.list.save(j.Target); err != nil {
		return err
	}
	return c.saveMissing()
}

// component copies the files of a component: those that the writer says have
// changed, exactly the ranges that it names, and of the other file sets all files
// where the type of the backup demands it ("Requester Role in VSS Incremental and
// Differential Backups").
func (c *copier) component(ctx context.Context, comp *chosen) error {
	settled := make(map[string]bool) // by folded path
	for i := range comp.differing {
		if err := c.differing(ctx, comp, &comp.differing[i], settled); err != nil {
			return err
		}
	}
	for i := range comp.partial {
		if err := c.partial(ctx, comp, &comp.partial[i], settled); err != nil {
			return err
		}
	}
	for i := range comp.sets {
		if !comp.sets[i].needed {
			continue
		}
		if err := c.set(ctx, comp, &comp.sets[i], settled); err != nil {
			return err
		}
	}
	return nil
}

// set copies the files of one file set that are not settled otherwise.
func (c *copier) set(ctx context.Context, comp *chosen, set *source, settled map[string]bool) error {
	found, err := c.expand(ctx, comp, set)
	if err != nil {
		return err
	}
	for _, f := range found {
		if len(settled) > 0 && settled[fold(f.Path)] {
			continue
		}
		if err := c.whole(ctx, comp, set, f); err != nil {
			return err
		}
	}
	return nil
}

// whole copies a file, if no other component has.
func (c *copier) whole(ctx context.Context, comp *chosen, set *source, f vss.FoundFile) error {
	return c.file(ctx, comp, f.Path, func(to string) (int64, error) { return c.to.put(to, set.on.shadow, f) })
}

// file brings a file into the target by means of put.
func (c *copier) file(ctx context.Context, comp *chosen, path string, put func(to string) (int64, error)) error {
	name, err := fileName(path)
	if err != nil {
		return phase("copy", path, err)
	}
	key := fold(name)
	if c.done[key] {
		return nil
	}
	c.done[key] = true
	n, err := int64(0), sim.At(ctx, FaultCopy)
	if err == nil {
		n, err = put(FilesName + "/" + name)
	}
	if err != nil {
		return phase("copy", path, err)
	}
	sim.Emit(ctx, "requester/copy", "", sim.S("file", path), sim.N("bytes", n))
	comp.Files++
	comp.Bytes += n
	return nil
}
