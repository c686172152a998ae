package hyperv

import (
	"slices"
	"strconv"
	"strings"
)

// Document is the public page that the requirements are taken from.
const Document = "Backing Up and Restoring Virtual Machines (Microsoft, Win32 documentation)"

// A Requirement is one testable statement of [Document]. Events of the trace that
// a requirement demands cite it by its number: "R33".
type Requirement struct {
	Number    int
	Statement string // in our words
	Place     string // in the document
	Inferred  bool   // a converse or a reading that the document does not spell out
}

// ID is how the trace cites the requirement: "R33".
func (r Requirement) ID() string { return "R" + strconv.Itoa(r.Number) }

// Requirements lists R1 to R68 in order. The returned slice is the caller's own.
func Requirements() []Requirement { return slices.Clone(requirements[:]) }

// RequirementByID finds the requirement that a trace event cites.
func RequirementByID(id string) (Requirement, bool) {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "R"))
	if err != nil || n < 1 || n > len(requirements) || requirements[n-1].ID() != id {
		return Requirement{}, false
	}
	return requirements[n-1], true
}

var requirements = [...]Requirement{
	{1, "Backup and restore of VMs both run through VSS; there is no other path in the model.", "Introduction, sentence 1", false},
	{2, "A guest with the Backup (volume snapshot) integration service installed contains a VSS requester, and through it the guest's own VSS writers take part in the VM's backup.", "Introduction, sentence 2", false},
	{3, "A guest without that service has no requester, so its writers see no event of a host backup.", "Introduction, sentence 2", true},
	{4, "Each VM is backed up by exactly one of two mechanisms; the choice is made per VM, so one backup may mix both.", "Backing Up Virtual Machines, paragraph 1, sentence 1", false},
	{5, "\"Saved State\" is the default mechanism: any VM that fails one Child VM Snapshot condition uses it.", "Backing Up Virtual Machines, paragraph 1, sentence 2, and paragraph 2", false},
	{6, "Saved State: the VM enters the saved state while the host writer handles PrepareForSnapshot (not earlier, not in Freeze).", "Backing Up Virtual Machines, paragraph 1, sentence 2", false},
	{7, "Saved State: the volumes needed for that VM are snapshotted while it is saved.", "Backing Up Virtual Machines, paragraph 1, sentence 2", false},
	{8, "Saved State: the VM goes back to its previous state while the host writer handles PostSnapshot.", "Backing Up Virtual Machines, paragraph 1, sentence 2", false},
	{9, "Child VM Snapshot uses VSS inside the child VM.", "Backing Up Virtual Machines, paragraph 2, sentence 1", false},
	{10, "Child VM Snapshot is chosen only if all listed conditions hold together (logical AND).", "Backing Up Virtual Machines, paragraph 2, sentence 2", false},
	{11, "Condition: the Backup (volume snapshot) integration service is installed in the child.", "Backing Up Virtual Machines, list of conditions, item 1", false},
	{12, "Condition: that service is also running in the child (installed but stopped is not enough).", "Backing Up Virtual Machines, list of conditions, item 1", false},
	{13, "The service's display name is \"Hyper-V Volume Shadow Copy Requestor\".", "Backing Up Virtual Machines, list of conditions, item 1", false},
	{14, "A Windows 2000 guest can never satisfy R11: the service is not supported there, so it always uses Saved State when running. (Said by the earlier edition of the document alone.)", "Backing Up Virtual Machines, list of conditions, item 1", false},
	{15, "Condition: the child VM is in the running state (off, saved, paused, starting... do not qualify).", "Backing Up Virtual Machines, list of conditions, item 2", false},
	{16, "Condition: the VM's Snapshot File Location is on the same host volume as the VM's VHD files.", "Backing Up Virtual Machines, list of conditions, item 3", false},
	{17, "Condition: every volume in the child sits on a basic disk.", "Backing Up Virtual Machines, list of conditions, item 4", false},
	{18, "Condition: there are no dynamic disks in the child at all (even one that carries no used volume disqualifies).", "Backing Up Virtual Machines, list of conditions, item 4", false},
	{19, "Condition: the file system on every disk of the child must be snapshot-capable; NTFS is the document's example.", "Backing Up Virtual Machines, list of conditions, item 5", false},
	{20, "Apart from the points below, the backup follows the ordinary VSS backup sequence.", "Backing Up Virtual Machines, general process, sentence 1", false},
	{21, "The Hyper-V specific work happens when the host writer handles PrepareForSnapshot.", "Backing Up Virtual Machines, general process, sentence 2", false},
	{22, "The host writer belongs to the \"Hyper-V Virtual Machine Management\" service; if that service is not running there is no writer.", "Backing Up Virtual Machines, general process, sentence 2", true},
	{23, "Child VM Snapshot has additional processing (later rollback) that is not visible to the child VM.", "Backing Up Virtual Machines, general process, sentence 3", false},
	{24, "The unit of work is each VM listed in the writer metadata.", "Backing Up Virtual Machines, backup steps, step 1, sentence 1", false},
	{25, "In PrepareForSnapshot every saved-state VM of the set is put into the saved state.", "Backing Up Virtual Machines, backup steps, step 1, sentence 1", false},
	{26, "In PrepareForSnapshot, for every child-VM-snapshot VM, the guest requestor runs a complete VSS backup sequence inside the child.", "Backing Up Virtual Machines, backup steps, step 1, sentence 2", false},
	{27, "Every VSS event inside the child falls inside the host's PrepareForSnapshot processing: first guest event after PrepareForSnapshot starts, last one before the host writer returns from PrepareForSnapshot.", "Backing Up Virtual Machines, backup steps, step 1, sentence 3", false},
	{28, "The host writer returns from PrepareForSnapshot only after all VMs are either saved or snapshotted.", "Backing Up Virtual Machines, backup steps, step 2, sentence 1", false},
	{29, "The host writer does nothing in Freeze.", "Backing Up Virtual Machines, backup steps, step 2, sentence 2", false},
	{30, "The host writer does nothing in Thaw.", "Backing Up Virtual Machines, backup steps, step 2, sentence 2", false},
	{31, "In PostSnapshot the host writer brings back exactly those saved-state VMs that it itself put into the saved state; a VM that was already saved stays saved.", "Backing Up Virtual Machines, backup steps, step 3, sentence 1", false},
	{32, "The target state in PostSnapshot is the state the VM had before the backup started, not always \"running\".", "Backing Up Virtual Machines, backup steps, step 3, sentence 1", false},
	{33, "In PostSnapshot, for each child-VM-snapshot VM, the host image of its snapshotted VHD files (the copy in the host's shadow copy, not the live file) is rolled back to the guest snapshot made during PrepareForSnapshot.", "Backing Up Virtual Machines, backup steps, step 3, sentence 2", false},
	{34, "Only VHD files that had snapshots taken are rolled back.", "Backing Up Virtual Machines, backup steps, step 3, sentence 2", false},
	{35, "The rollback does not involve the child's VSS writers: no guest event happens in PostSnapshot.", "Backing Up Virtual Machines, backup steps, step 3, sentence 3", false},
	{36, "Therefore the snapshots must be auto-recoverable: the attribute VSS_VOLSNAP_ATTR_NO_AUTORECOVERY must be absent from the context.", "Backing Up Virtual Machines, backup steps, step 3, sentences 3 and 4", false},
	{37, "Partial backups are not supported.", "Backing Up Virtual Machines, partial backups, sentence 1", false},
	{38, "If one VM cannot create its snapshot, no VM of that backup is backed up.", "Backing Up Virtual Machines, partial backups, sentence 2", false},
	{39, "Pass-through disks are not visible to the host OS and are not part of the writer's backup.", "Backing Up Virtual Machines, note on disks, sentence 1", false},
	{40, "iSCSI disks (initiator in the guest) are not visible to the host OS and are not part of the writer's backup.", "Backing Up Virtual Machines, note on disks, sentence 1", false},
	{41, "Such volumes can only be backed up from wholly inside the VM.", "Backing Up Virtual Machines, note on disks, sentence 2", false},
	{42, "Restore is performed by the host OS alone.", "Restoring Virtual Machines, paragraph 1", false},
	{43, "The VSS writers of child VMs are not involved in a restore (no guest VSS event).", "Restoring Virtual Machines, paragraph 1", false},
	{44, "In PreRestore the host writer turns off every VM that is about to be restored.", "Restoring Virtual Machines, step 1", false},
	{45, "In PreRestore it also deletes every such VM (registration removed).", "Restoring Virtual Machines, step 1", false},
	{46, "VMs not about to be restored are left alone.", "Restoring Virtual Machines, step 1", true},
	{47, "Files are restored only after all writers (not just this one) have handled PreRestore.", "Restoring Virtual Machines, step 2", false},
	{48, "In PostRestore the host writer asks GetFileRestoreStatus.", "Restoring Virtual Machines, step 3, sentence 1", false},
	{49, "Any result other than VSS_RS_ALL makes the writer call SetWriterFailure.", "Restoring Virtual Machines, step 3, sentence 2", false},
	{50, "In the same case OnPostRestore returns FALSE.", "Restoring Virtual Machines, step 3, sentence 2", false},
	{51, "Every restored VM is registered with the Hyper-V management service.", "Restoring Virtual Machines, step 4, sentence 1", false},
	{52, "A VM restored to a nondefault location gets a symbolic link in the default location that points to the real location.", "Restoring Virtual Machines, step 4, sentence 2", false},
	{53, "A VM restored to the default location gets no such link.", "Restoring Virtual Machines, step 4, sentence 2", true},
	{54, "For every restored VHD its location is compared with the one recorded for the VM.", "Restoring Virtual Machines, step 5, sentence 1", false},
	{55, "If they differ, the VM configuration is updated to the actual location.", "Restoring Virtual Machines, step 5, sentence 2", false},
	{56, "The network configuration is updated during restore.", "Restoring Virtual Machines, step 6, sentence 1", false},
	{57, "For each virtual switch used at backup time that still exists, a new port is created and connected to the VM.", "Restoring Virtual Machines, step 6, sentence 2", false},
	{58, "A switch that no longer exists gets no port; that adapter ends up unconnected and the restore itself goes on.", "Restoring Virtual Machines, step 6, sentence 2", true},
	{59, "The host writer never takes cluster membership of a VM into account.", "Failover clustering, sentence 1", false},
	{60, "Saved-state backups put a clustered VM into the saved state behind the cluster's back.", "Failover clustering, sentence 2", false},
	{61, "All restores save or delete a clustered VM behind the cluster's back.", "Failover clustering, sentence 2", false},
	{62, "The clustering service sees either as a failure.", "Failover clustering, sentence 3", false},
	{63, "That failure makes the applications on the node fail over to other nodes.", "Failover clustering, sentence 3", false},
	{64, "Remedy for saved-state backups: the VM's state has to be saved through the clustering service.", "Failover clustering, sentence 4", false},
	{65, "Remedy for restores: the VM's resources have to be taken offline first.", "Failover clustering, sentence 5", false},
	{66, "Child-VM-snapshot backups change no VM state that the cluster can see, so they need no remedy.", "Failover clustering, sentence 2", true},
	{67, "Writer name: \"Microsoft Hyper-V VSS Writer\".", "Writer details", false},
	{68, "Writer class ID: 66841cd4-6ded-4f4b-8f17-fd23f8ddc3de.", "Writer details", false},
}
