package vss

import (
	"context"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// describe enters what another machine needs for an import into the document of a
// transportable set. Its copies are not to be seen on this machine.
func (b *BackupComponents) describe(work context.Context) error {
	if b.context.Attributes()&AttrTransportable == 0 {
		return nil
	}
	for _, m := range b.members {
		t, ok := m.provider.Provider.(Transporter)
		if !ok {
			return fail("DoSnapshotSet", m.volume.Name(), ErrVolumeNotSupported, "%s makes no transportable copies", m.provider.Name)
		}
		rec := SnapshotRecord{
			ID: m.id, ProviderID: m.provider.ID, Volume: volumeGUIDPath(m.volume),
			Machine: b.service.config.Machine, Attributes: b.attributesOf(m),
		}
		err := b.service.callProvider(work, providerCall{p: m.provider, point: PointProviderDescribe, on: m.volume.Name(),
			fn: func(ctx context.Context) (err error) {
				rec.LUNInfo, err = t.DescribeSnapshot(ctx, m.id)
				return err
			}})
		if err != nil {
			return err
		}
		b.doc.Snapshots = append(b.doc.Snapshots, rec)
	}
	return nil
}

// ImportSnapshots makes the copies of a transportable set available on this
// machine: the object was given the document that another machine saved. None
// imported is [ErrNoSnapshotsImported], only some [ErrSomeSnapshotsNotImported];
// a missing provider is [ErrProviderNotRegistered]. A document without
// transportable copies makes the call [ErrNonTransportableBCD].
func (b *BackupComponents) ImportSnapshots(ctx context.Context) error {
	return b.run(ctx, "ImportSnapshots", b.importAll)
}

// StartImportSnapshots is ImportSnapshots without waiting.
func (b *BackupComponents) StartImportSnapshots(ctx context.Context) (*Async, error) {
	return b.start(ctx, "ImportSnapshots", b.importAll)
}

func (b *BackupComponents) importAll(_, work context.Context) error {
	const op = "ImportSnapshots"
	if len(b.doc.Snapshots) == 0 {
		return fail(op, "", ErrNonTransportableBCD, "the document holds no transportable copies")
	}
	var first error
	done := 0
	for i := range b.doc.Snapshots {
		if err := b.importOne(work, &b.doc.Snapshots[i]); err != nil {
			first = firstError(first, err)
			continue
		}
		done++
	}
	switch {
	case work.Err() != nil:
		return work.Err()
	case HRESULTOf(first) == ErrProviderNotRegistered:
		return first
	case done == 0:
		return fail(op, "", ErrNoSnapshotsImported, "%v", first)
	case first != nil:
		return fail(op, "", ErrSomeSnapshotsNotImported, "%d of %d: %v", done, len(b.doc.Snapshots), first)
	}
	return nil
}

func (b *BackupComponents) importOne(work context.Context, r *SnapshotRecord) error {
	const op = "ImportSnapshots"
	s := b.service
	p := s.providerByID(r.ProviderID)
	if p == nil {
		return fail(op, r.Volume, ErrProviderNotRegistered, "no provider %s", guid.Braced(r.ProviderID))
	}
	t, ok := p.Provider.(Transporter)
	if !ok {
		return fail(op, p.Name, ErrProviderVeto, "it does not import")
	}
	if s.snapshotByID(r.ID) != nil {
		return fail(op, guid.Braced(r.ID), ErrObjectAlreadyExists, "the copy is here already")
	}
	err := s.callProvider(work, providerCall{p: p, point: PointProviderImport, on: r.Volume,
		fn: func(ctx context.Context) error { return t.ImportSnapshot(ctx, *r) }})
	if err != nil {
		return err
	}
	s.snapshots = append(s.snapshots, &snapshot{
		provider: p, owner: b,
		SnapshotProperties: SnapshotProperties{
			SnapshotID: r.ID, SnapshotSetID: b.doc.SnapshotSetID, SnapshotsCount: len(b.doc.Snapshots),
			DeviceObject: s.nextDevice(), OriginalVolumeName: r.Volume, OriginatingMachine: r.Machine, ServiceMachine: s.config.Machine,
			ProviderID: p.ID, Attributes: r.Attributes | AttrImported,
			CreationTimestamp: FiletimeOf(s.actor.World().Date()), Status: SnapshotCreated,
		},
	})
	return nil
}

// AddSnapshotToRecoverySet says that a transportable copy is to be written back
// over a volume; the null name stands for the one it was taken of. A copy that
// the document does not hold is [ErrSnapshotNotInSet], a document without any
// [ErrNonTransportableBCD], an unknown volume [ErrObjectNotFound], and a provider
// that cannot write copies back [ErrLegacyProvider].
func (b *BackupComponents) AddSnapshotToRecoverySet(ctx context.Context, id guid.GUID, volume string) error {
	const op = "AddSnapshotToRecoverySet"
	return b.call(ctx, op, func(context.Context) error {
		if len(b.doc.Snapshots) == 0 {
			return fail(op, "", ErrNonTransportableBCD, "the document holds no transportable copies")
		}
		for i := range b.doc.Snapshots {
			if b.doc.Snapshots[i].ID == id {
				return b.addRecovery(op, &b.doc.Snapshots[i], volume)
			}
		}
		return fail(op, guid.Braced(id), ErrSnapshotNotInSet, "not in the document")
	}, sim.S("snapshot", short(id)), sim.S("volume", volume))
}

func (b *BackupComponents) addRecovery(op string, r *SnapshotRecord, volume string) error {
	if volume == "" {
		volume = r.Volume
	}
	v := b.service.lookupVolume(volume)
	if v == nil {
		return fail(op, volume, ErrObjectNotFound, "no such volume")
	}
	p := b.service.providerByID(r.ProviderID)
	if p == nil {
		return fail(op, guid.Braced(r.ProviderID), ErrProviderNotRegistered, "no such provider")
	}
	if _, ok := p.Provider.(Resyncer); !ok {
		return fail(op, p.Name, ErrLegacyProvider, "it cannot write copies back")
	}
	b.recovery = append(b.recovery, recovery{p, r.ID, v})
	return nil
}

// A recovery is a copy that is to be written over a volume.
type recovery struct {
	provider *provider
	snapshot guid.GUID
	volume   Volume
}

// RecoverSet writes the copies of the recovery set over their volumes. While
// another one does so it is [ErrResyncInProgress]; an empty set is
// [ErrObjectNotFound]. A disk that holds a volume which is not in the set is
// [ErrUnselectedVolume], unless [RecoveryNoVolumeCheck] is given.
func (b *BackupComponents) RecoverSet(ctx context.Context, o RecoveryOptions) error {
	return b.run(ctx, "RecoverSet", func(_, work context.Context) error { return b.resync(work, o) })
}

// StartRecoverSet is RecoverSet without waiting.
func (b *BackupComponents) StartRecoverSet(ctx context.Context, o RecoveryOptions) (*Async, error) {
	return b.start(ctx, "RecoverSet", func(_, work context.Context) error { return b.resync(work, o) })
}

func (b *BackupComponents) resync(work context.Context, o RecoveryOptions) error {
	const op = "RecoverSet"
	s := b.service
	if s.resyncing {
		return fail(op, "", ErrResyncInProgress, "another requester writes copies back")
	}
	if len(b.recovery) == 0 {
		return fail(op, "", ErrObjectNotFound, "no copy was chosen")
	}
	if o&RecoveryNoVolumeCheck == 0 {
		if v := b.unselected(); v != nil {
			return fail(op, v.Name(), ErrUnselectedVolume, "the volume lies on a disk that is written over")
		}
	}
	s.resyncing = true
	defer func() { s.resyncing = false }()
	for _, r := range b.recovery {
		h := r.provider.Provider.(Resyncer)
		err := s.callProvider(work, providerCall{p: r.provider, point: PointProviderResync, on: r.volume.Name(),
			fn: func(ctx context.Context) error {
				return h.ResyncSnapshot(ctx, ResyncRequest{Snapshot: r.snapshot, Destination: r.volume, Options: o})
			}})
		if err != nil {
			return err
		}
	}
	return nil
}

// unselected finds a volume that would be lost with a disk.
func (b *BackupComponents) unselected() Volume {
	chosen := func(v Volume) bool {
		return slices.ContainsFunc(b.recovery, func(r recovery) bool { return r.volume.ID() == v.ID() })
	}
	for _, r := range b.recovery {
		target, ok := r.volume.(DiskVolume)
		if !ok {
			continue
		}
		for _, v := range b.service.volumes {
			if d, ok := v.(DiskVolume); ok && d.Disk() == target.Disk() && !chosen(v) {
				return v
			}
		}
	}
	return nil
}
