package hyperv

import (
	"fmt"
	"slices"
)

// settle puts the drives in the order in which a file has them, and refuses what
// no file could say.
func (c *Configuration) settle() error {
	slices.SortStableFunc(c.Drives, func(a, b Drive) int { return a.Slot.compare(b.Slot) })
	for i, d := range c.Drives {
		switch {
		case i > 0 && d.Slot == c.Drives[i-1].Slot:
			return badConfiguration(fmt.Errorf("%v is taken twice", d.Slot))
		case d.Path == "" || d.Kind != DriveVHD && d.Kind != DrivePassThrough:
			return badConfiguration(fmt.Errorf("%v: %q is no disk of kind %q", d.Slot, d.Path, d.Kind))
		case d.Slot.Bus > SCSI || outside(d.Slot.Controller) || outside(d.Slot.Drive):
			return badConfiguration(fmt.Errorf("there is no bus %d, controller %d, drive %d", d.Slot.Bus, d.Slot.Controller, d.Slot.Drive))
		}
	}
	if err := c.settleDVDs(); err != nil {
		return err
	}
	if c.StartAction > StartAlways {
		return badConfiguration(fmt.Errorf("there is no start action %d", c.StartAction))
	}
	if c.StopAction > StopShutDown {
		return badConfiguration(fmt.Errorf("there is no stop action %d", c.StopAction))
	}
	if c.MemoryMB < 0 || c.MemoryMB > maxMemoryMB || c.Processors < 0 || c.Processors > maxProcessors {
		return badConfiguration(fmt.Errorf("%d MB of memory, %d processors", c.MemoryMB, c.Processors))
	}
	return nil
}

func outside(n int) bool { return n < 0 || n >= maxDrive }
