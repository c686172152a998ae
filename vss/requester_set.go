package vss

import (
	"context"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// StartSnapshotSet begins a shadow copy set and returns its identifier. One
// machine makes one set at a time: until DoSnapshotSet has ended, or the set is
// given up by AbortBackup or Release, another requester gets
// [ErrSnapshotSetInProgress] at once, and waits and tries again by itself.
func (b *BackupComponents) StartSnapshotSet(ctx context.Context) (guid.GUID, error) {
	const op = "StartSnapshotSet"
	err := b.call(ctx, op, func(context.Context) error {
		s := b.service
		if s.creating != nil {
			return fail(op, "", ErrSnapshotSetInProgress, "set %s is being made", guid.String(s.creating.setID))
		}
		s.creating = b
		b.setID = s.actor.NewID("snapshot set")
		b.doc.SnapshotSetID = b.setID
		return nil
	})
	if err != nil {
		return guid.GUID{}, err
	}
	return b.setID, nil
}

// unlock lets other requesters make sets.
func (b *BackupComponents) unlock() {
	if b.service.creating == b {
		b.service.creating = nil
	}
}

// AddToSnapshotSet adds a volume to the set and returns the identifier of its
// shadow copy, which the requester must remember. The volume is a root path, a
// mounted folder, \\?\Volume{GUID}\ or a share, with its backslash at the end. With the null GUID the service chooses a
// provider that takes the volume: hardware before software before the system's.
//
// It fails with [ErrInvalidArg] for a malformed name, [ErrObjectNotFound] for an
// unknown volume, [ErrObjectAlreadyExists] for one that is in the set,
// [ErrMaximumNumberOfVolumesReached] for the 65th,
// [ErrMaximumNumberOfSnapshotsReached], [ErrProviderNotRegistered],
// [ErrVolumeNotSupportedByProvider], [ErrVolumeNotSupported],
// [ErrNestedVolumeLimit], and with what the provider returned.
func (b *BackupComponents) AddToSnapshotSet(ctx context.Context, volume string, provider guid.GUID) (guid.GUID, error) {
	var id guid.GUID
	err := b.call(ctx, "AddToSnapshotSet", func(ctx context.Context) error {
		m, err := b.newMember(ctx, volume, provider)
		if err != nil {
			return err
		}
		id = m.id
		b.members = append(b.members, m)
		return nil
	}, sim.S("volume", volume))
	return id, err
}

func (b *BackupComponents) newMember(ctx context.Context, volume string, provider guid.GUID) (*member, error) {
	const op = "AddToSnapshotSet"
	v, err := b.service.namedVolume(op, volume)
	switch {
	case err != nil:
		return nil, err
	case b.member(v.ID()) != nil:
		return nil, fail(op, volume, ErrObjectAlreadyExists, "the volume is in the set")
	case len(b.members) >= MaxVolumesPerSet:
		return nil, fail(op, volume, ErrMaximumNumberOfVolumesReached, "the set has %d volumes", len(b.members))
	}
	if err := b.checkNesting(op, v); err != nil {
		return nil, err
	}
	p, err := b.service.choose(ctx, v, provider, b.context)
	if err != nil {
		return nil, err
	}
	m := &member{volume: v, provider: p, id: b.service.actor.NewID("snapshot")}
	req := PrepareRequest{Set: b.setID, Snapshot: m.id, Volume: v, Context: b.context}
	return m, b.service.callProvider(ctx, providerCall{p: p, point: PointProviderBeginPrepare, on: v.Name(),
		fn: func(ctx context.Context) error { return p.BeginPrepareSnapshot(ctx, req) }})
}

// choose finds the provider the requester named, or picks one.
func (s *Service) choose(ctx context.Context, v Volume, id guid.GUID, c SnapshotContext) (*provider, error) {
	const op = "AddToSnapshotSet"
	if id == (guid.GUID{}) {
		return s.pick(ctx, v, c)
	}
	p := s.providerByID(id)
	if p == nil {
		return nil, fail(op, v.Name(), ErrProviderNotRegistered, "no provider %s", guid.Braced(id))
	}
	ok, err := s.supports(ctx, p, v, c)
	if err == nil && !ok {
		err = fail(op, v.Name(), ErrVolumeNotSupportedByProvider, "%s refuses the volume in %v", p.Name, c)
	}
	return p, err
}

// namedVolume finds a volume by a name as requesters give it.
func (s *Service) namedVolume(op, name string) (Volume, error) {
	if v := s.lookupVolume(name); v != nil {
		return v, nil
	}
	if !wellFormedVolume(name) {
		return nil, fail(op, name, ErrInvalidArg, "the name is no root, mounted folder or share with a backslash at its end")
	}
	return nil, fail(op, name, ErrObjectNotFound, "no such volume")
}

// wellFormedVolume tells whether a name could be one of a volume: `C:\`,
// `C:\mount\`, `\\?\Volume{GUID}\` or `\\server\share\`.
func wellFormedVolume(name string) bool {
	body, ended := strings.CutSuffix(name, `\`)
	if !ended || strings.ContainsAny(strings.TrimPrefix(body, `\\?\`), `*?"<>|/`) {
		return false
	}
	if rest, ok := cutFold(body, `\\?\Volume{`); ok {
		id, closed := strings.CutSuffix(rest, "}")
		_, err := guid.Parse(id)
		return closed && err == nil
	}
	if rest, ok := strings.CutPrefix(body, `\\`); ok {
		server, share, two := strings.Cut(rest, `\`)
		return two && server != "" && share != ""
	}
	letter := len(body) >= 2 && body[1] == ':' && (body[0]|0x20) >= 'a' && (body[0]|0x20) <= 'z'
	return letter && (len(body) == 2 || body[2] == '\\')
}

func cutFold(s, prefix string) (string, bool) {
	rest := cutPrefixFold(s, prefix)
	return rest, len(rest) < len(s)
}

// checkNesting refuses a volume on a virtual disk within a virtual disk, and one
// together with the volume that holds its virtual disk.
func (b *BackupComponents) checkNesting(op string, v Volume) error {
	if outer, nested := outerVolume(v); nested {
		if b.member(outer) != nil {
			return fail(op, v.Name(), ErrNestedVolumeLimit, "the volume that holds its virtual disk is in the set")
		}
		for _, o := range b.service.volumes {
			if _, twice := outerVolume(o); twice && o.ID() == outer {
				return fail(op, v.Name(), ErrNestedVolumeLimit, "a virtual disk within a virtual disk")
			}
		}
	}
	for _, m := range b.members {
		if outer, nested := outerVolume(m.volume); nested && outer == v.ID() {
			return fail(op, v.Name(), ErrNestedVolumeLimit, "%s on a virtual disk of this volume is in the set", m.volume.Name())
		}
	}
	return nil
}

func outerVolume(v Volume) (guid.GUID, bool) {
	if n, ok := v.(NestedVolume); ok {
		return n.Below()
	}
	return guid.GUID{}, false
}

func (b *BackupComponents) member(volume guid.GUID) *member {
	for _, m := range b.members {
		if m.volume.ID() == volume {
			return m
		}
	}
	return nil
}

// IsVolumeSupported tells whether a provider, or with the null GUID any provider,
// makes shadow copies of a volume in the object's context. An unknown volume is
// [ErrObjectNotFound], a malformed name [ErrInvalidArg], an unknown provider
// [ErrProviderNotRegistered], and a volume that cannot be in the set because of
// virtual disks [ErrNestedVolumeLimit].
func (b *BackupComponents) IsVolumeSupported(ctx context.Context, volume string, provider guid.GUID) (bool, error) {
	const op = "IsVolumeSupported"
	supported := false
	err := b.call(ctx, op, func(ctx context.Context) error {
		v, err := b.service.namedVolume(op, volume)
		if err == nil {
			err = b.checkNesting(op, v)
		}
		if err != nil {
			return err
		}
		_, err = b.service.choose(ctx, v, provider, b.context)
		switch HRESULTOf(err) {
		case SOK:
			supported = true
		case ErrVolumeNotSupported, ErrVolumeNotSupportedByProvider:
			err = nil
		}
		return err
	}, sim.S("volume", volume))
	return supported, err
}

// PrepareForBackup tells the writers what is going to be backed up. From here on
// the components are settled, and in component mode only writers with a component
// take part. It succeeds even if a writer refuses; GatherWriterStatus tells.
func (b *BackupComponents) PrepareForBackup(ctx context.Context) error {
	return b.run(ctx, "PrepareForBackup", b.prepare)
}

// StartPrepareForBackup is PrepareForBackup without waiting.
func (b *BackupComponents) StartPrepareForBackup(ctx context.Context) (*Async, error) {
	return b.start(ctx, "PrepareForBackup", b.prepare)
}

func (b *BackupComponents) prepare(_, work context.Context) error {
	b.participants()
	b.prepared = true
	return b.service.round(work, EventPrepareBackup, b.sessions)
}
