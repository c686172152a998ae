package image

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/virtdisk"
)

// MaxChain is how many images a chain may have.
const MaxChain = 1024

// Check says how much of a parent's identity has to be right.
type Check uint8

// The checks of [ChainOptions].
const (
	CheckUsually  Check = iota // the identifier, as Windows does
	CheckStrictly              // also the time stamp, where the format has one
	CheckNothing               // nothing: data may be wrong, by the caller's choice
)

// ChainOptions says how to open a chain.
type ChainOptions struct {
	Write   bool     // open the leaf for writing
	Repair  bool     // with Write: put right what a power cut left at the end of the leaf's file
	Check   Check    // of each parent's identity
	Folders []string // further folders in which to look for parents by their names
}

// mode returns how the leaf is to be opened.
func (o ChainOptions) mode() mode {
	switch {
	case o.Write && o.Repair:
		return repairing
	case o.Write:
		return writing
	}
	return reading
}

// A Link is one image of a chain.
type Link struct {
	Path  string // its Windows path
	Image Image

	src   disk.Source
	clean string // what cleanPath makes of Path
}

// A Chain is a disk over several images: a differencing one and its ancestors.
// As a disk it is its leaf. A chain of one is an image without a parent.
type Chain struct {
	Image // the leaf
	links []Link
}

// Links returns the images from the leaf to the base.
func (c *Chain) Links() []Link { return slices.Clone(c.links) }

// Close closes all images, and their files where they can be closed.
func (c *Chain) Close() error {
	var errs []error
	for _, l := range c.links {
		errs = append(errs, fail("Close", l.Path, errors.Join(l.Image.Close(), closeSource(l.src))))
	}
	return errors.Join(errs...)
}

// Snapshot returns an immutable leaf over the same parents, if its file can
// take a snapshot.
func (c *Chain) Snapshot() (disk.Store, error) { return disk.Snapshot(c.Image) }

func closeSource(src disk.Source) error {
	if c, ok := src.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// OpenChain opens the image at path and its ancestors, each over its parent.
// Only the leaf is written, and only if o says so: nobody may write a parent.
// A leaf of VHDX that is opened for writing, and checked, has the paths in it
// corrected that no longer lead to its parent, as [MS-VHDX] asks.
//
// What is wrong with the leaf is its own error. With its parent it is
// [ErrParentNotFound], [ErrParentID], [ErrParentTime], [ErrParentSize],
// [ErrParentAccess], [ErrChainCycle], or [ErrParentBroken] around what is wrong
// with the image that was found; further down it is [ErrParentBroken] around
// one of these. Nothing stays open after an error.
func OpenChain(path string, r Resolver, o ChainOptions) (*Chain, error) {
	c := &Chain{}
	err := c.open(path, r, o)
	if err != nil {
		c.Close()
		return nil, err
	}
	c.Image = c.links[0].Image
	return c, nil
}

func (c *Chain) open(path string, r Resolver, o ChainOptions) error {
	leaf, err := openLink(path, r, o.mode())
	if err != nil {
		return fail("OpenChain", path, err)
	}
	c.links = []Link{leaf}
	for {
		child := c.links[len(c.links)-1]
		parent, err := c.findParent(child, r, o)
		if err == nil && parent.Image == nil {
			return fail("OpenChain", path, c.correct(o))
		}
		if err == nil {
			c.links = append(c.links, parent)
			continue
		}
		if len(c.links) > 1 && !errors.Is(err, ErrParentBroken) {
			err = both(ErrParentBroken, err)
		}
		return fail("OpenChain", child.Path, err)
	}
}

// correct tells the leaf where its parent lies.
func (c *Chain) correct(o ChainOptions) error {
	if !o.Write || o.Check == CheckNothing || len(c.links) == 1 {
		return nil
	}
	leaf := c.links[0]
	if codec, _ := codecOf(leaf.Image); codec.correct != nil {
		return codec.correct(leaf.Image, Place{Parent: c.links[1].Path, Child: leaf.Path})
	}
	return nil
}

// openLink opens one image.
func openLink(path string, r Resolver, how mode) (Link, error) {
	src, err := r.OpenImage(path)
	if err != nil {
		return Link{}, err
	}
	return linkTo(path, src, how)
}

// linkTo opens the image in a file that was found at path.
func linkTo(path string, src disk.Source, how mode) (Link, error) {
	im, err := open(src, how)
	if err != nil {
		closeSource(src)
		return Link{}, err
	}
	return Link{Path: path, Image: im, src: src, clean: cleanPath(path)}, nil
}

// findParent opens the parent of a child and puts that over it. A base gets
// the zero Link. A candidate that is there and will not do is remembered and
// the search goes on.
func (c *Chain) findParent(child Link, r Resolver, o ChainOptions) (Link, error) {
	codec, _ := codecOf(child.Image)
	paths, ok := codec.candidates(child.Image)
	if !ok {
		return Link{}, nil
	}
	if len(c.links) == MaxChain {
		return Link{}, because(ErrChainCycle, "more than %d images", MaxChain)
	}
	var first error
	var tried []string
	for _, path := range places(child.Path, paths, o.Folders) {
		parent, err := c.tryParent(child, path, r, o)
		if err == nil {
			return parent, nil
		}
		if tried = append(tried, path); first == nil && err != errNotThere {
			first = fail("OpenChain", path, err)
		}
	}
	if first != nil {
		return Link{}, first
	}
	return Link{}, because(ErrParentNotFound, "tried %s", strings.Join(tried, ", "))
}

// places returns the paths at which a parent may lie, each once: those that
// its child names, and the same names in further folders.
func places(child string, paths, folders []string) []string {
	var all []string
	add := func(folder, path string) {
		p, ok := virtdisk.Join(folder, path)
		same := func(q string) bool { return samePath(p, q) }
		if ok && !slices.ContainsFunc(all, same) {
			all = append(all, p)
		}
	}
	for _, p := range paths {
		add(virtdisk.Dir(child), p)
	}
	for _, folder := range folders {
		for _, p := range paths {
			add(folder, virtdisk.Base(p))
		}
	}
	return all
}

// errNotThere says that nothing lies at a path. What lies there may lack a
// parent of its own, which is fs.ErrNotExist too.
var errNotThere = errors.New("nothing is there")

// tryParent opens what lies at path and puts the child over it.
func (c *Chain) tryParent(child Link, path string, r Resolver, o ChainOptions) (Link, error) {
	clean := cleanPath(path)
	if slices.ContainsFunc(c.links, func(l Link) bool { return strings.EqualFold(l.clean, clean) }) {
		return Link{}, because(ErrChainCycle, "it is its own ancestor")
	}
	src, err := r.OpenImage(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Link{}, errNotThere
	case errors.Is(err, fs.ErrPermission) && !errors.Is(err, ErrParentAccess):
		return Link{}, both(ErrParentAccess, err)
	case err != nil:
		return Link{}, both(ErrParentBroken, err)
	}
	parent, err := linkTo(path, src, reading)
	if err != nil {
		return Link{}, both(ErrParentBroken, err)
	}
	codec, _ := codecOf(child.Image)
	if err := codec.setParent(child.Image, parent.Image, o.Check); err != nil {
		closeSource(parent.src)
		return Link{}, err
	}
	return parent, nil
}
