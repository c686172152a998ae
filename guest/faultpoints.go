package guest

import (
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// FaultPoints lists the points at which something may go wrong in a guest, its
// shadow copy service included, with outcomes worth trying.
func FaultPoints() []sim.FaultPoint {
	fails := sim.Outcome{Err: 0x8007_001F} // ERROR_GEN_FAILURE
	dies := sim.Outcome{Kill: "."}
	hangs := sim.Outcome{Hang: true}
	return slices.Concat([]sim.FaultPoint{
		{Point: PointAnswer, Doc: "the guest's backup service does not answer the host",
			Outcomes: []sim.Outcome{fails, hangs, dies, {Delay: 2 * DefaultTimeout}}},
		{Point: PointSnapshot, Doc: "the guest's answer, that the copies are made, is lost",
			Outcomes: []sim.Outcome{fails, hangs, dies}},
		{Point: PointInitialize, Doc: "a Windows guest's requester cannot be initialized", Outcomes: []sim.Outcome{fails}},
		{Point: PointSetContext, Doc: "a Windows guest's requester cannot set the context", Outcomes: []sim.Outcome{fails}},
		{Point: PointSetBackupState, Doc: "a Windows guest's requester cannot set the state of the backup", Outcomes: []sim.Outcome{fails}},
		{Point: PointDetect, Doc: "a Windows guest cannot tell which disks the host does not see", Outcomes: []sim.Outcome{fails}},
		{Point: PointDiskNumber, Doc: "a Windows guest cannot tell on which disk a volume lies", Outcomes: []sim.Outcome{fails}},
		{Point: PointOriginalVolume, Doc: "a Windows guest does not find the volume that a shadow copy is of", Outcomes: []sim.Outcome{fails}},
		{Point: PointHotBackup, Doc: "a Linux guest's daemon does not answer whether the guest can be backed up", Outcomes: []sim.Outcome{fails, hangs}},
		{Point: PointFreeze, Doc: "a Linux guest's file system cannot be frozen", Outcomes: []sim.Outcome{fails, hangs}},
		{Point: PointThaw, Doc: "a Linux guest's daemon does not thaw, or too late", Outcomes: []sim.Outcome{fails, hangs}},
		{Point: PointBoot, Doc: "the guest does not boot", Outcomes: []sim.Outcome{fails}},
		{Point: PointResume, Doc: "the guest does not resume from its memory", Outcomes: []sim.Outcome{fails}},
		{Point: PointSave, Doc: "the guest's memory cannot be saved", Outcomes: []sim.Outcome{fails}},
		{Point: PointRead, Doc: "a volume cannot be read", Outcomes: []sim.Outcome{fails, {Delay: time.Second}}},
		{Point: PointWrite, Doc: "a volume cannot be written", Outcomes: []sim.Outcome{fails, {Delay: time.Second}}},
	}, vss.FaultPoints())
}
