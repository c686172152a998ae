package vss

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// SnapshotProperties describe a finished shadow copy (VSS_SNAPSHOT_PROP).
type SnapshotProperties struct {
	SnapshotID         guid.GUID
	SnapshotSetID      guid.GUID
	SnapshotsCount     int    // of the set when it was made
	DeviceObject       string // without a backslash at its end; see [Service.Open]
	OriginalVolumeName string // \\?\Volume{GUID}\
	OriginatingMachine string
	ServiceMachine     string
	ExposedName        string
	ExposedPath        string
	ProviderID         guid.GUID
	Attributes         SnapshotAttributes
	CreationTimestamp  Filetime
	Status             SnapshotState // always [SnapshotCreated]
}

// A snapshot is a finished shadow copy that the service knows.
type snapshot struct {
	SnapshotProperties
	volume   Volume // nil for an imported one
	provider *provider
	owner    *BackupComponents // nil for one that was there when the service started
}

// isOf tells whether c is a copy of the volume.
func (c *snapshot) isOf(v Volume) bool { return c.volume != nil && c.volume.ID() == v.ID() }

// on names the copy's volume, or where it was imported from.
func (c *snapshot) on() string {
	if c.volume == nil {
		return c.OriginalVolumeName
	}
	return c.volume.Name()
}

// Snapshots lists the shadow copies of the machine, oldest first.
func (s *Service) Snapshots() []SnapshotProperties {
	s.prune()
	var out []SnapshotProperties
	for _, c := range s.snapshots {
		out = append(out, c.SnapshotProperties)
	}
	return out
}

// adopt enters the copies that a volume brings with it.
func (s *Service) adopt(v Volume) {
	for _, id := range v.Shadows() {
		if s.snapshotByID(id) != nil {
			continue
		}
		s.snapshots = append(s.snapshots, &snapshot{
			volume: v, provider: s.providers[0],
			SnapshotProperties: SnapshotProperties{
				SnapshotID: id, SnapshotSetID: id, SnapshotsCount: 1, DeviceObject: s.nextDevice(),
				OriginalVolumeName: volumeGUIDPath(v), OriginatingMachine: s.config.Machine, ServiceMachine: s.config.Machine,
				ProviderID: SystemProviderID, Status: SnapshotCreated,
				Attributes: AttrPersistent | AttrNoAutoRelease | AttrDifferential | AttrNotSurfaced,
			},
		})
	}
}

// prune forgets copies of the system provider that their volume has dropped, as
// it does when it has no room for them.
func (s *Service) prune() {
	s.snapshots = slices.DeleteFunc(s.snapshots, func(c *snapshot) bool {
		gone := c.provider.Type == ProviderSystem && !slices.Contains(c.volume.Shadows(), c.SnapshotID)
		if gone {
			s.actor.Emit("vss/snapshot-lost", "", sim.S("snapshot", short(c.SnapshotID)), sim.S("volume", c.volume.Name()))
			s.logLoss(c)
		}
		return gone
	})
}

// logLoss notes in the System log that a volume dropped a copy.
func (s *Service) logLoss(c *snapshot) {
	e := LogEntry{Log: logNameOfTheDrivers, Source: logSourceVolSnap, ID: LogCopiesLost,
		Text: "shadow copies of volume " + c.volume.Name() + " were deleted because the shadow copy storage could not grow in time"}
	if d, ok := c.volume.(DiffAreaVolume); ok {
		if _, maximum := d.DiffArea(); maximum > 0 {
			e.ID, e.Text = LogCopiesOverLimit, "shadow copies of volume "+c.volume.Name()+" were aborted because the shadow copy storage could not grow due to a user imposed limit"
		}
	}
	s.Log(s.actor, e)
}

func (s *Service) snapshotByID(id guid.GUID) *snapshot {
	for _, c := range s.snapshots {
		if c.SnapshotID == id {
			return c
		}
	}
	return nil
}

// Open gives access to the files of a shadow copy by its device name, or the name
// it is exposed by, with or without a backslash at the end. Devices exist from PostSnapshot on. An unknown
// one is [ErrObjectNotFound].
func (s *Service) Open(device string) (fs.FS, error) {
	name := strings.TrimSuffix(device, `\`)
	for _, c := range s.snapshots {
		if strings.EqualFold(c.DeviceObject, name) || c.ExposedName != "" && strings.EqualFold(c.ExposedName, name) {
			return s.open(c.provider, c.SnapshotID, device)
		}
	}
	if b := s.creating; b != nil && b.posting {
		for _, m := range b.members {
			if strings.EqualFold(m.device, name) {
				return s.open(m.provider, m.id, device)
			}
		}
	}
	return nil, fail("Open", device, ErrObjectNotFound, "no such device")
}

func (s *Service) open(p *provider, id guid.GUID, device string) (fs.FS, error) {
	files, err := p.OpenSnapshot(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail("Open", device, ErrObjectNotFound, "%v", err)
	}
	if err != nil {
		return nil, &Error{Op: "Open", On: device, Err: err}
	}
	return files, nil
}

// GetSnapshotProperties describes a finished shadow copy, whoever made it. One
// that is unknown, or still being made, is [ErrObjectNotFound].
func (b *BackupComponents) GetSnapshotProperties(id guid.GUID) (SnapshotProperties, error) {
	const op = "GetSnapshotProperties"
	if err := b.read(op); err != nil {
		return SnapshotProperties{}, err
	}
	c := b.service.snapshotByID(id)
	if c == nil {
		return SnapshotProperties{}, fail(op, guid.Braced(id), ErrObjectNotFound, "no such shadow copy")
	}
	return c.SnapshotProperties, nil
}

// Query lists the finished shadow copies that belong to the object's context; all
// of them in [ContextAll]. An object that begins with a query serves for nothing
// but the list and what can be done with it.
func (b *BackupComponents) Query(ctx context.Context) ([]SnapshotProperties, error) {
	var out []SnapshotProperties
	err := b.call(ctx, "Query", func(context.Context) error {
		b.service.prune()
		for _, c := range b.service.snapshots {
			if b.sees(c) {
				out = append(out, c.SnapshotProperties)
			}
		}
		return nil
	})
	return out, err
}

// sees tells whether a copy was made in the object's context, added attributes
// aside.
func (b *BackupComponents) sees(c *snapshot) bool {
	if b.context == ContextAll {
		return true
	}
	return SnapshotContext(c.Attributes).Base() == b.context.Base()
}

// Deleted tells how far DeleteSnapshots came (IVssBackupComponents::DeleteSnapshots).
type Deleted struct {
	Count      int       // copies that are gone
	Nondeleted guid.GUID // the first that could not be deleted
}

// DeleteSnapshots deletes a shadow copy ([ObjectSnapshot]) or a set
// ([ObjectSnapshotSet]), one copy after the other; the first failure ends it. An
// unknown identifier is [ErrObjectNotFound], another type [ErrInvalidArg]. Force
// deletes copies that are in use; the model has none that are.
func (b *BackupComponents) DeleteSnapshots(ctx context.Context, id guid.GUID, t ObjectType, force bool) (Deleted, error) {
	const op = "DeleteSnapshots"
	var d Deleted
	err := b.call(ctx, op, func(ctx context.Context) error {
		victims, err := b.service.chosen(op, id, t)
		if err != nil {
			return err
		}
		for _, c := range victims {
			if err := b.service.deleteSnapshot(ctx, c); err != nil {
				d.Nondeleted = c.SnapshotID
				return err
			}
			d.Count++
		}
		return nil
	}, sim.S("id", short(id)))
	return d, err
}

// chosen finds the copies that an identifier stands for.
func (s *Service) chosen(op string, id guid.GUID, t ObjectType) ([]*snapshot, error) {
	var out []*snapshot
	for _, c := range s.snapshots {
		if t == ObjectSnapshot && c.SnapshotID == id || t == ObjectSnapshotSet && c.SnapshotSetID == id {
			out = append(out, c)
		}
	}
	switch {
	case t != ObjectSnapshot && t != ObjectSnapshotSet:
		return nil, fail(op, guid.Braced(id), ErrInvalidArg, "%v", t)
	case len(out) == 0:
		return nil, fail(op, guid.Braced(id), ErrObjectNotFound, "no such %v", t)
	}
	return out, nil
}

func (s *Service) deleteSnapshot(ctx context.Context, c *snapshot) error {
	err := s.callProvider(ctx, providerCall{p: c.provider, point: PointProviderDelete, on: c.on(),
		fn: func(ctx context.Context) error { return c.provider.DeleteSnapshot(ctx, c.SnapshotID) }})
	if err == nil || HRESULTOf(err) == ErrObjectNotFound {
		s.forgetSnapshot(c)
		return nil
	}
	return err
}

func (s *Service) forgetSnapshot(c *snapshot) {
	s.snapshots = slices.DeleteFunc(s.snapshots, func(o *snapshot) bool { return o == c })
}

// releaseCopies deletes the copies that do not outlive their requester. One that
// cannot be deleted stays in the list.
func (s *Service) releaseCopies(ctx context.Context, b *BackupComponents) error {
	var first error
	for _, c := range slices.Clone(s.snapshots) {
		if c.owner == b && SnapshotContext(c.Attributes).AutoRelease() {
			first = firstError(first, s.deleteSnapshot(ctx, c))
		}
	}
	return first
}
