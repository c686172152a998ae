package hyperv_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
)

// A breach makes one condition fail, and no other.
type breach struct {
	code hyperv.ReasonCode
	do   func(f *hyperv.Facts)
}

// breaches are those of a machine that runs, in the order of the codes.
var breaches = []breach{
	{hyperv.ReasonOSUnsupported, func(f *hyperv.Facts) { f.Guest.Supported = false }},
	{hyperv.ReasonICDisabled, func(f *hyperv.Facts) { f.BackupOffered = false }},
	{hyperv.ReasonICNotInstalled, func(f *hyperv.Facts) { f.Guest.Installed = false }},
	{hyperv.ReasonICNotRunning, func(f *hyperv.Facts) { f.Guest.Running = false }},
	{hyperv.ReasonICProtocol, func(f *hyperv.Facts) { f.Guest.Protocol = false }},
	{hyperv.ReasonHotBackup, func(f *hyperv.Facts) { f.Guest.NoHotBackup = true }},
	{hyperv.ReasonSnapshotLocation, func(f *hyperv.Facts) { f.SnapshotLocation = `C:\` }},
	{hyperv.ReasonDynamicDisk, func(f *hyperv.Facts) {
		f.Guest.Disks = append(f.Guest.Disks, guest.Fact{Kind: guest.DynamicDisk, Disk: 1})
	}},
	{hyperv.ReasonFileSystem, func(f *hyperv.Facts) {
		f.Guest.Disks = append(f.Guest.Disks, guest.Fact{Kind: guest.IncapableVolume, Disk: 2, Partition: 1, FileSystem: guest.FileSystem{Kind: guest.FAT32}})
	}},
	{hyperv.ReasonShadowStorage, func(f *hyperv.Facts) {
		f.Guest.Redirected = append(f.Guest.Redirected, guest.ShadowStorage{Volume: "C:", On: "D:"})
	}},
	{hyperv.ReasonClusterOffline, func(f *hyperv.Facts) { f.OfflineGroup = "group" }},
}

func codesOf(d hyperv.Decision) []hyperv.ReasonCode {
	var out []hyperv.ReasonCode
	for _, r := range d.Reasons {
		out = append(out, r.Code)
	}
	return out
}

// Every combination of breaches gives all their reasons, in the order of the
// codes, but for what nobody can tell: a service for which there is none is
// neither installed nor running, and one that is not installed does not run.
func TestEveryCombinationOfReasons(t *testing.T) {
	for set := range 1 << len(breaches) {
		f := eligible()
		var want []hyperv.ReasonCode
		service := false
		for i, b := range breaches {
			if set&(1<<i) == 0 {
				continue
			}
			b.do(&f)
			switch b.code {
			case hyperv.ReasonOSUnsupported, hyperv.ReasonICNotInstalled, hyperv.ReasonICNotRunning, hyperv.ReasonICProtocol, hyperv.ReasonHotBackup:
				if service {
					continue
				}
				service = true
			}
			want = append(want, b.code)
		}
		d := hyperv.W2008.Decide(f)
		method := hyperv.MethodSavedState
		if len(want) == 0 {
			method = hyperv.MethodChildSnapshot
		}
		if d.Method != method || !slices.Equal(codesOf(d), want) {
			t.Errorf("set %b: %v, want %v %v", set, d, method, want)
		}
	}
}

// The truth table: state, conditions, method, what the backup does to the
// machine, and the state after a restore.
func TestTruthTableOfMethods(t *testing.T) {
	for _, row := range []struct {
		state    hyperv.State
		eligible bool
		method   hyperv.Method
		caption  string
		down     bool // the guest stands still for a while
		memory   bool // in the backup
		restored hyperv.State
	}{
		{hyperv.StateRunning, true, hyperv.MethodChildSnapshot, "Child Partition Snapshot", false, false, hyperv.StateOff},
		{hyperv.StateRunning, false, hyperv.MethodSavedState, "Saved State", true, true, hyperv.StateSaved},
		{hyperv.StatePaused, true, hyperv.MethodSavedState, "Saved State", true, true, hyperv.StateSaved},
		{hyperv.StatePaused, false, hyperv.MethodSavedState, "Saved State", true, true, hyperv.StateSaved},
		{hyperv.StateSaved, true, hyperv.MethodOffline, "Saved State", false, true, hyperv.StateSaved},
		{hyperv.StateSaved, false, hyperv.MethodOffline, "Saved State", false, true, hyperv.StateSaved},
		{hyperv.StateOff, true, hyperv.MethodOffline, "Saved State", false, false, hyperv.StateOff},
		{hyperv.StateOff, false, hyperv.MethodOffline, "Saved State", false, false, hyperv.StateOff},
	} {
		t.Run(fmt.Sprintf("%v/%v", row.state, row.eligible), func(t *testing.T) {
			l := newLab(t)
			make := map[hyperv.State]func(string, ...mod) *hyperv.VM{
				hyperv.StateRunning: l.running, hyperv.StatePaused: l.paused, hyperv.StateSaved: l.saved, hyperv.StateOff: l.machine,
			}[row.state]
			var mods []mod
			if !row.eligible {
				mods = append(mods, stopped)
			}
			vm := make("vm", mods...)
			if d := vm.Decide(); d.Method != row.method {
				t.Errorf("decides %v, want %v", d, row.method)
			}
			if c := row.method.Caption("vm"); c != "Backup Using "+row.caption+`\vm` {
				t.Errorf("caption %q", c)
			}
			began := len(l.w.Trace())
			target := l.mustBackup()
			moved := 0
			for _, e := range l.w.Trace()[began:] {
				if e.Kind == "vm/state" {
					moved++
				}
			}
			if (moved > 0) != row.down {
				t.Errorf("%d changes of state", moved)
			}
			l.settled()
			l.remove(vm)
			l.mustRestore(target)
			back := l.h.VM("vm")
			if back.State() != row.restored || l.exists(back.MemoryPath()) != row.memory {
				t.Errorf("restored %v, memory %v", back.State(), l.exists(back.MemoryPath()))
			}
			l.must(back.Start(l.ctx()))
		})
	}
}

// States in which a machine cannot be backed up now.
func TestStatesWithoutMethod(t *testing.T) {
	for state, code := range map[hyperv.State]hyperv.ReasonCode{
		hyperv.StateStarting: hyperv.ReasonTransition, hyperv.StateSaving: hyperv.ReasonTransition,
		hyperv.StateStopping: hyperv.ReasonTransition, hyperv.StatePausing: hyperv.ReasonTransition,
		hyperv.StateResuming: hyperv.ReasonTransition, hyperv.StateSnapshotting: hyperv.ReasonTransition,
		32781: hyperv.ReasonCritical, 32792: hyperv.ReasonCritical,
		32780: hyperv.ReasonTransition, 32793: hyperv.ReasonTransition,
	} {
		f := eligible()
		f.State, f.Guest = state, nil
		if d := hyperv.W2008.Decide(f); d.Method != hyperv.MethodNone || !slices.Equal(codesOf(d), []hyperv.ReasonCode{code}) {
			t.Errorf("%v: %v", state, d)
		}
	}
}

// Where a machine does not execute, the conditions that can be judged are judged
// all the same.
func TestReasonsOfMachinesThatDoNotExecute(t *testing.T) {
	f := eligible()
	f.State, f.Guest, f.BackupOffered, f.SnapshotLocation = hyperv.StateOff, nil, false, `C:\`
	want := []hyperv.ReasonCode{hyperv.ReasonOff, hyperv.ReasonICDisabled, hyperv.ReasonSnapshotLocation}
	if d := hyperv.W2008.Decide(f); d.Method != hyperv.MethodOffline || !slices.Equal(codesOf(d), want) {
		t.Errorf("%v", d)
	}
}

// Without VHD files the snapshot location is on another volume than none of them,
// and there is nothing that a guest could snapshot for the host.
func TestMachineWithoutVHDFiles(t *testing.T) {
	l := newLab(t)
	l.lun("lun0", true)
	vm := l.machine("bare", func(c *hyperv.VMConfig) {
		c.Disks, c.Guest = []hyperv.DiskConfig{{PassThrough: "lun0"}}, nil
	})
	l.must(vm.Start(l.ctx()))
	l.decides(vm, hyperv.MethodChildSnapshot)
	l.mustBackup()
	l.settled()
	if e := l.event("hyperv/child-snapshot.end"); e.Get("copies") != "0" {
		t.Errorf("%v", e)
	}
}

// The codes are listed in the order in which they are reported, each with a
// requirement and a sentence.
func TestReasonCodesAreDocumented(t *testing.T) {
	docs := hyperv.ReasonCodes()
	at := -1
	for _, b := range breaches {
		i := slices.IndexFunc(docs, func(d hyperv.ReasonDoc) bool { return d.Code == b.code })
		if i <= at {
			t.Errorf("%s stands at %d, behind %d", b.code, i, at)
		}
		at = i
	}
	for _, d := range docs {
		if _, ok := hyperv.RequirementByID(d.Rule); !ok || d.Text == "" || string(d.Code) != strings.ToUpper(string(d.Code)) {
			t.Errorf("%+v", d)
		}
	}
	docs[0].Text = ""
	if hyperv.ReasonCodes()[0].Text == "" {
		t.Error("the list is shared")
	}
}

// Notes are told whatever the method, and do not bear on it.
func TestNotes(t *testing.T) {
	notes := func(d hyperv.Decision) (out []hyperv.ReasonCode) {
		for _, n := range d.Notes {
			out = append(out, n.Code)
		}
		return out
	}
	f := eligible()
	f.PassThrough, f.Initiators, f.Guest.Degraded = []string{"lun0"}, []string{"iqn.test"}, true
	all := []hyperv.ReasonCode{hyperv.ReasonICDegraded, hyperv.ReasonPassThrough, hyperv.ReasonISCSI}
	if d := hyperv.W2008.Decide(f); d.Method != hyperv.MethodChildSnapshot || len(d.Reasons) != 0 || !slices.Equal(notes(d), all) || !d.Has(hyperv.ReasonISCSI) {
		t.Errorf("%v, notes %v", d, d.Notes)
	}
	f.Guest.Running = false
	if d := hyperv.W2008.Decide(f); d.Method != hyperv.MethodSavedState || !slices.Equal(notes(d), all[1:]) {
		t.Errorf("a service that does not run: %v, notes %v", d, d.Notes)
	}
	f.State, f.Guest = hyperv.StateOff, nil
	if d := hyperv.W2008.Decide(f); d.Method != hyperv.MethodOffline || !slices.Equal(notes(d), all[1:]) {
		t.Errorf("off: %v, notes %v", d, d.Notes)
	}
	for _, doc := range hyperv.ReasonCodes() {
		if doc.Note != slices.Contains(all, doc.Code) {
			t.Errorf("%+v", doc)
		}
	}
}

// An old backup service does not speak with a host that asks for a newer one.
func TestProtocolMismatch(t *testing.T) {
	l := newLabOf(t, hyperv.HostConfig{Profile: hyperv.Profile{OldestService: "6.1"}})
	l.decides(l.running("old"), hyperv.MethodSavedState, hyperv.ReasonICProtocol)
	l.mustBackup()
	l.settled()
}

// A machine whose cluster group is offline is saved, where somebody tells; the others
// are not, and a host that nobody tells asks nobody.
func TestOfflineClusterGroup(t *testing.T) {
	var down [16]byte
	l := newLabOf(t, hyperv.HostConfig{OfflineGroup: func(id [16]byte) string {
		if id == down {
			return "SQL Group"
		}
		return ""
	}})
	db, other := l.running("db"), l.running("other")
	l.decides(db, hyperv.MethodChildSnapshot)
	down = db.ID()
	l.decides(db, hyperv.MethodSavedState, hyperv.ReasonClusterOffline)
	l.decides(other, hyperv.MethodChildSnapshot)
	l.mustBackup()
	if e := l.event("hyperv/reason", "vm=db"); e.Get("code") != "CLUSTER_RESOURCE_OFFLINE" || e.Get("detail") != "SQL Group" || e.Rule != "R59" {
		t.Errorf("%v", e)
	}
	l.settled()
}
