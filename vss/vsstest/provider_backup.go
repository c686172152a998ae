package vsstest

import (
	"context"
	"errors"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// backup makes copies through the service, which makes the calls.
func (r *providerRun) backup(ctx context.Context, st step) error {
	if err := r.giveUpAll(ctx); err != nil {
		return err
	}
	var ids []guid.GUID
	created := false
	err := r.machine.Child("requester").Call(ctx, "backup", func(ctx context.Context) (err error) {
		b, err := r.env.Service.CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Release(ctx)) }()
		ids, err = r.makeSet(ctx, b, st)
		if err != nil {
			return errors.Join(err, b.AbortBackup(ctx))
		}
		created = true
		return r.judgeBackup(ctx, b, ids)
	})
	if err != nil && !r.faulty && vss.HRESULTOf(err) != vss.ErrVolumeNotSupportedByProvider {
		r.breaks(promiseProviderClean, "a backup", "%s", oneLine(err))
	}
	if r.faulty {
		if err := r.outwait(ctx, faultDelay); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if _, err := r.open(id); err == nil && !(created && r.persistent(st)) && !r.faulty {
			r.breaks(promiseProviderNothing, "a backup", "a copy is there that was to go with its requester")
		}
	}
	return ctx.Err()
}

func (r *providerRun) persistent(st step) bool { return !r.backupContext(st).AutoRelease() }

// backupContext is a context without writers, as the kit has none here.
func (r *providerRun) backupContext(st step) vss.SnapshotContext {
	c := providerContexts[st.get("context")]
	if c.Writers() {
		c |= vss.ContextFileShareBackup
	}
	return c
}

func (r *providerRun) makeSet(ctx context.Context, b *vss.BackupComponents, st step) (ids []guid.GUID, err error) {
	if err := errors.Join(b.InitializeForBackup(ctx, nil), b.SetContext(ctx, r.backupContext(st))); err != nil {
		return nil, err
	}
	if _, err := b.StartSnapshotSet(ctx); err != nil {
		return nil, err
	}
	for _, letter := range st.get("volume") {
		id, err := b.AddToSnapshotSet(ctx, string(letter)+`:\`, r.Config.ID)
		if err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	err = b.DoSnapshotSet(ctx)
	return ids, err
}

// judgeBackup looks at properties and contents of the fresh copies.
func (r *providerRun) judgeBackup(ctx context.Context, b *vss.BackupComponents, ids []guid.GUID) error {
	for _, id := range ids {
		p, err := b.GetSnapshotProperties(id)
		if err != nil {
			return err
		}
		v := r.volumeOf(p.OriginalVolumeName)
		switch {
		case p.SnapshotID != id, p.SnapshotsCount != len(ids), p.DeviceObject == "", v == nil, p.ProviderID != r.Config.ID,
			p.CreationTimestamp == 0, p.Status != vss.SnapshotCreated, p.SnapshotSetID == guid.GUID{}:
			r.breaks(promiseProviderProps, "GetSnapshotProperties", "they are %+v", p)
			continue
		}
		files, err := r.env.Service.Open(p.DeviceObject)
		if err != nil {
			return err
		}
		has, err := readAll(files)
		if err == nil && !same(has, v.atHold) {
			r.breaks(promiseProviderImage, "a backup", "the copy of %s differs: %s", v.Name(), difference(has, v.atHold))
		}
		if w, ok := files.(WritableFS); ok && w.WriteFile("app/late", nil) == nil {
			r.breaks(promiseProviderSealed, "a backup", "the copy of %s was written", v.Name())
		}
	}
	if _, err := b.GetSnapshotProperties(unknownSet("x")); vss.HRESULTOf(err) != vss.ErrObjectNotFound {
		r.breaks(promiseProviderProps, "GetSnapshotProperties", "those of an unknown copy: %v", err)
	}
	return ctx.Err()
}

// volumeOf finds the volume by its GUID path.
func (r *providerRun) volumeOf(path string) *Volume {
	for _, v := range r.env.Volumes {
		if path == `\\?\Volume`+guid.Braced(v.ID())+`\` {
			return v
		}
	}
	return nil
}
