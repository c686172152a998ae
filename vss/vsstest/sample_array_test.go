package vsstest_test

import (
	"context"
	"io/fs"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// An array is a provider as those of hardware are: its copies lie outside of the
// volumes.
type array struct {
	set    guid.GUID // that is being made
	step   int       // calls since it was begun
	adding []vss.PrepareRequest
	copies map[guid.GUID]*lun
}

// A lun is one copy.
type lun struct {
	set      guid.GUID
	files    map[string][]byte
	readOnly bool
}

func openArray() *array { return &array{copies: map[guid.GUID]*lun{}} }

func newArray(context.Context, *vsstest.ProviderEnv) (vss.Provider, error) { return openArray(), nil }

// IsVolumeSupported takes every volume that shows its files.
func (a *array) IsVolumeSupported(_ context.Context, v vss.Volume, c vss.SnapshotContext) (bool, error) {
	_, ok := v.(interface{ Files() fs.FS })
	return ok && c.Attributes()&vss.AttrDifferential == 0, nil
}

// BeginPrepareSnapshot drops a set that was given up without a word.
func (a *array) BeginPrepareSnapshot(_ context.Context, r vss.PrepareRequest) error {
	if r.Set != a.set {
		a.drop()
		a.set = r.Set
	}
	if a.step != 0 {
		a.drop()
		return vss.ErrProviderVeto
	}
	a.adding = append(a.adding, r)
	return nil
}

// next moves from one step to the next; out of order it gives the set up.
func (a *array) next(set guid.GUID, step int) error {
	if set != a.set || len(a.adding) == 0 || a.step != step {
		a.drop()
		return vss.ErrProviderVeto
	}
	a.step++
	return nil
}

// drop takes back what there is of the set.
func (a *array) drop() {
	for _, r := range a.adding {
		delete(a.copies, r.Snapshot)
	}
	a.set, a.step, a.adding = guid.GUID{}, 0, nil
}

func (a *array) EndPrepareSnapshots(_ context.Context, set guid.GUID) error { return a.next(set, 0) }
func (a *array) PreCommitSnapshots(_ context.Context, set guid.GUID) error  { return a.next(set, 1) }

func (a *array) CommitSnapshots(_ context.Context, set guid.GUID) error {
	if err := a.next(set, 2); err != nil {
		return err
	}
	return a.takeAll()
}

func (a *array) takeAll() error {
	for _, r := range a.adding {
		files, err := filesOf(r.Volume.(interface{ Files() fs.FS }).Files())
		if err != nil {
			return vss.ErrProviderVeto
		}
		a.copies[r.Snapshot] = &lun{set: r.Set, files: files}
	}
	return nil
}

// filesOf reads all files.
func filesOf(files fs.FS) (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = fs.ReadFile(files, name)
		return err
	})
	return out, err
}

func (a *array) PostCommitSnapshots(_ context.Context, set guid.GUID) error {
	err := a.next(set, 3)
	if err == nil {
		a.seal(func(r vss.PrepareRequest) bool { return r.Context.Attributes()&vss.AttrNoAutoRecovery != 0 })
	}
	return err
}

func (a *array) seal(which func(r vss.PrepareRequest) bool) {
	for _, r := range a.adding {
		if which(r) {
			a.copies[r.Snapshot].readOnly = true
		}
	}
}

func (a *array) PreFinalCommitSnapshots(_ context.Context, set guid.GUID) error {
	return a.next(set, 4)
}

func (a *array) PostFinalCommitSnapshots(_ context.Context, set guid.GUID) error {
	if err := a.next(set, 5); err != nil {
		return err
	}
	a.seal(func(vss.PrepareRequest) bool { return true })
	a.set, a.step, a.adding = guid.GUID{}, 0, nil
	return nil
}

// AbortSnapshots knows only the set that is being made.
func (a *array) AbortSnapshots(_ context.Context, set guid.GUID) error {
	if set == a.set {
		a.drop()
	}
	return nil
}

func (a *array) DeleteSnapshot(_ context.Context, id guid.GUID) error {
	if a.copies[id] == nil {
		return vss.ErrObjectNotFound
	}
	delete(a.copies, id)
	return nil
}

func (a *array) OpenSnapshot(id guid.GUID) (fs.FS, error) {
	l := a.copies[id]
	if l == nil {
		return nil, fs.ErrNotExist
	}
	return vsstest.NewImage(l.files, func() bool { return !l.readOnly }), nil
}
