package vss

import "slices"

// RestoreConditions are what a requester finds out about the files of a component
// set, after PreRestore, before it decides where they go
// ("Setting VSS Restore Methods").
type RestoreConditions uint8

// The conditions.
const (
	IfNewTarget   RestoreConditions = 1 << iota // the requester chose a place of its own (AddNewTarget)
	IfAbsent                                    // none of the files is in its place
	IfReplaceable                               // each file that is there can be overwritten, each other one created
	IfStopped                                   // the service is stopped, or was stopped for the restore
	IfMapped                                    // every file has an alternate location
	IfMappedFree                                // and can be written or created there

	always RestoreConditions = 0
)

// A RestorePlace is where the files of a component set go, all of them or none
// ("Setting VSS Restore Methods").
type RestorePlace uint8

// The places.
const (
	PlaceNowhere   RestorePlace = iota // nothing is restored: an error
	PlaceOriginal                      // where they were
	PlaceAlternate                     // by the writer's alternate locations, which the requester then records
	PlaceDirected                      // by the writer's directed targets
	PlaceReboot                        // to a place from which the system moves them at the next start
	PlaceCustom                        // as the writer's own documentation says
	PlaceNewTarget                     // where the requester wants them
)

// String names the place in a word.
func (p RestorePlace) String() string {
	return nameOf([]string{"nowhere", "original", "alternate", "directed", "reboot", "custom", "new-target"}, int(p))
}

// A RestoreRule is a row of the table by which a requester restores a component
// set: where the files go if the writer has the method, chose the target in
// PreRestore, and the conditions hold ("Setting VSS Restore Methods",
// "VSS_RESTORE_TARGET").
type RestoreRule struct {
	Method RestoreMethod
	Target RestoreTarget
	Needs  RestoreConditions
	Place  RestorePlace
	// Code says why nothing is restored. The codes are this package's choice: no
	// call of the service returns them. [ErrInvalidArg] and [ErrObjectNotFound],
	// which stands for a missing alternate location, are mistakes of the writer.
	Code HRESULT
}

// RestoreRules returns the table, ordered by method and target; of the rows for
// them, the first whose needs hold counts ("Setting VSS Restore Methods",
// "VSS_RESTORE_TARGET"). The pages draw no figure for RESTORE_STOP_START; it is
// taken for IF_CAN_REPLACE. A file that exists at an alternate location may be
// overwritten there.
func RestoreRules() []RestoreRule { return slices.Clone(restoreRows) }

var restoreRows = writeOutRestoreRules()

// A restoreCase is a row without method and target.
type restoreCase struct {
	needs RestoreConditions
	place RestorePlace
	code  HRESULT
}

// originalCases say by what conditions a method lets files into their own place,
// and what it says otherwise.
var originalCases = map[RestoreMethod][]restoreCase{
	MethodRestoreIfNotThere:          {{IfAbsent, PlaceOriginal, 0}, {always, PlaceNowhere, ErrObjectAlreadyExists}},
	MethodRestoreIfCanReplace:        {{IfReplaceable, PlaceOriginal, 0}, {always, PlaceNowhere, ErrAccessDenied}},
	MethodRestoreStopStart:           {{IfReplaceable, PlaceOriginal, 0}, {always, PlaceNowhere, ErrAccessDenied}},
	MethodStopRestoreStart:           {{IfStopped | IfReplaceable, PlaceOriginal, 0}, {IfStopped, PlaceNowhere, ErrAccessDenied}, {always, PlaceNowhere, ErrBadState}},
	MethodRestoreToAlternateLocation: {{IfReplaceable, PlaceOriginal, 0}, {always, PlaceNowhere, ErrAccessDenied}},
}

var (
	toAlternate = []restoreCase{
		{IfMapped | IfMappedFree, PlaceAlternate, 0}, {IfMapped, PlaceNowhere, ErrAccessDenied}, {always, PlaceNowhere, ErrObjectNotFound},
	}
	toDirected = []restoreCase{{always, PlaceDirected, 0}}
	replaced   = []restoreCase{{IfAbsent, PlaceOriginal, 0}, {IfReplaceable, PlaceOriginal, 0}}
	atReboot   = []restoreCase{{always, PlaceReboot, 0}}
	byWriter   = []restoreCase{{always, PlaceCustom, 0}}
	mistaken   = []restoreCase{{always, PlaceNowhere, ErrInvalidArg}}
)

// casesOf lists the rows of a method and a target. Targets have no say about files
// that are moved at the next start, and a writer with a method of its own may
// ignore them.
func casesOf(m RestoreMethod, t RestoreTarget) []restoreCase {
	switch m {
	case MethodRestoreAtReboot:
		return atReboot
	case MethodCustom:
		return byWriter
	case MethodRestoreAtRebootIfCannotReplace:
		return atRebootCases(t)
	case MethodUndefined:
		if t == TargetOriginal {
			return mistaken
		}
	}
	switch {
	case t == TargetDirected:
		return toDirected
	case t == TargetAlternate, t == TargetOriginal && m == MethodRestoreToAlternateLocation:
		return toAlternate
	case m == MethodUndefined: // in its own place whatever the method says
		return originalCases[MethodRestoreIfCanReplace]
	case t == TargetOriginalLocation:
		return originalCases[m]
	}
	return withFallback(originalCases[m])
}

// atRebootCases are those of a method that moves files at the next start if it
// must: then no target counts.
func atRebootCases(t RestoreTarget) []restoreCase {
	if t == TargetOriginal || t == TargetOriginalLocation {
		return slices.Concat(replaced, atReboot)
	}
	var cases []restoreCase
	for _, now := range replaced {
		for _, c := range casesOf(MethodRestoreIfCanReplace, t) {
			c.needs |= now.needs
			cases = append(cases, c)
		}
	}
	return append(cases, atReboot...)
}

// withFallback sends files whose own place is not free to their alternate
// locations, if all of them can go there. A service that cannot be stopped is an
// error in any case.
func withFallback(cases []restoreCase) []restoreCase {
	var out []restoreCase
	for _, c := range cases {
		if c.place == PlaceNowhere && c.code != ErrBadState {
			out = append(out, restoreCase{c.needs | IfMapped | IfMappedFree, PlaceAlternate, 0})
		}
		out = append(out, c)
	}
	return out
}

func writeOutRestoreRules() []RestoreRule {
	var rows []RestoreRule
	for m := MethodUndefined; m <= MethodRestoreStopStart; m++ {
		for t := TargetOriginal; t <= TargetOriginalLocation; t++ {
			rows = append(rows, RestoreRule{m, t, IfNewTarget, PlaceNewTarget, 0})
			for _, c := range casesOf(m, t) {
				rows = append(rows, RestoreRule{m, t, c.needs, c.place, c.code})
			}
		}
	}
	return rows
}

// DecideRestore looks up where the files of a component set go. An undefined
// target stands for [TargetOriginal]. The error, of the code of the row, says that
// nothing is to be restored, and the file restore status is [FilesNone]
// ("Setting VSS Restore Methods").
func DecideRestore(m RestoreMethod, t RestoreTarget, c RestoreConditions) (RestorePlace, error) {
	if t == TargetUndefined {
		t = TargetOriginal
	}
	for _, r := range restoreRows {
		if r.Method != m || r.Target != t || r.Needs&^c != 0 {
			continue
		}
		if r.Place == PlaceNowhere {
			return PlaceNowhere, fail("DecideRestore", "", r.Code, "%v with %v", m, t)
		}
		return r.Place, nil
	}
	return PlaceNowhere, fail("DecideRestore", "", ErrInvalidArg, "no such method or target: %v, %v", m, t)
}
