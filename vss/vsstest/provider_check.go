package vsstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// providerCodes are what a provider may return.
var providerCodes = []vss.HRESULT{
	vss.SOK, vss.ErrOutOfMemory, vss.ErrInvalidArg, vss.ErrAccessDenied, vss.ErrBadState, vss.ErrObjectNotFound, vss.ErrInsufficientStorage,
	vss.ErrVolumeNotSupported, vss.ErrVolumeNotSupportedByProvider, vss.ErrMaximumNumberOfSnapshotsReached, vss.ErrProviderVeto, vss.ErrCannotRevertDiskID,
}

// judgeCode looks at what a call returned. What an injected fault made a volume
// say, and a context that ended, may pass through.
func (r *providerRun) judgeCode(name string, err error) {
	var injected *sim.FaultError
	var panicked *sim.PanicError
	switch {
	case errors.Is(err, sim.ErrContext):
		r.breaks(promiseProviderContext, name, "%s", oneLine(err))
	case err == nil, name == "AbortSnapshots", errors.As(err, &injected), errors.As(err, &panicked),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
	case !slices.Contains(providerCodes, vss.HRESULTOf(err)):
		r.breaks(promiseProviderCode, name, "it returned %v: %s", vss.HRESULTOf(err), oneLine(err))
	}
}

// judgeCopies compares all copies with what they should be, behind a call.
func (r *providerRun) judgeCopies(call string) {
	for _, s := range r.sets {
		for _, m := range s.copies {
			r.judgeSetCopy(call, s, m)
		}
	}
	for _, v := range r.env.Volumes {
		if v.written != nil && !v.Held() && !same(v.files, v.written) {
			r.breaks(promiseProviderOriginal, call, "%s was changed: %s", v.Name(), difference(v.files, v.written))
			v.written = maps.Clone(v.files)
		}
	}
}

func (r *providerRun) judgeSetCopy(call string, s *providerSet, m *providerCopy) {
	files, err := r.open(m.id)
	what := fmt.Sprintf("the copy of %s in set %s", m.volume.Name(), s.number)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.breaks(promiseProviderKeeps, "OpenSnapshot", "%s: %s", what, oneLine(err))
	}
	switch {
	case s.state == setGone && there && !r.faulty:
		r.breaks(promiseProviderNothing, call, "%s is still there", what)
	case s.state == setGone && slices.Contains(m.volume.Shadows(), m.id) && !r.faulty:
		r.breaks(promiseProviderNothing, call, "the volume still has %s", what)
	case s.state == setGone:
	case m.deleted && there:
		r.breaks(promiseProviderDelete, call, "%s was deleted and is there", what)
	case m.deleted:
	case s.state < setCommitted && there:
		r.breaks(promiseProviderEarly, call, "%s is there", what)
	case s.state >= setCommitted && !there:
		r.breaks(promiseProviderKeeps, call, "%s is not there", what)
	case s.state >= setCommitted && !same(files, m.files):
		r.breaks(promiseProviderImage, call, "%s differs: %s", what, difference(files, m.files))
	}
}

// open reads a copy.
func (r *providerRun) open(id guid.GUID) (contents, error) {
	files, err := r.provider.OpenSnapshot(id)
	if err != nil {
		return nil, err
	}
	return readAll(files)
}

func readAll(files fs.FS) (contents, error) {
	out := contents{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = fs.ReadFile(files, name)
		return err
	})
	return out, err
}

func same(a, b contents) bool {
	return maps.EqualFunc(a, b, func(x, y []byte) bool { return string(x) == string(y) })
}

// difference names the first file that is not the same.
func difference(is, want contents) string {
	names := slices.Sorted(maps.Keys(is))
	names = slices.Compact(slices.Sorted(slices.Values(append(names, slices.Collect(maps.Keys(want))...))))
	for _, name := range names {
		a, has := is[name]
		b, wants := want[name]
		switch {
		case has && !wants:
			return fmt.Sprintf("%s should not be there", name)
		case !has:
			return fmt.Sprintf("%s is missing", name)
		case string(a) != string(b):
			return fmt.Sprintf("%s holds %.40q, not %.40q", name, a, b)
		}
	}
	return "nothing"
}
