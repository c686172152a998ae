package disktest

import (
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// cases are all that is asked. Each makes reads and writes, too.
var cases = []*caseOf{
	{name: "disk.Store", has: always},
	{name: "disk.Snapshotter", has: is[disk.Snapshotter], kinds: []kind{snapshot}},
	{name: "disk.Cloner", has: is[disk.Cloner], kinds: []kind{clone}},
	{name: "disk.Discarder", has: is[disk.Discarder], kinds: []kind{discard, discardAll}},
	{name: "disk.Extenter", has: is[disk.Extenter], kinds: []kind{extents, discard}},
	{name: "disk.Differ", has: is[disk.Differ], kinds: []kind{diff, diff, snapshot, stranger, clone, discard}},
	{name: "disk.Resizer", has: is[disk.Resizer], kinds: []kind{resize, extents}},
	{name: "disk.Mapper", has: is[disk.Mapper], kinds: []kind{mapped, discard}},
	{name: "all together", has: always, kinds: []kind{snapshot, clone, discard, discardAll, extents, diff, resize, mapped, copyOut}},
	{name: "readers at the same time", has: always, own: (*kit).concurrent},
}

// A caseOf is one sub-test: the calls it makes besides reads and writes, or a
// function of its own.
type caseOf struct {
	name  string
	has   func(disk.Store) bool
	kinds []kind
	own   func(*kit) *Broken
}

func is[T any](s disk.Store) bool {
	_, ok := s.(T)
	return ok
}

func always(disk.Store) bool { return true }

// run tries the borders and then random scripts, and shrinks the first that
// breaks a promise.
func (c *caseOf) run(k *kit) *Broken {
	if c.own != nil {
		return c.own(k)
	}
	list := append(borderScripts(k.size, c.kinds), endCalls(k.size, c.kinds))
	kinds := append([]kind{read, write, write}, c.kinds...)
	if slices.Contains(c.kinds, snapshot) || slices.Contains(c.kinds, clone) {
		kinds = append(kinds, write)
	}
	random := scripts(k.size, kinds)
	for seed := range len(list) + k.checks/2 {
		var s script
		if seed < len(list) {
			s = list[seed]
		} else {
			s = random.Example(seed)
		}
		if bad := k.try(c.name, s); bad != nil {
			return k.shrink(c.name, s, bad)
		}
	}
	return nil
}
