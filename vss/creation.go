package vss

import (
	"context"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// DoSnapshotSet makes the shadow copies: it readies providers and writers,
// freezes the writers, holds the writes of all volumes while the providers take
// their copies, lets everything go on and gives the writers access to the copies.
//
// That it ends without an error does not mean that the writers succeeded: that is
// in their status. It ends with a provider's code, [ErrFlushWritesTimeout],
// [ErrHoldWritesTimeout], or under [ServiceConfig.VetoFailsSet] a writer's code;
// then there are no copies, the providers have taken the set back, the writers
// were sent Abort, and only AbortBackup and Release are in order.
func (b *BackupComponents) DoSnapshotSet(ctx context.Context) error {
	return b.run(ctx, "DoSnapshotSet", b.doSnapshotSet)
}

// StartDoSnapshotSet is DoSnapshotSet without waiting. Cancelling it is a failure
// of the set.
func (b *BackupComponents) StartDoSnapshotSet(ctx context.Context) (*Async, error) {
	return b.start(ctx, "DoSnapshotSet", b.doSnapshotSet)
}

func (b *BackupComponents) doSnapshotSet(base, work context.Context) error {
	defer b.unlock()
	err := b.create(base, work)
	if err == nil {
		err = work.Err()
	}
	if err != nil {
		b.giveUp(base)
		return atSet(err)
	}
	b.finish()
	return nil
}

// atSet makes an error one of DoSnapshotSet.
func atSet(err error) error {
	if e, ok := err.(*Error); ok && e.Op != "DoSnapshotSet" {
		return &Error{Op: "DoSnapshotSet", On: e.On, State: e.State, Err: e.Err}
	}
	return err
}

// create takes the steps of a set in their order ("Overview of Processing a
// Backup Under VSS", "Shadow Copy Creation for Providers").
func (b *BackupComponents) create(base, work context.Context) error {
	err := b.eachProvider(work, PointProviderEndPrepare, func(ctx context.Context, p *provider) error {
		return p.EndPrepareSnapshots(ctx, b.setID)
	})
	if err != nil {
		return err
	}
	b.told = true
	if err := b.writerRound(work, EventPrepareSnapshot); err != nil {
		return err
	}
	if err := b.frozen(work); err != nil {
		return err
	}
	err = b.eachProvider(work, PointProviderPreFinalCommit, func(ctx context.Context, p *provider) error {
		return p.PreFinalCommitSnapshots(ctx, b.setID)
	})
	if err != nil {
		return err
	}
	if err := b.recoverCopies(work); err != nil {
		return err
	}
	if err := b.postSnapshot(work); err != nil {
		return err
	}
	b.finalizing = true
	err = b.eachProvider(work, PointProviderPostFinalCommit, func(ctx context.Context, p *provider) error {
		return p.PostFinalCommitSnapshots(ctx, b.setID)
	})
	if err != nil {
		return err
	}
	if err := b.describe(work); err != nil {
		return err
	}
	return b.awaitAborts(work)
}

// frozen is what happens from Freeze to Thaw, while each writer's window runs.
func (b *BackupComponents) frozen(work context.Context) error {
	watch := startWork(b.service.actor, "freeze windows", func(ctx context.Context) error {
		return b.service.watchWindows(ctx, b)
	})
	defer watch.leave()
	if err := b.freeze(work); err != nil {
		return err
	}
	if err := b.freezeTransactions(work); err != nil {
		return err
	}
	err := b.eachProvider(work, PointProviderPreCommit, func(ctx context.Context, p *provider) error {
		return p.PreCommitSnapshots(ctx, b.setID)
	})
	if err != nil {
		return err
	}
	if err := b.commit(work); err != nil {
		return err
	}
	err = b.eachProvider(work, PointProviderPostCommit, func(ctx context.Context, p *provider) error {
		return p.PostCommitSnapshots(ctx, b.setID)
	})
	if err != nil {
		return err
	}
	return b.thaw(work)
}

// thaw lets transactions and writers go on, these in the opposite order of
// Freeze.
func (b *BackupComponents) thaw(work context.Context) error {
	if err := b.thawTransactions(work); err != nil {
		return err
	}
	thawing := slices.Clone(b.sessions)
	slices.Reverse(thawing)
	slices.SortStableFunc(thawing, func(x, y *session) int { return freezeOrder(y) - freezeOrder(x) })
	if err := b.service.round(work, EventThaw, thawing); err != nil {
		return err
	}
	return b.veto()
}

// freezeOrder is the turn of a writer's level in Freeze.
func freezeOrder(x *session) int { return slices.Index(freezeLevels, x.sub.config.Level) }

func (b *BackupComponents) freeze(work context.Context) error {
	if err := b.service.freeze(work, b.sessions); err != nil {
		return err
	}
	return b.veto()
}

// writerRound sends an event to all writers and looks for vetoes.
func (b *BackupComponents) writerRound(work context.Context, e Event) error {
	if err := b.service.round(work, e, b.sessions); err != nil {
		return err
	}
	return b.veto()
}

// veto is, in the strict reading, the first failure of a writer.
func (b *BackupComponents) veto() error {
	if !b.service.config.VetoFailsSet {
		return nil
	}
	for _, x := range b.sessions {
		if st := x.status(); x.takes && x.joined && st.Code.Failed() {
			return &Error{Op: "DoSnapshotSet", On: st.Name, State: st.State, Err: st.Code}
		}
	}
	return nil
}

// postSnapshot gives the writers access to the copies. Their devices have names
// from here on.
func (b *BackupComponents) postSnapshot(work context.Context) error {
	for _, m := range b.members {
		m.device = b.service.nextDevice()
	}
	b.posting = true
	return b.writerRound(work, EventPostSnapshot)
}

// recoverCopies lets the file systems of the copies recover, as the system does
// when it mounts them for the writers: transactions that were open are rolled
// back. That a failure shows as the result of DoSnapshotSet is assumed; the
// documentation only has its code.
func (b *BackupComponents) recoverCopies(work context.Context) error {
	if b.context.Attributes()&AttrNoAutoRecovery != 0 {
		return nil
	}
	s := b.service
	for _, m := range b.members {
		err := sim.AtOn(work, PointVolumeRecover, s.onVolume(m.volume))
		if v, ok := m.volume.(RecoveringVolume); ok && err == nil && m.provider.Type == ProviderSystem {
			err = sim.Protect(work, func() error { return v.RecoverShadow(work, m.id) })
		}
		switch {
		case work.Err() != nil:
			return work.Err()
		case err != nil:
			s.Log(s.actor, LogEntry{ID: LogVolumeError, Text: "unexpected error recovering the shadow copy of volume " + m.volume.Name() + ": " + codeName(HRESULTOf(err))})
			return fail("DoSnapshotSet", m.volume.Name(), ErrAutoRecoveryFailed, "%v", err)
		}
	}
	return nil
}

// awaitAborts waits for the Aborts that run beside the set.
func (b *BackupComponents) awaitAborts(ctx context.Context) error {
	for _, d := range b.aborting {
		if err := b.service.waitFor(ctx, d); err != nil {
			return err
		}
	}
	b.aborting = nil
	return nil
}

// giveUp undoes a set that failed: the providers take it back, and the writers
// that have not had PostSnapshot are sent Abort. A set that failed before the
// writers heard of it is no matter of theirs.
func (b *BackupComponents) giveUp(base context.Context) {
	_ = b.releaseTransactions(base)
	_ = b.eachProvider(base, PointProviderAbort, func(ctx context.Context, p *provider) error {
		return p.AbortSnapshots(ctx, b.setID)
	})
	if b.finalizing {
		b.deleteFinished(base)
	}
	if b.told {
		_ = b.service.round(base, EventAbort, b.sessions)
	}
	_ = b.awaitAborts(base)
	b.service.actor.Emit("vss/set-failed", "", sim.S("set", short(b.setID)))
	b.members = nil
}

// deleteFinished deletes the copies of providers that had finished with the set:
// these ignore AbortSnapshots.
func (b *BackupComponents) deleteFinished(base context.Context) {
	for _, m := range b.members {
		_ = b.service.deleteSnapshot(base, &snapshot{
			volume: m.volume, provider: m.provider, SnapshotProperties: SnapshotProperties{SnapshotID: m.id},
		})
	}
}

// finish enters the copies into the list.
func (b *BackupComponents) finish() {
	s := b.service
	b.created = true
	for _, m := range b.members {
		if b.context.Attributes()&AttrTransportable != 0 {
			continue // another machine imports it
		}
		s.snapshots = append(s.snapshots, &snapshot{
			volume: m.volume, provider: m.provider, owner: b,
			SnapshotProperties: SnapshotProperties{
				SnapshotID: m.id, SnapshotSetID: b.setID, SnapshotsCount: len(b.members),
				DeviceObject: m.device, OriginalVolumeName: volumeGUIDPath(m.volume),
				OriginatingMachine: s.config.Machine, ServiceMachine: s.config.Machine,
				ProviderID: m.provider.ID, Attributes: b.attributesOf(m),
				CreationTimestamp: FiletimeOf(s.actor.World().Date()), Status: SnapshotCreated,
			},
		})
	}
	s.actor.Emit("vss/set-created", "", sim.S("set", short(b.setID)), sim.N("snapshots", len(b.members)))
}

// attributesOf are the attributes a finished copy has.
func (b *BackupComponents) attributesOf(m *member) SnapshotAttributes {
	a := b.context.Attributes() | AttrNotSurfaced
	switch m.provider.Type {
	case ProviderHardware:
		a |= AttrHardwareAssisted
	case ProviderSystem:
		a |= AttrDifferential
	}
	if b.needsRecovery() {
		a |= AttrAutoRecover
	}
	return a
}

// effectiveContext is the context as writers see it: in PostSnapshot it tells
// whether a component asked for recovery.
func (b *BackupComponents) effectiveContext() SnapshotContext {
	if b.posting && b.needsRecovery() {
		return b.context.With(AttrAutoRecover)
	}
	return b.context
}

// needsRecovery tells whether a chosen component wants to write to the copies.
func (b *BackupComponents) needsRecovery() bool {
	if b.context.Attributes()&AttrNoAutoRecovery != 0 {
		return false
	}
	for _, x := range b.sessions {
		if !x.takes {
			continue
		}
		for i := range x.metadata.Components {
			c := &x.metadata.Components[i]
			if c.Flags.NeedsRecovery(b.context) && (!b.doc.SelectComponents || x.included(c.ComponentKey)) {
				return true
			}
		}
	}
	return false
}

// included tells whether a component is in the backup, by itself or with a
// component above it.
func (x *session) included(key ComponentKey) bool {
	return slices.ContainsFunc(x.recordOf().Components, func(r *ComponentRecord) bool {
		return key.Same(r.ComponentKey) || key.IsDescendantOf(r.ComponentKey)
	})
}

// setOf is the null GUID where the operation made no copies.
func (b *BackupComponents) setOf() guid.GUID {
	if b.created {
		return b.setID
	}
	return guid.GUID{}
}
