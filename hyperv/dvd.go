package hyperv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A DVD is a DVD drive of a machine. The ISO file in it is the host's and no part of
// a backup of the machine, whose configuration names it all the same: whoever starts
// the machine where the file is not there gets a [MediaError].
type DVD struct {
	Slot Slot
	Path string // of the ISO file in it, or "" if the drive is empty
}

// A MediaError is why a machine does not start: the ISO file in one of its DVD drives
// cannot be opened. One that is off starts when the drive is empty ([VM.Eject]) or
// the file is there; so real hosts do, who say that they "failed to open attachment".
// One that is saved stays so until the file is there, or the configuration names
// another ([VM.Configure]); else its saved state has to be discarded, and then the
// drive can be emptied.
type MediaError struct {
	Drive Slot
	Path  string
	Err   error
}

// Error names the drive and the file, with what cannot be printed escaped.
func (e *MediaError) Error() string {
	return fmt.Sprintf("the DVD drive %v: %s: %v", e.Drive, strconv.Quote(e.Path), e.Err)
}

// Unwrap is what the volume says, and [ErrFileNotFound].
func (e *MediaError) Unwrap() []error { return []error{e.Err, ErrFileNotFound} }

// dvd is the place of the drive at a slot in the list, or -1.
func (c *Configuration) dvd(at Slot) int {
	return slices.IndexFunc(c.DVDs, func(d DVD) bool { return d.Slot == at })
}

// sortDVDs puts the drives in the order in which a file has them, and finds a slot
// that is taken twice.
func (c *Configuration) sortDVDs() (at Slot, twice bool) {
	slices.SortStableFunc(c.DVDs, func(a, b DVD) int { return a.Slot.compare(b.Slot) })
	for i, d := range c.DVDs {
		if i > 0 && d.Slot == c.DVDs[i-1].Slot || slices.ContainsFunc(c.Drives, func(e Drive) bool { return e.Slot == d.Slot }) {
			return d.Slot, true
		}
	}
	return Slot{}, false
}

// settleDVDs is the part of settle that is about them.
func (c *Configuration) settleDVDs() error {
	if at, twice := c.sortDVDs(); twice {
		return badConfiguration(fmt.Errorf("%v is taken twice", at))
	}
	for _, d := range c.DVDs {
		if d.Slot.Bus > SCSI || outside(d.Slot.Controller) || outside(d.Slot.Drive) {
			return badConfiguration(fmt.Errorf("there is no bus %d, controller %d, drive %d", d.Slot.Bus, d.Slot.Controller, d.Slot.Drive))
		}
	}
	return nil
}

// addDVDs gives a new machine DVD drives in the free places of its IDE controllers,
// those of the second one first.
func (h *Host) addDVDs(conf *Configuration, paths []string) error {
	places := []Slot{{IDE, 1, 0}, {IDE, 1, 1}, {IDE, 0, 1}, {IDE, 0, 0}}
	for _, path := range paths {
		free := slices.IndexFunc(places, func(s Slot) bool {
			return conf.dvd(s) < 0 && !slices.ContainsFunc(conf.Drives, func(e Drive) bool { return e.Slot == s })
		})
		if free < 0 {
			return &Error{Op: "CreateVM", On: conf.Name, Err: fmt.Errorf("%w: the IDE controllers have no place for a DVD drive", ErrParameter)}
		}
		d := DVD{places[free], path}
		if err := h.medium(d); err != nil {
			return &Error{Op: "CreateVM", On: conf.Name, Err: err}
		}
		conf.DVDs = append(conf.DVDs, d)
	}
	_, _ = conf.sortDVDs()
	return nil
}

// medium tells whether the file in a drive is there.
func (h *Host) medium(d DVD) error {
	if d.Path == "" {
		return nil
	}
	v, rest, err := h.volumeOf(d.Path)
	if err == nil {
		var info volume.Info
		if info, err = v.Describe(rest); err == nil && info.IsDir() {
			err = volume.ErrAccessDenied
		}
	}
	if err != nil {
		return &MediaError{Drive: d.Slot, Path: d.Path, Err: causeOf(err)}
	}
	return nil
}

// causeOf is the code in an error of a volume, without the path, which may be any
// text.
func causeOf(err error) error {
	if code, ok := errors.AsType[volume.Code](err); ok {
		return code
	}
	return err
}

// media tells whether the files in the machine's DVD drives are there, on a host.
func (vm *VM) media(on *Host) error {
	for _, d := range vm.config.DVDs {
		if err := on.medium(d); err != nil {
			return err
		}
	}
	return nil
}

// Insert puts an ISO file into a DVD drive of a machine, in place of the one in it;
// a drive that the machine has not is [ErrNotFound], a file that is not there a
// [MediaError]. A saved machine's drives stay as they are.
func (vm *VM) Insert(ctx context.Context, drive Slot, iso string) error {
	return vm.changeMedium(ctx, "Insert", DVD{drive, iso})
}

// Eject empties a DVD drive of a machine that is not saved.
func (vm *VM) Eject(ctx context.Context, drive Slot) error {
	return vm.changeMedium(ctx, "Eject", DVD{Slot: drive})
}

func (vm *VM) changeMedium(ctx context.Context, op string, d DVD) error {
	return vm.call(ctx, op, func(context.Context) error {
		fails := func(err error) error { return &Error{Op: op, On: vm.Name(), State: vm.state, Err: err} }
		c := vm.config.clone()
		i := c.dvd(d.Slot)
		switch {
		case vm.state == StateSaved || !vm.state.Stable():
			return fails(ErrInvalidState)
		case vm.lock != "":
			return fails(vm.inUse())
		case i < 0:
			return fails(fmt.Errorf("%w: the DVD drive %v", ErrNotFound, d.Slot))
		case op == "Insert" && d.Path == "":
			return fails(fmt.Errorf("%w: no ISO file", ErrParameter))
		}
		if err := vm.host.medium(d); err != nil {
			return fails(err)
		}
		c.DVDs[i].Path = d.Path
		if err := vm.adoptConfiguration(c); err != nil {
			return err
		}
		vm.emit("dvd/"+map[bool]string{true: "eject", false: "insert"}[d.Path == ""], "", sim.S("slot", d.Slot.String()), sim.S("iso", d.Path))
		return nil
	})
}
