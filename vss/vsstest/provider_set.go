package vsstest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// beginSet adds a volume to a set, if the provider takes it. Another set that is
// being made is dropped by that.
func (r *providerRun) beginSet(ctx context.Context, st step) error {
	number, c, volume := st.get("set"), providerContexts[st.get("context")], r.volume(st.get("volume"))
	if volume == nil || number == "" {
		return nil
	}
	s := r.set(number)
	if s == nil {
		s = &providerSet{number: number, id: r.machine.NewID("set"), context: c}
	}
	if !r.supports(ctx, volume, s.context) {
		return nil
	}
	if s.state != setPreparing {
		return r.beginLate(ctx, s, volume)
	}
	if r.set(number) == nil {
		if old := r.current(); old != nil {
			old.state = setGone
		}
		r.sets = append(r.sets, s)
	}
	for _, m := range s.copies {
		if m.volume == volume {
			return nil
		}
	}
	m := &providerCopy{volume: volume, id: r.machine.NewID("snapshot")}
	err := r.prepare(ctx, s, m)
	if err == nil {
		s.copies = append(s.copies, m)
		return nil
	}
	s.state = setGone // the service would give it up
	if !r.faulty {
		r.breaks(promiseProviderSupport, "BeginPrepareSnapshot", "%s is supported in %v, and BeginPrepareSnapshot failed: %s", volume.Name(), s.context, oneLine(err))
	}
	return nil
}

func (r *providerRun) prepare(ctx context.Context, s *providerSet, m *providerCopy) error {
	req := vss.PrepareRequest{Set: s.id, Snapshot: m.id, Volume: m.volume, Context: s.context}
	return r.call(ctx, "BeginPrepareSnapshot", 0, func(ctx context.Context) error { return r.provider.BeginPrepareSnapshot(ctx, req) })
}

// beginLate adds a volume to a set that takes no more.
func (r *providerRun) beginLate(ctx context.Context, s *providerSet, v *Volume) error {
	if s.state >= setCreated { // its identifier is not used again
		return nil
	}
	err := r.prepare(ctx, s, &providerCopy{volume: v, id: r.machine.NewID("snapshot")})
	return r.refused(ctx, "BeginPrepareSnapshot", err)
}

// supports asks for a volume, twice.
func (r *providerRun) supports(ctx context.Context, v *Volume, c vss.SnapshotContext) bool {
	var answers [2]bool
	for i := range answers {
		err := r.call(ctx, "IsVolumeSupported", 0, func(ctx context.Context) (err error) {
			answers[i], err = r.provider.IsVolumeSupported(ctx, v, c)
			return err
		})
		if err != nil && !r.faulty {
			r.breaks(promiseProviderClean, "IsVolumeSupported", "%s", oneLine(err))
		}
	}
	if answers[0] != answers[1] {
		r.breaks(promiseProviderSupport, "IsVolumeSupported", "%s in %v is supported: %v, and then %v", v.Name(), c, answers[0], answers[1])
	}
	if !answers[0] && c == vss.ContextBackup && v == r.env.Volumes[0] {
		r.breaks(promiseProviderSupport, "IsVolumeSupported", "not even %s with NTFS in %v", v.Name(), c)
	}
	return answers[0]
}

// methodOf is a call of a set.
func (r *providerRun) methodOf(verb string, id guid.GUID) func(ctx context.Context) error {
	p := r.provider
	fn := map[string]func(context.Context, guid.GUID) error{
		"end": p.EndPrepareSnapshots, "precommit": p.PreCommitSnapshots, "commit": p.CommitSnapshots,
		"postcommit": p.PostCommitSnapshots, "prefinal": p.PreFinalCommitSnapshots, "postfinal": p.PostFinalCommitSnapshots,
	}[verb]
	return func(ctx context.Context) error { return fn(ctx, id) }
}

// advance makes the next call of a set, or one out of order.
func (r *providerRun) advance(ctx context.Context, verb, number string) error {
	s, name := r.set(number), callNames[verb]
	if s == nil || int(s.state) != indexOf(setCalls, verb) {
		id := unknownSet(number + " ")
		if s != nil {
			id = s.id
		}
		return r.refused(ctx, name, r.call(ctx, name, 0, r.methodOf(verb, id)))
	}
	var err error
	if verb == "commit" {
		err = r.commit(ctx, s)
	} else {
		err = r.call(ctx, name, 0, r.methodOf(verb, s.id))
	}
	switch {
	case err == nil:
		s.state++
		return nil
	case !r.faulty && !errors.Is(err, errNotReturned):
		r.breaks(promiseProviderClean, name, "it failed: %s", oneLine(err))
	case !r.faulty:
		r.breaks(promiseProviderDeadlock, name, "%s", oneLine(err))
	}
	return r.giveUpAll(ctx)
}

func indexOf(list []string, s string) int {
	for i, o := range list {
		if o == s {
			return i
		}
	}
	return -1
}

// commit holds the writes of the set's volumes and lets the provider copy them.
func (r *providerRun) commit(ctx context.Context, s *providerSet) error {
	for _, m := range s.copies {
		if err := m.volume.FlushAndHold(ctx); err != nil {
			return err
		}
		m.files = maps.Clone(m.volume.files)
	}
	began := r.world.Now()
	err := r.call(ctx, "CommitSnapshots", vss.HoldTimeout, r.methodOf("commit", s.id))
	if errors.Is(err, errNotReturned) || err != nil && r.world.Now()-began >= vss.HoldTimeout {
		if !r.faulty {
			r.breaks(promiseProviderQuick, "CommitSnapshots", "it has not ended in %v", vss.HoldTimeout)
		}
	}
	for _, m := range s.copies {
		m.volume.Release()
	}
	return err
}

// refused judges the answer to a call out of order and gives up what there is.
func (r *providerRun) refused(ctx context.Context, name string, err error) error {
	if err == nil {
		r.breaks(promiseProviderOrder, name, "it succeeded")
	}
	return r.giveUpAll(ctx)
}

// giveUpAll aborts every set that is not finished, as the service does when
// something has failed.
func (r *providerRun) giveUpAll(ctx context.Context) error {
	for _, s := range r.sets {
		if s.state < setCreated {
			if err := r.abort(ctx, s.number); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// abort gives a set up. One that is finished stays; one that is unknown is no
// matter.
func (r *providerRun) abort(ctx context.Context, number string) error {
	s, id := r.set(number), unknownSet(number+" ")
	if s != nil {
		id = s.id
	}
	err := r.call(ctx, "AbortSnapshots", 0, func(ctx context.Context) error { return r.provider.AbortSnapshots(ctx, id) })
	if err != nil && !r.faulty {
		r.breaks(promiseProviderAbort, "AbortSnapshots", "%s", oneLine(err))
	}
	if s != nil && s.state < setCreated {
		s.state = setGone
	}
	return ctx.Err()
}

// recoverSet changes the copies of a set as a writer does.
func (r *providerRun) recoverSet(st step) {
	s := r.set(st.get("set"))
	if s == nil || s.state < setCommitted || s.state == setGone {
		return
	}
	for _, m := range s.copies {
		if !m.deleted {
			r.recoverCopy(s, m)
		}
	}
}

func (r *providerRun) recoverCopy(s *providerSet, m *providerCopy) {
	open := s.recovers() && s.state == setPreFinal && !r.ReadOnly
	files, err := r.provider.OpenSnapshot(m.id)
	if err != nil {
		return // judgeCopies says so
	}
	r.recovers++
	name, text := "app/number", fmt.Append(nil, "recovered ", r.recovers)
	w, ok := files.(WritableFS)
	if !ok {
		if open {
			r.breaks(promiseProviderRecovery, "OpenSnapshot", "the copy of %s is no WritableFS", m.volume.Name())
		}
		return
	}
	err = w.WriteFile(name, text)
	switch {
	case open && err != nil:
		r.breaks(promiseProviderRecovery, "PreFinalCommitSnapshots", "the copy of %s cannot be written: %s", m.volume.Name(), oneLine(err))
	case err == nil && (s.state == setCreated || !s.recovers() && s.state >= setPostCommitted):
		r.breaks(promiseProviderSealed, "PostFinalCommitSnapshots", "the copy of %s was written, in %v", m.volume.Name(), s.context)
	}
	if err == nil {
		m.files[name] = text
	}
}

// delete deletes a copy of a finished set, or one that is not there.
func (r *providerRun) delete(ctx context.Context, st step) error {
	s, id := r.set(st.get("set")), unknownSet(st.get("set")+" ")
	var victim *providerCopy
	if s != nil {
		if s.state < setCreated {
			return nil
		}
		for _, m := range s.copies {
			if m.volume.letter() == st.get("volume")+":" {
				victim, id = m, m.id
			}
		}
	}
	there := victim != nil && !victim.deleted && s.state == setCreated
	err := r.call(ctx, "DeleteSnapshot", 0, func(ctx context.Context) error { return r.provider.DeleteSnapshot(ctx, id) })
	switch {
	case there && err != nil && !r.faulty:
		r.breaks(promiseProviderDelete, "DeleteSnapshot", "it failed: %s", oneLine(err))
	case !there && vss.HRESULTOf(err) != vss.ErrObjectNotFound && !r.faulty:
		r.breaks(promiseProviderDelete, "DeleteSnapshot", "the copy is not there, and the answer is %v, not %v", err, vss.ErrObjectNotFound)
	}
	if there && err == nil {
		victim.deleted = true
	}
	return ctx.Err()
}
