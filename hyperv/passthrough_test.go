package hyperv_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
)

// A machine with a pass-through disk comes back on a host that has no such disk: the
// restore succeeds, the machine does not start, which says what is missing and changes
// nothing, and once its drive is removed it does. One that was running, and one that is
// saved.
func TestRestoreWithoutThePassThroughDisk(t *testing.T) {
	for state, mods := range map[hyperv.State][]mod{hyperv.StateOff: nil, hyperv.StateSaved: {stopped}} {
		t.Run(state.String(), func(t *testing.T) {
			l := newLab(t)
			l.lun("lun7", false)
			l.running("db", append(mods, withLedger(), withDisk(hyperv.DiskConfig{PassThrough: "lun7"}), also("data.vhd", guest.NTFS))...)
			target := l.mustBackup()

			o := newLabOf(t, hyperv.HostConfig{Name: "h2"})
			o.mustRestore(target)
			vm := o.h.VM("db")
			for range 2 {
				err := vm.Start(o.ctx())
				var e *hyperv.Error
				if !errors.Is(err, hyperv.ErrNotFound) || !errors.As(err, &e) || !strings.Contains(err.Error(), "lun7") {
					t.Errorf("without the disk: %v", err)
				}
				if vm.State() != state || len(hyperv.Audit(o.h)) != 0 || len(o.w.Trace().Select("guest/boot")) != 0 {
					t.Errorf("it is %v, and left over are %v", vm.State(), hyperv.Audit(o.h))
				}
			}
			c := vm.Configuration()
			c.Drives = slices.DeleteFunc(c.Drives, func(d hyperv.Drive) bool { return d.Kind == hyperv.DrivePassThrough })
			o.must(vm.Configure(o.ctx(), c))
			o.must(vm.Start(o.ctx()))
			o.works(vm)
			o.note()
			o.mustBackup()
			o.settled()
		})
	}
}
