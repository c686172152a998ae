package vss

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// systemProvider is the provider that is always there. It makes copy-on-write
// copies inside the volumes themselves.
type systemProvider struct {
	service *Service
	set     guid.GUID
	step    providerStep
	jobs    []*systemJob
}

type systemJob struct {
	PrepareRequest
	made bool
}

// A providerStep is how far the provider has come with a set.
type providerStep uint8

const (
	stepIdle providerStep = iota
	stepPreparing
	stepPrepared
	stepPreCommitted
	stepCommitted
	stepPostCommitted
	stepPreFinal
)

// IsVolumeSupported takes NTFS volumes, with [ServiceConfig.ReFS] those of ReFS
// too, and for copies that do not persist any volume as long as the machine has
// an NTFS volume for the differences. It makes neither mirrors nor transportable
// copies.
func (p *systemProvider) IsVolumeSupported(_ context.Context, v Volume, c SnapshotContext) (bool, error) {
	if c.Attributes()&(AttrPlex|AttrTransportable) != 0 {
		return false, nil
	}
	if c.Persistent() {
		fs := v.FileSystem()
		return fs == "NTFS" || fs == "ReFS" && p.service.config.ReFS, nil
	}
	return slices.ContainsFunc(p.service.volumes, func(o Volume) bool { return o.FileSystem() == "NTFS" }), nil
}

// BeginPrepareSnapshot begins a copy, and with it a set; an unfinished set with
// another identifier was given up and is dropped.
func (p *systemProvider) BeginPrepareSnapshot(ctx context.Context, r PrepareRequest) error {
	if p.set != r.Set {
		if err := p.drop(ctx); err != nil {
			return err
		}
		p.set, p.step = r.Set, stepPreparing
	}
	if p.step != stepPreparing {
		return p.veto(ctx)
	}
	if len(r.Volume.Shadows()) >= orLimit(p.service.config.MaxSnapshots, MaxSoftwareSnapshots) {
		return ErrMaximumNumberOfSnapshotsReached
	}
	p.jobs = append(p.jobs, &systemJob{PrepareRequest: r})
	return nil
}

func orLimit(n, standard int) int {
	if n > 0 {
		return n
	}
	return standard
}

// advance moves on to the next step of the set; out of order it is a veto that
// aborts the set.
func (p *systemProvider) advance(ctx context.Context, set guid.GUID, from, to providerStep) error {
	if p.set != set || p.step != from {
		return p.veto(ctx)
	}
	p.step = to
	return nil
}

func (p *systemProvider) veto(ctx context.Context) error {
	return firstError(p.drop(ctx), ErrProviderVeto)
}

// EndPrepareSnapshots makes sure that there is room for the differences.
func (p *systemProvider) EndPrepareSnapshots(ctx context.Context, set guid.GUID) error {
	if err := p.advance(ctx, set, stepPreparing, stepPrepared); err != nil {
		return err
	}
	for _, j := range p.jobs {
		if d, ok := j.Volume.(DiffAreaVolume); ok {
			if used, maximum := d.DiffArea(); maximum > 0 && maximum-used < max(p.service.config.MinDiffArea, 1) {
				return ErrInsufficientStorage
			}
		}
	}
	return nil
}

// PreCommitSnapshots has nothing to do.
func (p *systemProvider) PreCommitSnapshots(ctx context.Context, set guid.GUID) error {
	return p.advance(ctx, set, stepPrepared, stepPreCommitted)
}

// CommitSnapshots takes the copies.
func (p *systemProvider) CommitSnapshots(ctx context.Context, set guid.GUID) error {
	if err := p.advance(ctx, set, stepPreCommitted, stepCommitted); err != nil {
		return err
	}
	for _, j := range p.jobs {
		j.made = true
		if err := j.Volume.CreateShadow(ctx, j.Snapshot); err != nil {
			return providerFailure(err)
		}
		if p.set != set { // given up meanwhile
			return providerFailure(j.Volume.DeleteShadow(ctx, j.Snapshot))
		}
	}
	return nil
}

// providerFailure gives an error without a code the one of an expected failure.
func providerFailure(err error) error {
	var coded interface{ HRESULT() uint32 }
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return fail("provider", SystemProviderName, ErrProviderVeto, "%v", err)
}

// PostCommitSnapshots seals copies that nobody may recover.
func (p *systemProvider) PostCommitSnapshots(ctx context.Context, set guid.GUID) error {
	if err := p.advance(ctx, set, stepCommitted, stepPostCommitted); err != nil {
		return err
	}
	return p.seal(ctx, func(j *systemJob) bool { return j.Context.Attributes()&AttrNoAutoRecovery != 0 })
}

func (p *systemProvider) seal(ctx context.Context, which func(*systemJob) bool) error {
	for _, j := range p.jobs {
		if which(j) {
			if err := j.Volume.SealShadow(ctx, j.Snapshot); err != nil {
				return providerFailure(err)
			}
		}
	}
	return nil
}

// PreFinalCommitSnapshots leaves the copies writable, as they are.
func (p *systemProvider) PreFinalCommitSnapshots(ctx context.Context, set guid.GUID) error {
	return p.advance(ctx, set, stepPostCommitted, stepPreFinal)
}

// PostFinalCommitSnapshots makes the copies read-only. A client-accessible copy
// above the volume's limit makes the oldest one go.
func (p *systemProvider) PostFinalCommitSnapshots(ctx context.Context, set guid.GUID) error {
	if err := p.advance(ctx, set, stepPreFinal, stepIdle); err != nil {
		return err
	}
	err := p.seal(ctx, func(j *systemJob) bool { return j.Context.Attributes()&AttrNoAutoRecovery == 0 })
	if err != nil {
		p.step = stepPreFinal
		return err
	}
	for _, j := range p.jobs {
		if err := p.retire(ctx, j); err != nil {
			return err
		}
	}
	p.set, p.jobs = guid.GUID{}, nil
	return nil
}

// retire deletes the oldest client-accessible copies above the limit.
func (p *systemProvider) retire(ctx context.Context, j *systemJob) error {
	if j.Context.Attributes()&AttrClientAccessible == 0 {
		return nil
	}
	var old []*snapshot
	for _, c := range p.service.snapshots {
		if c.isOf(j.Volume) && c.Attributes&AttrClientAccessible != 0 {
			old = append(old, c)
		}
	}
	limit := orLimit(p.service.config.MaxClientAccessible, MaxClientAccessibleSnapshots)
	for len(old) >= limit {
		if err := j.Volume.DeleteShadow(ctx, old[0].SnapshotID); err != nil {
			return providerFailure(err)
		}
		old = old[1:]
	}
	p.service.prune()
	return nil
}

// AbortSnapshots takes the copies back.
func (p *systemProvider) AbortSnapshots(ctx context.Context, set guid.GUID) error {
	if p.set != set {
		return nil
	}
	return p.drop(ctx)
}

// drop deletes what there is of the set and forgets it.
func (p *systemProvider) drop(ctx context.Context) error {
	var first error
	for _, j := range p.jobs {
		if !j.made {
			continue
		}
		if err := j.Volume.DeleteShadow(ctx, j.Snapshot); !errors.Is(err, fs.ErrNotExist) {
			first = firstError(first, err)
		}
	}
	p.set, p.step, p.jobs = guid.GUID{}, stepIdle, nil
	return providerFailure(first)
}

// DeleteSnapshot removes a copy from its volume.
func (p *systemProvider) DeleteSnapshot(ctx context.Context, id guid.GUID) error {
	v := p.volumeOf(id)
	if v == nil {
		return ErrObjectNotFound
	}
	err := v.DeleteShadow(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrObjectNotFound
	}
	return providerFailure(err)
}

// OpenSnapshot opens a copy on its volume.
func (p *systemProvider) OpenSnapshot(id guid.GUID) (fs.FS, error) {
	v := p.volumeOf(id)
	if v == nil {
		return nil, fs.ErrNotExist
	}
	return v.OpenShadow(id)
}

func (p *systemProvider) volumeOf(id guid.GUID) Volume {
	for _, v := range p.service.volumes {
		if slices.Contains(v.Shadows(), id) {
			return v
		}
	}
	return nil
}
