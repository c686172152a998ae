package vss

import (
	"context"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// An Exposure says under which name a shadow copy is to be seen
// (IVssBackupComponents::ExposeSnapshot).
type Exposure struct {
	// Remote makes it a share; otherwise it is a drive letter or an empty folder.
	Remote bool
	// Name is the drive letter with its colon, the folder, or the share.
	Name string
	// Path is the part of the copy that a share shows; "" is its root.
	Path string
}

// wellFormed tells whether the name could be one of its kind.
func (e Exposure) wellFormed() bool {
	if e.Remote {
		return e.Name != "" && !strings.ContainsAny(e.Name, `\/:*?"<>|`)
	}
	return e.Path == "" && !strings.HasPrefix(e.Name, `\`) && wellFormedVolume(strings.TrimSuffix(e.Name, `\`)+`\`)
}

// ExposeSnapshot gives a shadow copy a name, and returns the name. Only copies of
// the contexts [ContextNASRollback] and [ContextAppRollback] can be exposed, as
// others do not last; another one is [ErrBadState]. A name that is taken is
// [ErrObjectAlreadyExists], a malformed one [ErrInvalidArg].
func (b *BackupComponents) ExposeSnapshot(ctx context.Context, id guid.GUID, e Exposure) (string, error) {
	const op = "ExposeSnapshot"
	err := b.call(ctx, op, func(context.Context) error {
		s := b.service
		c := s.snapshotByID(id)
		if c == nil {
			return fail(op, guid.Braced(id), ErrObjectNotFound, "no such shadow copy")
		}
		if err := s.checkExposure(op, c, e); err != nil {
			return err
		}
		c.ExposedName, c.ExposedPath = e.Name, e.Path
		c.Attributes |= AttrExposedLocally
		if e.Remote {
			c.Attributes ^= AttrExposedLocally | AttrExposedRemotely
		}
		c.Attributes &^= AttrNotSurfaced
		return nil
	}, sim.S("snapshot", short(id)), sim.S("name", e.Name))
	if err != nil {
		return "", err
	}
	return e.Name, nil
}

func (s *Service) checkExposure(op string, c *snapshot, e Exposure) error {
	base := SnapshotContext(c.Attributes).Base()
	switch {
	case base != ContextNASRollback && base != ContextAppRollback:
		return fail(op, e.Name, ErrBadState, "a copy made in %v cannot be exposed", base)
	case !e.wellFormed():
		return fail(op, e.Name, ErrInvalidArg, "no drive letter, folder or share, or a part of the copy without a share")
	case c.ExposedName != "":
		return fail(op, e.Name, ErrObjectAlreadyExists, "the copy is exposed as %s", c.ExposedName)
	}
	if v := s.lookupVolume(strings.TrimSuffix(e.Name, `\`) + `\`); v != nil && !e.Remote {
		return fail(op, e.Name, ErrObjectAlreadyExists, "the name is that of a volume")
	}
	for _, o := range s.snapshots {
		if strings.EqualFold(o.ExposedName, e.Name) {
			return fail(op, e.Name, ErrObjectAlreadyExists, "the name is that of another copy")
		}
	}
	return nil
}

// UnexposeSnapshot takes the name of a shadow copy back. A copy without one is
// [ErrObjectNotFound].
func (b *BackupComponents) UnexposeSnapshot(ctx context.Context, id guid.GUID) error {
	const op = "UnexposeSnapshot"
	return b.call(ctx, op, func(context.Context) error {
		c := b.service.snapshotByID(id)
		if c == nil || c.ExposedName == "" {
			return fail(op, guid.Braced(id), ErrObjectNotFound, "no such shadow copy, or it is not exposed")
		}
		c.ExposedName, c.ExposedPath = "", ""
		c.Attributes = c.Attributes&^(AttrExposedLocally|AttrExposedRemotely) | AttrNotSurfaced
		return nil
	}, sim.S("snapshot", short(id)))
}

// BreakSnapshotSet makes the copies of a set volumes of their own, which the
// service forgets (BreakSnapshotSet without options, BreakSnapshotSetEx with).
// Only providers that are a [Breaker] can; the system provider answers
// [ErrProviderVeto]. A provider that cannot give a disk its identity back makes
// the call [ErrBreakRevertIDFailed]; options that exclude each other are
// [ErrInvalidArg].
func (b *BackupComponents) BreakSnapshotSet(ctx context.Context, set guid.GUID, o HardwareOptions) error {
	const op = "BreakSnapshotSet"
	return b.call(ctx, op, func(ctx context.Context) error {
		s := b.service
		if o&BreakRevertIdentityAll != 0 && o&BreakRevertIdentityNone != 0 {
			return fail(op, "", ErrInvalidArg, "%v exclude each other", o)
		}
		copies, err := s.chosen(op, set, ObjectSnapshotSet)
		if err != nil {
			return err
		}
		asked := make(map[*provider]bool)
		for _, c := range copies {
			if !asked[c.provider] {
				asked[c.provider] = true
				err = firstError(err, s.breakAt(ctx, c.provider, set, o))
			}
			if err == nil {
				s.forgetSnapshot(c)
			}
		}
		return err
	}, sim.S("set", short(set)))
}

func (s *Service) breakAt(ctx context.Context, p *provider, set guid.GUID, o HardwareOptions) error {
	h, ok := p.Provider.(Breaker)
	if !ok {
		return fail("BreakSnapshotSet", p.Name, ErrProviderVeto, "its copies cannot be broken off")
	}
	err := s.callProvider(ctx, providerCall{p: p, point: PointProviderBreak, on: short(set),
		fn: func(ctx context.Context) error { return h.BreakSnapshotSet(ctx, set, o) }})
	if HRESULTOf(err) == ErrCannotRevertDiskID {
		return fail("BreakSnapshotSet", p.Name, ErrBreakRevertIDFailed, "%v", err)
	}
	return err
}
