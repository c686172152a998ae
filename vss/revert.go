package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// RevertToSnapshot begins to set a volume back to a shadow copy; the service goes
// on with it whatever becomes of the requester, and it cannot be cancelled.
// [BackupComponents.QueryRevertStatus] tells how it stands. Copies younger than
// the one reverted to are lost.
//
// An unknown copy is [ErrObjectNotFound], one that does not persist
// [ErrUnsupportedContext], a volume that is being reverted
// [ErrRevertInProgress], one in use [ErrVolumeInUse] unless force is given, and
// one that cannot be reverted [ErrNotImpl].
func (b *BackupComponents) RevertToSnapshot(ctx context.Context, id guid.GUID, force bool) error {
	const op = "RevertToSnapshot"
	return b.call(ctx, op, func(context.Context) error {
		s := b.service
		c := s.snapshotByID(id)
		if c == nil {
			return fail(op, guid.Braced(id), ErrObjectNotFound, "no such shadow copy")
		}
		v, can := c.volume.(RevertVolume)
		switch {
		case !SnapshotContext(c.Attributes).Persistent():
			return fail(op, c.on(), ErrUnsupportedContext, "the copy does not persist")
		case !can || c.provider.Type != ProviderSystem:
			return fail(op, c.on(), ErrNotImpl, "the volume cannot be reverted")
		case s.reverting(v) != nil && !s.reverting(v).over.IsSet():
			return fail(op, c.on(), ErrRevertInProgress, "the volume is being reverted")
		case v.InUse() && !force:
			return fail(op, c.on(), ErrVolumeInUse, "the volume is in use")
		}
		s.startRevert(v, id)
		return nil
	}, sim.S("snapshot", short(id)))
}

// A revert is a volume on its way back.
type revert struct {
	volume Volume
	async  *Async
}

func (s *Service) reverting(v Volume) *Async {
	for _, r := range s.reverts {
		if r.volume.ID() == v.ID() {
			return r.async
		}
	}
	return nil
}

func (s *Service) startRevert(v RevertVolume, id guid.GUID) {
	a := &Async{service: s, method: "RevertToSnapshot", firm: true}
	a.over.Name = a.method
	for i, r := range s.reverts {
		if r.volume.ID() == v.ID() {
			s.reverts = append(s.reverts[:i], s.reverts[i+1:]...)
			break
		}
	}
	s.reverts = append(s.reverts, revert{v, a})
	s.actor.Emit("vss/revert", "", sim.S("volume", v.Name()), sim.S("snapshot", short(id)))
	a.task = startTask(s.actor, a.method, func(_, ctx context.Context) error {
		err := sim.Protect(ctx, func() error { return v.RevertToShadow(ctx, id) })
		if err != nil {
			err = &Error{Op: a.method, On: v.Name(), Err: err}
		}
		s.prune()
		a.finish(err)
		s.actor.Emit("vss/revert.end", "", sim.S("volume", v.Name()), sim.S("hr", codeName(HRESULTOf(err))))
		return nil
	})
}

// QueryRevertStatus returns the operation that reverts a volume, or that last
// did. A volume that is unknown, or was not reverted since the service started,
// is [ErrObjectNotFound]; one that cannot be reverted [ErrVolumeNotSupported].
func (b *BackupComponents) QueryRevertStatus(ctx context.Context, volume string) (*Async, error) {
	const op = "QueryRevertStatus"
	var a *Async
	err := b.call(ctx, op, func(context.Context) error {
		v := b.service.lookupVolume(volume)
		if v == nil {
			return fail(op, volume, ErrObjectNotFound, "no such volume")
		}
		if _, can := v.(RevertVolume); !can {
			return fail(op, volume, ErrVolumeNotSupported, "the volume cannot be reverted")
		}
		if a = b.service.reverting(v); a == nil {
			return fail(op, volume, ErrObjectNotFound, "the volume is not being reverted")
		}
		return nil
	}, sim.S("volume", volume))
	return a, err
}
