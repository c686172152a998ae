package hyperv

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/internal/xmlite"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A passedDisk is a pass-through disk as it was when its machine was saved. No backup
// from outside has it (R39), so that a machine which is restored in the saved state goes
// on from a memory that belongs to other bytes.
type passedDisk struct {
	Slot   Slot
	Digest [32]byte
}

// passedDisks looks at the pass-through disks of a machine that is being saved. One
// that cannot be read is left out.
func (vm *VM) passedDisks() []passedDisk {
	var out []passedDisk
	for _, d := range vm.config.Drives {
		if sum, ok := vm.host.digestOf(d); ok {
			out = append(out, passedDisk{d.Slot, sum})
		}
	}
	return out
}

func (h *Host) digestOf(d Drive) (sum [32]byte, ok bool) {
	lun := h.luns[d.Path]
	if d.Kind != DrivePassThrough || lun == nil {
		return sum, false
	}
	sum, err := disk.Digest(lun)
	return sum, err == nil
}

// NewerDisks lists the pass-through disks of a saved machine that hold other bytes now
// than when it was saved: what its memory says of them is out of date, and it may
// destroy what is on them when it goes on. The host starts it all the same, and says so
// in the trace. A machine that is not saved has none.
func (vm *VM) NewerDisks() ([]Drive, error) {
	if vm.state != StateSaved {
		return nil, nil
	}
	s, _, err := vm.host.readSavedState(vm.files())
	if err != nil {
		return nil, &Error{Op: "NewerDisks", On: vm.Name(), State: vm.state, Err: err}
	}
	return vm.newerThan(s), nil
}

func (vm *VM) newerThan(s *deviceState) (out []Drive) {
	for _, d := range vm.config.Drives {
		for _, then := range s.PassedThrough {
			if then.Slot != d.Slot {
				continue
			}
			if now, ok := vm.host.digestOf(d); ok && then.Digest != now {
				out = append(out, d)
			}
		}
	}
	return out
}

// noteNewerDisks says of which pass-through disks the memory of a machine is out of
// date that has just been restored.
func (w *Writer) noteNewerDisks(ctx context.Context, m Machine) {
	vm := w.host.byID[m.ID]
	if vm == nil {
		return
	}
	newer, _ := vm.NewerDisks() // what cannot be read cannot be started either
	for _, d := range newer {
		sim.Emit(ctx, "hyperv/newer-disk", "R39", sim.S("vm", m.Name()), sim.S("slot", d.Slot.String()), sim.S("disk", d.Path))
	}
}

const passedElement = "pass_through"

func (d passedDisk) encode() *xmlite.Node {
	e := xmlite.NewElement(passedElement)
	d.Slot.encode(e)
	e.SetAttr("sha256", hex.EncodeToString(d.Digest[:]))
	return e
}

func decodePassedDisk(e *xmlite.Node) (d passedDisk, err error) {
	if d.Slot, err = decodeSlot(e); err != nil {
		return d, err
	}
	text, _ := e.Attr("sha256")
	sum, err := hex.DecodeString(text)
	if err != nil || len(sum) != len(d.Digest) {
		return d, fmt.Errorf("%q is no digest", text)
	}
	copy(d.Digest[:], sum)
	return d, nil
}
