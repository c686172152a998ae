package hyperv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func notRegistered(op string, id [16]byte) error {
	return &Error{Op: op, On: guid.Upper(id), Err: ErrNotFound}
}

// Register adds the machine that a configuration file describes, as it stands:
// nothing is read but the file, and the saved state beside it. A file that is
// not in the default location gets a link there (R51, R52). As an import does, it
// gives the machine's account access to the configuration and the VHD files; the
// writer, after a restore, does not.
func (h *Host) Register(ctx context.Context, path string) (vm *VM, err error) {
	return h.registerFor(ctx, path, enrolRules{imports: true})
}

// enrolRules are the requirements that make a registration happen.
type enrolRules struct {
	register, link string
	imports        bool // the machine's account gets access to its files
}

// ofRestore are those of a restore.
var ofRestore = enrolRules{register: "R51", link: "R52"}

func (h *Host) registerFor(ctx context.Context, path string, rules enrolRules) (vm *VM, err error) {
	err = h.call(ctx, "register", func(ctx context.Context) error {
		vm, err = h.register(ctx, path, rules)
		return err
	})
	if err != nil {
		return nil, err
	}
	return vm, nil
}

func (h *Host) register(ctx context.Context, path string, rules enrolRules) (*VM, error) {
	if err := sim.At(ctx, FaultRegister); err != nil {
		return nil, &Error{Op: "Register", On: path, Err: err}
	}
	path, err := h.resolve(path)
	if err != nil {
		return nil, &Error{Op: "Register", On: path, Err: errors.Join(ErrFileNotFound, err)}
	}
	c, stamp, err := h.readConfiguration(path)
	if err != nil {
		return nil, &Error{Op: "Register", On: path, Err: err}
	}
	vm, err := h.enroll(c, path, stamp, rules)
	if err == nil && rules.imports {
		vm.allowAll()
	}
	return vm, err
}

// enroll adds the machine of a configuration that stands in a file.
func (h *Host) enroll(c *Configuration, path string, stamp fileStamp, rules enrolRules) (*VM, error) {
	if h.byID[c.ID] != nil {
		return nil, &Error{Op: "Register", On: c.Name, Err: ErrInUse}
	}
	path = h.ownPath(path)
	linked := false
	if h.linked(path, c.ID) {
		var err error
		if linked, err = h.link(path, c.ID); err != nil {
			return nil, &Error{Op: "Register", On: path, Err: err}
		}
	}
	vm := h.newVM(c, path)
	vm.read = stamp
	h.adopt(vm)
	vm.emit("vm/register", rules.register, sim.S("path", path), sim.S("state", vm.state.String()))
	vm.notify(0, vm.state)
	if linked {
		vm.emit("vm/link", rules.link, sim.S("at", h.defaultConfig(c.ID)), sim.S("to", path))
	}
	return vm, nil
}

// resolve is where a configuration file really is, with the letters that it has
// there: its path may lead over links.
func (h *Host) resolve(path string) (string, error) {
	clean, err := volume.Clean(path)
	if err != nil {
		return path, err
	}
	real, err := h.files.Resolve(clean)
	if err != nil {
		return path, err
	}
	return h.ownPath(real), nil
}

// A fileStamp tells whether a file was changed.
type fileStamp struct {
	id       uint64
	size     int64
	modified int64 // units of 100 ns, as the volume has it
}

func (h *Host) stampOf(path string) (fileStamp, error) {
	v, rest, err := h.volumeOf(path)
	if err != nil {
		return fileStamp{}, err
	}
	info, err := v.Describe(rest)
	if err != nil {
		return fileStamp{}, err
	}
	at := info.ModTime()
	return fileStamp{info.FileID(), info.Size(), at.Unix()*1e7 + int64(at.Nanosecond()/100)}, nil
}

// A parsedFile is what loadConfiguration took apart last.
type parsedFile struct {
	bytes  []byte
	config *Configuration
}

// loadConfiguration reads a configuration file, over links if need be. A restore
// reads each one twice in a row: the same bytes are taken apart once.
func (h *Host) loadConfiguration(path string) (*Configuration, error) {
	if err := h.readFile(path); err != nil {
		return nil, errors.Join(ErrFileNotFound, err)
	}
	last := &h.lastRead
	if last.config != nil && bytes.Equal(h.buffer, last.bytes) {
		return last.config.clone(), nil
	}
	c, err := readConfiguration(&h.parser, h.buffer)
	if err != nil {
		return nil, err
	}
	if c.SnapshotRoot == "" { // the file does not say
		c.SnapshotRoot = h.root
	}
	last.config, last.bytes, h.buffer = c, h.buffer, last.bytes
	return c.clone(), nil
}

// readConfiguration is loadConfiguration for the path of the file itself.
func (h *Host) readConfiguration(path string) (*Configuration, fileStamp, error) {
	c, err := h.loadConfiguration(path)
	if err != nil {
		return nil, fileStamp{}, err
	}
	stamp, err := h.stampOf(path)
	return c, stamp, err
}

// broken is why nobody can work with the machine's configuration, or nil: the file
// is no good any more, or what it calls a VHD file can be none on this host. The
// file is read again only if somebody has changed it.
func (vm *VM) broken(disks []string) error {
	for _, path := range disks {
		drive, rest, err := volume.Split(path)
		if v, within, e := vm.host.volumeOf(path); e == nil && v.folder+v.also != "" {
			rest = within // of a volume in a folder, the folder is the root
		}
		if err != nil || drive == "" || rest == `\` {
			return badConfiguration(errors.Join(fmt.Errorf("%q is not a file of the host", path), err))
		}
	}
	now, err := vm.host.stampOf(vm.path)
	if err != nil || now == vm.read {
		return err
	}
	c, stamp, err := vm.host.readConfiguration(vm.path)
	if err != nil {
		return err
	}
	if c.ID != vm.ID() {
		return badConfiguration(errors.New("it describes another machine"))
	}
	vm.read = stamp
	return nil
}

// link puts a symbolic link into the default location, in place of a stale one,
// unless it is there.
func (h *Host) link(path string, id [16]byte) (made bool, err error) {
	at := h.defaultConfig(id)
	v, rest, err := h.volumeOf(at)
	if err != nil {
		return false, err
	}
	to, none := v.Readlink(rest)
	if none == nil && volume.Equal(to, path) {
		return false, nil
	}
	if err := v.MkdirAll(volume.Dir(rest)); err != nil {
		return false, err
	}
	if none == nil {
		if err := h.removeStaleLink(id); err != nil {
			return false, err
		}
	}
	if _, err := v.Lstat(rest); err == nil {
		return false, &Error{Op: "Link", On: at, Err: volume.ErrAlreadyExists}
	}
	if err := v.Symlink(path, rest); err != nil {
		return false, err
	}
	return true, h.allowOwn(at, id, nil)
}

// removeStaleLink removes the link in the default location if what it leads to is
// gone, or is the machine's own configuration. One that leads to somebody else's
// stays.
func (h *Host) removeStaleLink(id [16]byte) error {
	v, rest, err := h.linkOf(id)
	if v == nil || err != nil {
		return err
	}
	c, err := h.loadConfiguration(h.defaultConfig(id))
	if errors.Is(err, fs.ErrNotExist) || err == nil && c.ID == id {
		return v.Remove(rest)
	}
	return nil
}

// unlink removes the link in the default location, if there is one.
func (h *Host) unlink(id [16]byte) error {
	v, rest, err := h.linkOf(id)
	if v == nil || err != nil {
		return err
	}
	return v.Remove(rest)
}

// linkOf is where the link in the default location stands; the volume is nil if
// there is none.
func (h *Host) linkOf(id [16]byte) (*hostVolume, string, error) {
	v, rest, err := h.volumeOf(h.defaultConfig(id))
	if err != nil {
		return nil, "", err
	}
	if info, err := v.Lstat(rest); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return nil, "", nil
	}
	return v, rest, nil
}

// Delete removes a machine that is off and that no operation holds: its
// registration, configuration, saved state, ports and link, and its worker
// process. VHD files stay (R45), without snapshots that a guest may have left in
// them.
func (vm *VM) Delete(ctx context.Context) error { return vm.deleteFor(ctx, "") }

// deleteFor is Delete, for a requirement that makes it happen.
func (vm *VM) deleteFor(ctx context.Context, rule string) error {
	err := vm.call(ctx, "delete", func(ctx context.Context) error { return vm.delete(ctx, rule) })
	if err != nil {
		return err
	}
	return vm.actor.Close(context.WithoutCancel(ctx)) // nothing is left that could use it; its name is free
}

func (vm *VM) delete(ctx context.Context, rule string) error {
	if err := sim.At(ctx, FaultDelete); err != nil {
		return &Error{Op: "Delete", On: vm.Name(), State: vm.state, Err: err}
	}
	if vm.state != StateOff {
		return &Error{Op: "Delete", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
	}
	if vm.lock != "" {
		return &Error{Op: "Delete", On: vm.Name(), State: vm.state, Err: vm.inUse()}
	}
	h := vm.host
	for _, id := range vm.config.Checkpoints {
		f := vm.checkpointFiles(id)
		if err := errors.Join(h.removeSavedState(f), h.removeFile(f.config())); err != nil {
			return &Error{Op: "Delete", On: vm.Name(), Err: err}
		}
	}
	err := errors.Join(vm.dropAllSnapshots(), h.unlink(vm.ID()), h.removeSavedState(vm.files()), h.removeFile(vm.path))
	if err != nil {
		return &Error{Op: "Delete", On: vm.Name(), Err: err}
	}
	h.disconnect(vm.ID())
	h.forget(vm)
	vm.emit("vm/delete", rule, sim.S("path", vm.path))
	vm.notify(vm.state, 0)
	return nil
}

// Configure replaces the configuration of a machine that does not execute. The
// identity cannot change.
func (vm *VM) Configure(ctx context.Context, c *Configuration) error {
	return vm.call(ctx, "configure", func(ctx context.Context) error {
		if vm.state != StateOff && vm.state != StateSaved {
			return &Error{Op: "Configure", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
		}
		if vm.lock != "" {
			return &Error{Op: "Configure", On: vm.Name(), State: vm.state, Err: vm.inUse()}
		}
		if c.ID != vm.ID() {
			return &Error{Op: "Configure", On: vm.Name(), Err: ErrParameter}
		}
		c := c.clone()
		if err := c.settle(); err != nil {
			return err
		}
		granted, err := vm.allowNew(c)
		if err != nil {
			return err
		}
		if err := vm.adoptConfiguration(c); err != nil {
			granted.takeBack()
			return err
		}
		vm.emit("vm/configure", "")
		return nil
	})
}

// OfferBackup offers the backup integration service to the guest, or takes it
// away, whatever the machine is doing as long as no operation holds it and it is in no
// transition. What is seen of the machine from then on goes by it, without a boot: a
// running one from which the service is taken is backed up in the saved state (R11),
// which is how administrators have that done (article 2462424).
func (vm *VM) OfferBackup(ctx context.Context, offer bool) error {
	return vm.call(ctx, "offer backup", func(context.Context) error {
		switch {
		case !vm.state.Stable() && !vm.state.Critical():
			return &Error{Op: "OfferBackup", On: vm.Name(), State: vm.state, Err: ErrInvalidState}
		case vm.lock != "":
			return &Error{Op: "OfferBackup", On: vm.Name(), State: vm.state, Err: vm.inUse()}
		case vm.config.BackupOffered == offer:
			return nil
		}
		c := vm.config.clone()
		c.BackupOffered = offer
		if err := vm.adoptConfiguration(c); err != nil {
			return err
		}
		vm.emit("vm/offer-backup", "", sim.S("offered", strconv.FormatBool(offer)))
		return nil
	})
}

// adoptConfiguration writes a configuration to the machine's file and goes by it.
func (vm *VM) adoptConfiguration(c *Configuration) (err error) {
	if err := c.settle(); err != nil {
		return err
	}
	marks := vm.marks() // go with what the file was
	if err := vm.host.writeConfiguration(c, vm.path); err != nil {
		return err
	}
	vm.host.mark(vm.ID(), marks...)
	vm.host.macs.giveBack(vm.config)
	vm.config = c
	vm.host.macs.take(c)
	vm.read, err = vm.host.stampOf(vm.path)
	return err
}

// Connect makes a new port on a switch for an adapter, in place of an earlier
// one; a zero switch disconnects the adapter (R57, R58).
func (vm *VM) Connect(ctx context.Context, adapter int, to [16]byte) error {
	return vm.call(ctx, "connect", func(context.Context) error {
		if adapter < 0 || adapter >= len(vm.config.Adapters) {
			return &Error{Op: "Connect", On: vm.Name(), Err: ErrNotFound}
		}
		if vm.lock != "" {
			return &Error{Op: "Connect", On: vm.Name(), State: vm.state, Err: vm.inUse()}
		}
		s := vm.host.Switch(to)
		if s == nil && to != [16]byte{} {
			return &Error{Op: "Connect", On: guid.Upper(to), Err: ErrNotFound}
		}
		c := vm.config.clone()
		a := &c.Adapters[adapter]
		a.Switch, a.Port = to, [16]byte{}
		if s != nil {
			a.Port = vm.host.newPortID(vm.ID())
		}
		if err := vm.adoptConfiguration(c); err != nil {
			return err
		}
		vm.host.dropPort(vm.ID(), adapter)
		if s == nil {
			vm.emit("vm/disconnect", "R58", sim.N("adapter", adapter))
			return nil
		}
		s.ports = append(s.ports, &Port{ID: a.Port, VM: vm.ID(), Adapter: adapter})
		vm.emit("vm/connect", "R57", sim.N("adapter", adapter), sim.S("switch", guid.Upper(to)), sim.S("port", guid.Upper(a.Port)))
		return nil
	})
}
