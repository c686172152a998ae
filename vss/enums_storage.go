package vss

// An ObjectType names what an identifier stands for (VSS_OBJECT_TYPE).
type ObjectType int32

// The object types. ObjectNone asks for no particular one.
const (
	ObjectUnknown ObjectType = iota
	ObjectNone
	ObjectSnapshotSet
	ObjectSnapshot
	ObjectProvider
)

var objectTypes = newEnumeration(enumeration{prefix: "VSS_OBJECT_",
	words: []string{"UNKNOWN", "NONE", "SNAPSHOT_SET", "SNAPSHOT", "PROVIDER", "TYPE_COUNT"}})

func (t ObjectType) names() vocabulary { return objectTypes }

// String returns the Windows name, VSS_OBJECT_SNAPSHOT.
func (t ObjectType) String() string { return objectTypes.text(int64(t)) }

// A ProviderType is the kind of a provider (VSS_PROVIDER_TYPE).
type ProviderType int32

// The provider types.
const (
	ProviderUnknown ProviderType = iota
	ProviderSystem
	ProviderSoftware
	ProviderHardware
	ProviderFileShare
)

var providerTypes = newEnumeration(enumeration{prefix: "VSS_PROV_",
	words: []string{"UNKNOWN", "SYSTEM", "SOFTWARE", "HARDWARE", "FILESHARE"}})

func (t ProviderType) names() vocabulary { return providerTypes }

// String returns the Windows name, VSS_PROV_SYSTEM.
func (t ProviderType) String() string { return providerTypes.text(int64(t)) }

// SnapshotCompatibility names what a volume cannot do while it has shadow copies
// (VSS_SNAPSHOT_COMPATIBILITY).
type SnapshotCompatibility uint32

// The bits of SnapshotCompatibility.
const (
	DisableDefrag       SnapshotCompatibility = 0x1
	DisableContentIndex SnapshotCompatibility = 0x2
)

var snapshotCompatibilities = &bitSet{prefix: "VSS_SC_", bits: []bit{{0x1, "DISABLE_DEFRAG"}, {0x2, "DISABLE_CONTENTINDEX"}}}

func (c SnapshotCompatibility) names() vocabulary { return snapshotCompatibilities }

// String returns the Windows names of the bits.
func (c SnapshotCompatibility) String() string { return snapshotCompatibilities.text(int64(c)) }

// RecoveryOptions steer the resynchronization of disks (VSS_RECOVERY_OPTIONS).
type RecoveryOptions uint32

// The recovery options.
const (
	RecoveryRevertIdentityAll RecoveryOptions = 0x100
	RecoveryNoVolumeCheck     RecoveryOptions = 0x200
)

var recoveryOptions = &bitSet{prefix: "VSS_RECOVERY_", bits: []bit{{0x100, "REVERT_IDENTITY_ALL"}, {0x200, "NO_VOLUME_CHECK"}}}

func (o RecoveryOptions) names() vocabulary { return recoveryOptions }

// String returns the Windows names of the bits.
func (o RecoveryOptions) String() string { return recoveryOptions.text(int64(o)) }

// HardwareOptions steer what happens to the disks of a hardware provider
// (VSS_HARDWARE_OPTIONS): when a set is broken, and when a disk changes its state.
type HardwareOptions uint32

// The hardware options.
const (
	BreakMaskLUNs           HardwareOptions = 0x1
	BreakMakeReadWrite      HardwareOptions = 0x2
	BreakRevertIdentityAll  HardwareOptions = 0x4
	BreakRevertIdentityNone HardwareOptions = 0x8
	NotifyReadWrite         HardwareOptions = 0x100
	NotifyLUNPreRecovery    HardwareOptions = 0x200
	NotifyLUNPostRecovery   HardwareOptions = 0x400
	DoMaskLUNs              HardwareOptions = 0x800
)

var hardwareOptions = &bitSet{prefix: "VSS_", bits: []bit{
	{0x1, "BREAKEX_FLAG_MASK_LUNS"}, {0x2, "BREAKEX_FLAG_MAKE_READ_WRITE"},
	{0x4, "BREAKEX_FLAG_REVERT_IDENTITY_ALL"}, {0x8, "BREAKEX_FLAG_REVERT_IDENTITY_NONE"},
	{0x100, "ONLUNSTATECHANGE_NOTIFY_READ_WRITE"}, {0x200, "ONLUNSTATECHANGE_NOTIFY_LUN_PRE_RECOVERY"},
	{0x400, "ONLUNSTATECHANGE_NOTIFY_LUN_POST_RECOVERY"}, {0x800, "ONLUNSTATECHANGE_DO_MASK_LUNS"},
}}

func (o HardwareOptions) names() vocabulary { return hardwareOptions }

// String returns the Windows names of the bits.
func (o HardwareOptions) String() string { return hardwareOptions.text(int64(o)) }

// A ProtectionLevel tells what is given up first when a difference area fails
// (VSS_PROTECTION_LEVEL).
type ProtectionLevel int32

// The protection levels.
const (
	ProtectOriginalVolume ProtectionLevel = iota // the shadow copies go
	ProtectSnapshot                              // the volume goes offline
)

var protectionLevels = newEnumeration(enumeration{prefix: "VSS_PROTECTION_LEVEL_", words: []string{"ORIGINAL_VOLUME", "SNAPSHOT"}})

func (l ProtectionLevel) names() vocabulary { return protectionLevels }

// String returns the Windows name, VSS_PROTECTION_LEVEL_SNAPSHOT.
func (l ProtectionLevel) String() string { return protectionLevels.text(int64(l)) }

// A ProtectionFault is why a volume lost its shadow copies
// (VSS_PROTECTION_FAULT).
type ProtectionFault int32

// The protection faults.
const (
	FaultNone ProtectionFault = iota
	FaultDiffAreaMissing
	FaultIOFailureDuringOnline
	FaultMetadataCorruption
	FaultMemoryAllocationFailure
	FaultMappedMemoryFailure
	FaultCOWReadFailure
	FaultCOWWriteFailure
	FaultDiffAreaFull
	FaultGrowTooSlow
	FaultGrowFailed
	FaultDestroyAllSnapshots
	FaultFileSystemFailure
	FaultIOFailure
	FaultDiffAreaRemoved
	FaultExternalWriterToDiffArea
	FaultMountDuringClusterOffline
)

var protectionFaults = newEnumeration(enumeration{prefix: "VSS_PROTECTION_FAULT_", words: []string{
	"NONE", "DIFF_AREA_MISSING", "IO_FAILURE_DURING_ONLINE", "META_DATA_CORRUPTION", "MEMORY_ALLOCATION_FAILURE",
	"MAPPED_MEMORY_FAILURE", "COW_READ_FAILURE", "COW_WRITE_FAILURE", "DIFF_AREA_FULL", "GROW_TOO_SLOW",
	"GROW_FAILED", "DESTROY_ALL_SNAPSHOTS", "FILE_SYSTEM_FAILURE", "IO_FAILURE", "DIFF_AREA_REMOVED",
	"EXTERNAL_WRITER_TO_DIFF_AREA", "MOUNT_DURING_CLUSTER_OFFLINE",
}})

func (f ProtectionFault) names() vocabulary { return protectionFaults }

// String returns the Windows name, VSS_PROTECTION_FAULT_NONE.
func (f ProtectionFault) String() string { return protectionFaults.text(int64(f)) }
