package hyperv

import (
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The points at which the host asks for a fault; the object is the path of the
// machine's actor ("h1/sql01") where a machine is meant, and of the host's
// otherwise.
const (
	FaultSave         sim.Point = "hyperv/save"          // before memory is written
	FaultStart        sim.Point = "hyperv/start"         // before a machine is started or resumed
	FaultDelete       sim.Point = "hyperv/delete"        // before a registration is removed
	FaultRegister     sim.Point = "hyperv/register"      // before a configuration is read
	FaultDropSnapshot sim.Point = "hyperv/drop-snapshot" // before a guest's snapshot is deleted from a live disk
	FaultMount        sim.Point = "hyperv/mount"         // before a VHD of the shadow copy is mounted (event 10111)
	FaultRevert       sim.Point = "hyperv/revert"        // before one is rolled back (event 10103)
)

// FaultPoints lists the fault points of this package and of those below it.
func FaultPoints() []sim.FaultPoint {
	retryable := sim.Outcome{Err: uint32(vss.ErrWriterErrorRetryable)}
	diskFull := sim.Outcome{Err: 0x80070070}
	slow := sim.Outcome{Delay: 20 * time.Minute}
	return append([]sim.FaultPoint{
		{Point: FaultSave, Doc: "a machine's memory is about to be saved", Outcomes: []sim.Outcome{diskFull, slow}},
		{Point: FaultStart, Doc: "a machine is about to be started, or brought back from the saved state", Outcomes: []sim.Outcome{{Err: 0x8007000E}, slow}},
		{Point: FaultDelete, Doc: "a machine's registration is about to be removed", Outcomes: []sim.Outcome{{Err: 0x80070005}}},
		{Point: FaultRegister, Doc: "a configuration is about to be registered", Outcomes: []sim.Outcome{{Err: 0x80070020}}},
		{Point: FaultDropSnapshot, Doc: "a guest's snapshot is about to be deleted from a live disk", Outcomes: []sim.Outcome{{Err: 0x80070020}}},
		{Point: FaultMount, Doc: "a VHD of the host's shadow copy is about to be mounted", Outcomes: []sim.Outcome{retryable}},
		{Point: FaultRevert, Doc: "a mounted VHD is about to be rolled back to the guest's snapshot", Outcomes: []sim.Outcome{retryable}},
	}, guest.FaultPoints()...)
}
