package vss

import "strings"

// A SnapshotContext says what kind of shadow copies an operation makes or sees
// (VSS_SNAPSHOT_CONTEXT): whether they survive a restart, whether they go when
// the requester does, and whether writers take part. A requester may add
// attributes with [SnapshotContext.With].
type SnapshotContext uint32

// The contexts. ContextAll is for queries, deletion, break and expose; nothing
// can be created in it.
const (
	ContextBackup                  SnapshotContext = 0x00 // the default
	ContextFileShareBackup         SnapshotContext = 0x10
	ContextNASRollback             SnapshotContext = 0x19
	ContextAppRollback             SnapshotContext = 0x09
	ContextClientAccessible        SnapshotContext = 0x1D
	ContextClientAccessibleWriters SnapshotContext = 0x0D
	ContextAll                     SnapshotContext = 0xFFFFFFFF
)

// snapshotContexts are the contexts one can create in.
var snapshotContexts = &bitSet{prefix: "VSS_CTX_", none: "BACKUP", bits: []bit{
	{0x10, "FILE_SHARE_BACKUP"}, {0x19, "NAS_ROLLBACK"}, {0x09, "APP_ROLLBACK"},
	{0x1D, "CLIENT_ACCESSIBLE"}, {0x0D, "CLIENT_ACCESSIBLE_WRITERS"}, {0xFFFFFFFF, "ALL"},
}}

// contextNames prints a context as its base and the attributes added to it.
type contextNames struct{}

func (contextNames) text(n int64) string {
	c := SnapshotContext(n)
	name, ok := c.baseName()
	if !ok {
		return c.Attributes().String()
	}
	if extra := c.Attributes() &^ contextAttributes; extra != 0 && c != ContextAll {
		return name + "|" + extra.String()
	}
	return name
}

func (contextNames) parse(s string) (int64, bool) {
	var sum int64
	for part := range strings.SplitSeq(s, "|") {
		part = strings.TrimSpace(part)
		n, ok := snapshotContexts.parse(part)
		if !ok {
			n, ok = snapshotAttributes.parse(part)
		}
		if !ok {
			return 0, false
		}
		sum |= n
	}
	return sum, true
}

func (c SnapshotContext) names() vocabulary { return contextNames{} }

// String returns the Windows name and those of added attributes:
// VSS_CTX_BACKUP|VSS_VOLSNAP_ATTR_TRANSPORTABLE.
func (c SnapshotContext) String() string { return contextNames{}.text(int64(c)) }

// baseName returns the name of the context without added attributes, false if
// there is none.
func (c SnapshotContext) baseName() (string, bool) {
	base := c.Base()
	if base == ContextBackup {
		return snapshotContexts.prefix + snapshotContexts.none, true
	}
	for _, b := range snapshotContexts.bits {
		if SnapshotContext(b.mask) == base {
			return snapshotContexts.prefix + b.word, true
		}
	}
	return "", false
}

// Base returns the context without the attributes added to it.
func (c SnapshotContext) Base() SnapshotContext {
	if c == ContextAll {
		return c
	}
	return c & SnapshotContext(contextAttributes)
}

// With returns c with attributes added.
func (c SnapshotContext) With(a SnapshotAttributes) SnapshotContext { return c | SnapshotContext(a) }

// Attributes returns all attributes that shadow copies made in c have from the
// start.
func (c SnapshotContext) Attributes() SnapshotAttributes { return SnapshotAttributes(c) }

// Persistent tells whether shadow copies made in c survive a restart.
func (c SnapshotContext) Persistent() bool { return c.Attributes()&AttrPersistent != 0 }

// AutoRelease tells whether they are deleted when the requester is done.
func (c SnapshotContext) AutoRelease() bool { return c.Attributes()&AttrNoAutoRelease == 0 }

// Writers tells whether writers take part in making them.
func (c SnapshotContext) Writers() bool { return c.Attributes()&AttrNoWriters == 0 }

// Check returns an [ErrInvalidArg] that names the rule which c breaks, or nil
// for a context that a requester may set ("IVssBackupComponents::SetContext").
// That automatic recovery cannot be both forbidden and asked for is documented
// for a tool; that the code is this one is assumed.
func (c SnapshotContext) Check() error {
	if c == ContextAll {
		return nil
	}
	extra := c.Attributes() &^ contextAttributes
	recovery := AttrRollbackRecovery | AttrTxFRecovery
	problem := ""
	_, known := c.baseName()
	switch {
	case !known:
		problem = "no such context"
	case extra&^SettableAttributes != 0:
		problem = "a requester may not set " + (extra &^ SettableAttributes).String()
	case extra != 0 && c.Attributes()&AttrClientAccessible != 0:
		problem = "a client-accessible context takes no attributes"
	case extra&AttrDifferential != 0 && extra&AttrPlex != 0:
		problem = "differential and plex exclude each other"
	case extra&AttrNoAutoRecovery != 0 && extra&recovery != 0:
		problem = "recovery is both forbidden and asked for"
	default:
		return nil
	}
	return fail("SetContext", c.String(), ErrInvalidArg, "%s", problem)
}
