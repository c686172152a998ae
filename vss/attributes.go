package vss

// SnapshotAttributes describe a shadow copy (VSS_VOLUME_SNAPSHOT_ATTRIBUTES).
type SnapshotAttributes uint32

// The attributes of a shadow copy. Those in [SettableAttributes] may be asked
// for by a requester beside a context.
const (
	AttrPersistent          SnapshotAttributes = 0x1       // survives a restart
	AttrNoAutoRecovery      SnapshotAttributes = 0x2       // read-only at once
	AttrClientAccessible    SnapshotAttributes = 0x4       // for Shadow Copies for Shared Folders; never exposed
	AttrNoAutoRelease       SnapshotAttributes = 0x8       // stays when the requester is gone
	AttrNoWriters           SnapshotAttributes = 0x10      // made without writers
	AttrTransportable       SnapshotAttributes = 0x20      // imported elsewhere, not surfaced here
	AttrNotSurfaced         SnapshotAttributes = 0x40      // not exposed or mounted
	AttrNotTransacted       SnapshotAttributes = 0x80      // transaction managers take no part
	AttrHardwareAssisted    SnapshotAttributes = 0x10000   // made by a hardware provider
	AttrDifferential        SnapshotAttributes = 0x20000   // copy-on-write; excludes plex
	AttrPlex                SnapshotAttributes = 0x40000   // a full copy or mirror
	AttrImported            SnapshotAttributes = 0x80000   // came by import
	AttrExposedLocally      SnapshotAttributes = 0x100000  // has a drive letter or mounted folder
	AttrExposedRemotely     SnapshotAttributes = 0x200000  // is shared
	AttrAutoRecover         SnapshotAttributes = 0x400000  // a component wants recovery in PostSnapshot
	AttrRollbackRecovery    SnapshotAttributes = 0x800000  // made to roll an application back, not as a backup
	AttrDelayedPostSnapshot SnapshotAttributes = 0x1000000 // reserved
	AttrTxFRecovery         SnapshotAttributes = 0x2000000 // transactions are rolled back while it is made
	AttrFileShare           SnapshotAttributes = 0x4000000 // of a remote share

	// SettableAttributes are those a requester may add to a context. Older
	// texts of "_VSS_VOLUME_SNAPSHOT_ATTRIBUTES" name fewer; all are accepted.
	SettableAttributes = AttrNoAutoRecovery | AttrTransportable | AttrNotTransacted | AttrDifferential |
		AttrPlex | AttrRollbackRecovery | AttrTxFRecovery

	// contextAttributes are those that the contexts consist of.
	contextAttributes = AttrPersistent | AttrClientAccessible | AttrNoAutoRelease | AttrNoWriters
)

var snapshotAttributes = &bitSet{prefix: "VSS_VOLSNAP_ATTR_", bits: []bit{
	{0x1, "PERSISTENT"}, {0x2, "NO_AUTORECOVERY"}, {0x4, "CLIENT_ACCESSIBLE"}, {0x8, "NO_AUTO_RELEASE"},
	{0x10, "NO_WRITERS"}, {0x20, "TRANSPORTABLE"}, {0x40, "NOT_SURFACED"}, {0x80, "NOT_TRANSACTED"},
	{0x10000, "HARDWARE_ASSISTED"}, {0x20000, "DIFFERENTIAL"}, {0x40000, "PLEX"}, {0x80000, "IMPORTED"},
	{0x100000, "EXPOSED_LOCALLY"}, {0x200000, "EXPOSED_REMOTELY"}, {0x400000, "AUTORECOVER"},
	{0x800000, "ROLLBACK_RECOVERY"}, {0x1000000, "DELAYED_POSTSNAPSHOT"}, {0x2000000, "TXF_RECOVERY"},
	{0x4000000, "FILE_SHARE"},
}}

func (a SnapshotAttributes) names() vocabulary { return snapshotAttributes }

// String returns the Windows names of the bits.
func (a SnapshotAttributes) String() string { return snapshotAttributes.text(int64(a)) }
