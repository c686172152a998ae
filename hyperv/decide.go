package hyperv

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/guest"
)

// A Method is how the writer backs up one machine.
type Method uint8

const (
	// MethodOffline copies the files of a machine that is off or saved as they
	// are; its state does not change.
	MethodOffline Method = iota + 1
	// MethodSavedState saves the machine in PrepareForSnapshot and brings it back
	// in PostSnapshot (R5).
	MethodSavedState
	// MethodChildSnapshot runs VSS inside the child (R9).
	MethodChildSnapshot
	// MethodNone refuses: the machine cannot be backed up as it is now.
	MethodNone
)

func (m Method) String() string {
	return [...]string{"", "offline", "saved state", "child VM snapshot", "none"}[m]
}

// Caption is the component caption of Windows Server 2008 for a machine backed
// up with the method.
func (m Method) Caption(name string) string {
	if m == MethodChildSnapshot {
		return `Backup Using Child Partition Snapshot\` + name
	}
	return `Backup Using Saved State\` + name
}

// A ReasonCode says which condition for the child VM snapshot method does not
// hold, or what else is worth knowing about the backup of a machine.
type ReasonCode string

// The reason codes of the W2008 profile, in the order in which they are
// reported. Reasons that later versions alone have are not modelled, as no profile is
// theirs: that a machine has no SCSI controller to which the disk of auto-recovery could
// be added while it runs (Windows Server 2012 R2, which refuses the backup then), that it is
// isolated and is offered no backup service, and the notes that it has a virtual Fibre
// Channel adapter or a VHD that it shares with others.
const (
	ReasonOff              ReasonCode = "VM_OFF"
	ReasonSaved            ReasonCode = "VM_SAVED"
	ReasonPaused           ReasonCode = "VM_PAUSED"
	ReasonTransition       ReasonCode = "VM_TRANSITION"
	ReasonCritical         ReasonCode = "VM_CRITICAL"
	ReasonOSUnsupported    ReasonCode = "GUEST_OS_UNSUPPORTED"
	ReasonICDisabled       ReasonCode = "IC_DISABLED_ON_HOST"
	ReasonICNotInstalled   ReasonCode = "IC_NOT_INSTALLED"
	ReasonICNotRunning     ReasonCode = "IC_NOT_RUNNING"
	ReasonICProtocol       ReasonCode = "IC_PROTOCOL_MISMATCH"
	ReasonICDegraded       ReasonCode = "IC_DEGRADED" // a note
	ReasonHotBackup        ReasonCode = "HOT_BACKUP_UNSUPPORTED"
	ReasonSnapshotLocation ReasonCode = "SNAPSHOT_LOCATION_OTHER_VOLUME"
	ReasonDynamicDisk      ReasonCode = "GUEST_DYNAMIC_DISK"
	ReasonFileSystem       ReasonCode = "GUEST_FS_NO_SNAPSHOT"
	ReasonShadowStorage    ReasonCode = "GUEST_SHADOWSTORAGE_REDIRECTED"
	ReasonClusterOffline   ReasonCode = "CLUSTER_RESOURCE_OFFLINE" // see [HostConfig.OfflineGroup]
	ReasonPassThrough      ReasonCode = "PASSTHROUGH_PRESENT"      // a note
	ReasonISCSI            ReasonCode = "ISCSI_PRESENT"            // a note
)

// ReasonCodes lists the codes of the W2008 profile in their order, each with the
// requirement it comes from and what does not hold.
func ReasonCodes() []ReasonDoc { return append([]ReasonDoc(nil), reasonDocs[:]...) }

// A ReasonDoc explains a reason code.
type ReasonDoc struct {
	Code ReasonCode
	Rule string // "R15"
	Text string
	Note bool // it does not keep the guest from being asked
}

var reasonDocs = [...]ReasonDoc{
	{Code: ReasonOff, Rule: "R15", Text: "the machine is off: its files are copied as they are"},
	{Code: ReasonSaved, Rule: "R15", Text: "the machine is saved already: its files are copied as they are"},
	{Code: ReasonPaused, Rule: "R15", Text: "the machine is paused, not running"},
	{Code: ReasonTransition, Rule: "R15", Text: "the machine is on its way from one state to another"},
	{Code: ReasonCritical, Rule: "R15", Text: "the machine was stopped because its storage failed"},
	{Code: ReasonOSUnsupported, Rule: "R14", Text: "there is no backup integration service for the guest's operating system"},
	{Code: ReasonICDisabled, Rule: "R11", Text: "the backup integration service is not offered to the machine"},
	{Code: ReasonICNotInstalled, Rule: "R11", Text: "the backup integration service is not installed in the guest"},
	{Code: ReasonICNotRunning, Rule: "R12", Text: "the backup integration service does not run in the guest"},
	{Code: ReasonICProtocol, Rule: "R12", Text: "the backup integration service speaks another protocol"},
	{Code: ReasonICDegraded, Rule: "R12", Text: "the backup integration service is older than the host's, and works", Note: true},
	{Code: ReasonHotBackup, Rule: "R9", Text: "the guest's operating system cannot be backed up while it runs"},
	{Code: ReasonSnapshotLocation, Rule: "R16", Text: "the snapshot file location is not on the volume of the machine's VHD files"},
	{Code: ReasonDynamicDisk, Rule: "R18", Text: "the guest has a dynamic disk"},
	{Code: ReasonFileSystem, Rule: "R19", Text: "a disk of the guest has a file system that cannot be snapshotted"},
	{Code: ReasonShadowStorage, Rule: "R33", Text: "the guest keeps the shadow copies of a volume on another one"},
	{Code: ReasonClusterOffline, Rule: "R59", Text: "the machine's cluster group is offline, as somebody tells the host who knows of the cluster"},
	{Code: ReasonPassThrough, Rule: "R39", Text: "a pass-through disk is not in the backup", Note: true},
	{Code: ReasonISCSI, Rule: "R40", Text: "a disk that the guest's own iSCSI initiator connects to is not in the backup", Note: true},
}

// Rule is the requirement that a reason comes from: "R16".
func (c ReasonCode) Rule() string {
	for _, d := range reasonDocs {
		if d.Code == c {
			return d.Rule
		}
	}
	return ""
}

// A Reason is a reason code with what was found.
type Reason struct {
	Code   ReasonCode
	Detail string // "disk 2: FAT32", or ""
}

func (r Reason) String() string {
	if r.Detail == "" {
		return string(r.Code)
	}
	return string(r.Code) + " (" + r.Detail + ")"
}

// A Decision is the method for one machine and every condition that does not
// hold. A machine backed up by child VM snapshot has no reasons, but may have notes.
type Decision struct {
	Method  Method
	Reasons []Reason
	Notes   []Reason // what does not bear on the method
}

func (d Decision) String() string {
	if len(d.Reasons) == 0 {
		return d.Method.String()
	}
	parts := make([]string, len(d.Reasons))
	for i, r := range d.Reasons {
		parts[i] = r.String()
	}
	return d.Method.String() + ": " + strings.Join(parts, ", ")
}

// Has tells whether the decision has the reason, or the note.
func (d Decision) Has(code ReasonCode) bool {
	for _, r := range slices.Concat(d.Reasons, d.Notes) {
		if r.Code == code {
			return true
		}
	}
	return false
}

// Facts is what a decision rests on. Guest is nil where the machine does not
// execute: then nobody answers for what is inside.
type Facts struct {
	State            State
	BackupOffered    bool     // the host offers the backup integration service
	SnapshotLocation string   // of the machine: `D:\Snapshots`
	DiskPaths        []string // of the VHD files: `D:\VMs\data.vhd`
	PassThrough      []string // names of disks that are not in the backup
	Initiators       []string // iSCSI targets of the guest, which are not either
	Folders          []string // in which the host has volumes mounted: `C:\ClusterStorage\Volume1`
	OfflineGroup     string   // the machine's cluster group if it is offline, and somebody tells
	Guest            *GuestFacts
}

// GuestFacts is what the guest and its disks tell.
type GuestFacts struct {
	System      string // operating system
	Supported   bool   // there is a backup integration service for it
	Installed   bool
	Running     bool
	Protocol    bool                  // it speaks the host's protocol
	Degraded    bool                  // it is older than the host's own
	NoHotBackup bool                  // it says that the system cannot be backed up while it runs
	Disks       []guest.Fact          // about the disks that the host can see
	Redirected  []guest.ShadowStorage // shadow copies of such disks that are kept on another volume
}

// Decide chooses the method from facts alone. All conditions are judged, not
// just up to the first that fails (R10).
func (p Profile) Decide(f Facts) Decision {
	d := Decision{Method: MethodSavedState}
	add := func(code ReasonCode, detail string) { d.Reasons = append(d.Reasons, Reason{code, detail}) }
	switch {
	case f.State == StateOff:
		d.Method = MethodOffline
		add(ReasonOff, "")
	case f.State == StateSaved:
		d.Method = MethodOffline
		add(ReasonSaved, "")
	case f.State == StatePaused:
		add(ReasonPaused, "")
	case f.State.Critical():
		if !p.Policy.SaveCritical {
			d.Method = MethodNone
		}
		add(ReasonCritical, f.State.String())
	case f.State != StateRunning:
		d.Method = MethodNone
		add(ReasonTransition, f.State.String())
	}
	f.judgeService(add)
	f.judgeLocation(add)
	f.judgeDisks(add)
	f.judgeStorage(add)
	if f.OfflineGroup != "" {
		add(ReasonClusterOffline, f.OfflineGroup)
	}
	f.note(func(code ReasonCode, detail string) { d.Notes = append(d.Notes, Reason{code, detail}) })
	if len(d.Reasons) == 0 {
		d.Method = MethodChildSnapshot
	}
	return d
}

func (f Facts) judgeService(add func(ReasonCode, string)) {
	if g := f.Guest; g != nil && !g.Supported {
		add(ReasonOSUnsupported, g.System)
	}
	if !f.BackupOffered {
		add(ReasonICDisabled, "")
	}
	g := f.Guest
	switch {
	case g == nil || !g.Supported:
	case !g.Installed:
		add(ReasonICNotInstalled, "")
	case !g.Running:
		add(ReasonICNotRunning, "")
	case !g.Protocol:
		add(ReasonICProtocol, "")
	case g.NoHotBackup:
		add(ReasonHotBackup, g.System)
	}
}

// judgeLocation reads R16 as: all VHD files and the snapshot location on one
// volume.
func (f Facts) judgeLocation(add func(ReasonCode, string)) {
	at := rootOfVolume(f.SnapshotLocation, f.Folders)
	for _, path := range f.DiskPaths {
		if on := rootOfVolume(path, f.Folders); on == "" || on != at {
			add(ReasonSnapshotLocation, fmt.Sprintf("%s, %s", f.SnapshotLocation, path))
			return
		}
	}
}

func (f Facts) judgeDisks(add func(ReasonCode, string)) {
	if f.Guest == nil {
		return
	}
	for _, x := range f.Guest.Disks {
		if x.Disqualifies() && x.Kind == guest.DynamicDisk {
			add(ReasonDynamicDisk, x.String())
		}
	}
	for _, x := range f.Guest.Disks {
		if x.Disqualifies() && x.Kind != guest.DynamicDisk {
			add(ReasonFileSystem, x.String())
		}
	}
}

// judgeStorage refuses a guest whose shadow copies would not be where the volumes
// are that they are copies of: each VHD is rolled back by itself.
func (f Facts) judgeStorage(add func(ReasonCode, string)) {
	if f.Guest == nil {
		return
	}
	for _, s := range f.Guest.Redirected {
		add(ReasonShadowStorage, s.String())
	}
}

// note tells what is worth knowing, whatever the method.
func (f Facts) note(add func(ReasonCode, string)) {
	if g := f.Guest; g != nil && g.Supported && g.Installed && g.Running && g.Protocol && g.Degraded {
		add(ReasonICDegraded, "")
	}
	for _, name := range f.PassThrough {
		add(ReasonPassThrough, name)
	}
	for _, name := range f.Initiators {
		add(ReasonISCSI, name)
	}
}
