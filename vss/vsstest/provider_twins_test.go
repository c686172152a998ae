package vsstest_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A providerTwin is a provider with one mistake: methods that are set replace
// those of the provider.
type providerTwin struct {
	vss.Provider
	supported func(v vss.Volume, c vss.SnapshotContext) (bool, error)
	begin     func(ctx context.Context, r vss.PrepareRequest) error
	calls     map[string]func(ctx context.Context, set guid.GUID) error
	open      func(id guid.GUID) (fs.FS, error)
}

func (t *providerTwin) IsVolumeSupported(ctx context.Context, v vss.Volume, c vss.SnapshotContext) (bool, error) {
	if t.supported != nil {
		return t.supported(v, c)
	}
	return t.Provider.IsVolumeSupported(ctx, v, c)
}

func (t *providerTwin) BeginPrepareSnapshot(ctx context.Context, r vss.PrepareRequest) error {
	if t.begin != nil {
		return t.begin(ctx, r)
	}
	return t.Provider.BeginPrepareSnapshot(ctx, r)
}

// do calls the twin's method, or the provider's.
func (t *providerTwin) do(ctx context.Context, name string, id guid.GUID, own func(context.Context, guid.GUID) error) error {
	if fn := t.calls[name]; fn != nil {
		return fn(ctx, id)
	}
	return own(ctx, id)
}

func (t *providerTwin) EndPrepareSnapshots(ctx context.Context, set guid.GUID) error {
	return t.do(ctx, "EndPrepare", set, t.Provider.EndPrepareSnapshots)
}

func (t *providerTwin) PreCommitSnapshots(ctx context.Context, set guid.GUID) error {
	return t.do(ctx, "PreCommit", set, t.Provider.PreCommitSnapshots)
}

func (t *providerTwin) CommitSnapshots(ctx context.Context, set guid.GUID) error {
	return t.do(ctx, "Commit", set, t.Provider.CommitSnapshots)
}

func (t *providerTwin) PostCommitSnapshots(ctx context.Context, set guid.GUID) error {
	return t.do(ctx, "PostCommit", set, t.Provider.PostCommitSnapshots)
}

func (t *providerTwin) PreFinalCommitSnapshots(ctx context.Context, set guid.GUID) error {
	return t.do(ctx, "PreFinalCommit", set, t.Provider.PreFinalCommitSnapshots)
}

func (t *providerTwin) PostFinalCommitSnapshots(ctx context.Context, set guid.GUID) error {
	return t.do(ctx, "PostFinalCommit", set, t.Provider.PostFinalCommitSnapshots)
}

func (t *providerTwin) AbortSnapshots(ctx context.Context, set guid.GUID) error {
	return t.do(ctx, "Abort", set, t.Provider.AbortSnapshots)
}

func (t *providerTwin) DeleteSnapshot(ctx context.Context, id guid.GUID) error {
	return t.do(ctx, "Delete", id, t.Provider.DeleteSnapshot)
}

func (t *providerTwin) OpenSnapshot(id guid.GUID) (fs.FS, error) {
	if t.open != nil {
		return t.open(id)
	}
	return t.Provider.OpenSnapshot(id)
}

type setCall = func(ctx context.Context, set guid.GUID) error

// takenAt makes an array take its copies in another call.
func takenAt(call string) func(t *providerTwin, a *array) {
	return func(t *providerTwin, a *array) {
		t.calls["Commit"] = func(_ context.Context, set guid.GUID) error { return a.next(set, 2) }
		own := map[string]setCall{"EndPrepare": a.EndPrepareSnapshots, "PreCommit": a.PreCommitSnapshots, "PostCommit": a.PostCommitSnapshots}[call]
		early := map[guid.GUID]*lun{}
		t.calls[call] = func(ctx context.Context, set guid.GUID) error {
			if call == "PostCommit" {
				if err := a.takeAll(); err != nil {
					return err
				}
				return own(ctx, set)
			}
			if err := own(ctx, set); err != nil {
				return err
			}
			kept := maps.Clone(a.copies)
			err := a.takeAll()
			early, a.copies = a.copies, kept
			t.calls["Commit"] = func(_ context.Context, set guid.GUID) error {
				a.copies = early
				return a.next(set, 2)
			}
			return err
		}
	}
}

// providerTwins are mistakes of an array, and the promise that each breaks.
var providerTwins = []struct {
	mistake string
	breaks  string
	make    func(t *providerTwin, a *array)
}{
	{"the copy is taken in EndPrepareSnapshots", "a copy holds what its volume held", takenAt("EndPrepare")},
	{"the copy is taken in PreCommitSnapshots", "a copy holds what its volume held", takenAt("PreCommit")},
	{"the copy is taken in PostCommitSnapshots, when writes go on", "a finished copy stays", takenAt("PostCommit")},
	{"the copy can be seen before it is taken", "there is no copy before", func(t *providerTwin, a *array) {
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			return errors.Join(a.EndPrepareSnapshots(ctx, set), a.takeAll())
		}
	}},
	{"the copy shows the volume as it is now", "a copy holds what its volume held", func(t *providerTwin, a *array) {
		volumes := map[guid.GUID]vss.Volume{}
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			volumes[r.Snapshot] = r.Volume
			return a.BeginPrepareSnapshot(ctx, r)
		}
		t.open = func(id guid.GUID) (fs.FS, error) {
			if a.copies[id] == nil {
				return nil, fs.ErrNotExist
			}
			return volumes[id].(interface{ Files() fs.FS }).Files(), nil
		}
	}},
	{"only the last volume of a set is copied", "a finished copy stays", func(t *providerTwin, a *array) {
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			if len(a.adding) > 0 && a.set == r.Set {
				a.adding = nil
			}
			return a.BeginPrepareSnapshot(ctx, r)
		}
	}},
	{"all copies of a set share one image", "a copy holds what its volume held", func(t *providerTwin, a *array) {
		t.calls["Commit"] = func(ctx context.Context, set guid.GUID) error {
			err := a.CommitSnapshots(ctx, set)
			for _, r := range a.adding[:min(1, len(a.adding))] {
				for _, other := range a.adding {
					a.copies[other.Snapshot] = a.copies[r.Snapshot]
				}
			}
			return err
		}
	}},
	{"CommitSnapshots writes a mark to the volume, whose writes are held", "CommitSnapshots ends while writes are held", func(t *providerTwin, a *array) {
		t.calls["Commit"] = func(ctx context.Context, set guid.GUID) error {
			for _, r := range a.adding {
				if err := r.Volume.(*vsstest.Volume).WriteFile(ctx, "array/mark", nil); err != nil {
					return vss.ErrProviderVeto
				}
			}
			return a.CommitSnapshots(ctx, set)
		}
	}},
	{"CommitSnapshots copies byte by byte and takes 12 s", "CommitSnapshots ends while writes are held", func(t *providerTwin, a *array) {
		t.calls["Commit"] = func(ctx context.Context, set guid.GUID) error {
			if err := sim.Sleep(ctx, 12*time.Second); err != nil {
				return vss.ErrProviderVeto
			}
			return a.CommitSnapshots(ctx, set)
		}
	}},
	{"EndPrepareSnapshots leaves a mark on the volume", "the volume itself is left alone", func(t *providerTwin, a *array) {
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			for _, r := range a.adding {
				if err := r.Volume.(*vsstest.Volume).WriteFile(ctx, "array/mark", nil); err != nil {
					return vss.ErrProviderVeto
				}
			}
			return a.EndPrepareSnapshots(ctx, set)
		}
	}},
	{"AbortSnapshots does nothing", "nothing is left of a set", func(t *providerTwin, a *array) {
		t.calls["Abort"] = func(context.Context, guid.GUID) error { return nil }
	}},
	{"AbortSnapshots takes back the first copy alone", "nothing is left of a set", func(t *providerTwin, a *array) {
		t.calls["Abort"] = func(ctx context.Context, set guid.GUID) error {
			if set == a.set && len(a.adding) > 1 {
				a.adding = a.adding[:1]
			}
			return a.AbortSnapshots(ctx, set)
		}
	}},
	{"AbortSnapshots gives up whatever set is being made", "a finished copy stays", func(t *providerTwin, a *array) {
		t.calls["Abort"] = func(context.Context, guid.GUID) error { a.drop(); return nil }
	}},
	{"AbortSnapshots deletes the copies of a finished set", "a finished copy stays", func(t *providerTwin, a *array) {
		t.calls["Abort"] = func(ctx context.Context, set guid.GUID) error {
			maps.DeleteFunc(a.copies, func(_ guid.GUID, l *lun) bool { return l.set == set })
			return a.AbortSnapshots(ctx, set)
		}
	}},
	{"AbortSnapshots fails when it comes twice", "AbortSnapshots succeeds", func(t *providerTwin, a *array) {
		t.calls["Abort"] = func(ctx context.Context, set guid.GUID) error {
			if set != a.set {
				return vss.ErrObjectNotFound
			}
			return a.AbortSnapshots(ctx, set)
		}
	}},
	{"a set that was given up without a word is carried on", "nothing is left of a set", func(t *providerTwin, a *array) {
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			if a.step == 0 {
				a.set = r.Set
			} else if a.set != r.Set {
				a.set, a.step, a.adding = r.Set, 0, nil
			}
			a.adding = append(a.adding, r)
			return nil
		}
	}},
	{"a new set is refused while an old one has not ended", "a volume that is supported can be copied", func(t *providerTwin, a *array) {
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			if a.set != (guid.GUID{}) && a.set != r.Set {
				return vss.ErrProviderVeto
			}
			return a.BeginPrepareSnapshot(ctx, r)
		}
	}},
	{"no order of calls is checked", "a call out of order", func(t *providerTwin, a *array) {
		t.calls["PreFinalCommit"] = func(context.Context, guid.GUID) error { a.step = 5; return nil }
	}},
	{"a volume is added to a set that is prepared", "a call out of order", func(t *providerTwin, a *array) {
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			if a.set == r.Set && a.step > 0 {
				a.adding = append(a.adding, r)
				return nil
			}
			return a.BeginPrepareSnapshot(ctx, r)
		}
	}},
	{"a call out of order returns E_FAIL", "a call that fails reports a provider's code", func(t *providerTwin, a *array) {
		t.calls["PreCommit"] = func(ctx context.Context, set guid.GUID) error {
			if err := a.PreCommitSnapshots(ctx, set); err != nil {
				return vss.ErrFail
			}
			return nil
		}
	}},
	{"a call out of order returns an error without a code", "a call that fails reports a provider's code", func(t *providerTwin, a *array) {
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			if err := a.EndPrepareSnapshots(ctx, set); err != nil {
				return errors.New("wrong set")
			}
			return nil
		}
	}},
	{"the finished copy stays writable", "a finished copy is read-only", func(t *providerTwin, a *array) {
		t.open = func(id guid.GUID) (fs.FS, error) {
			l := a.copies[id]
			if l == nil {
				return nil, fs.ErrNotExist
			}
			return vsstest.NewImage(l.files, func() bool { return true }), nil
		}
	}},
	{"the copy is sealed before the writers could recover it", "a copy can be changed until", func(t *providerTwin, a *array) {
		t.calls["PreFinalCommit"] = func(ctx context.Context, set guid.GUID) error {
			a.seal(func(vss.PrepareRequest) bool { return true })
			return a.PreFinalCommitSnapshots(ctx, set)
		}
	}},
	{"a recovered copy loses what was recovered", "a copy holds what its volume held", func(t *providerTwin, a *array) {
		t.open = func(id guid.GUID) (fs.FS, error) {
			l := a.copies[id]
			if l == nil {
				return nil, fs.ErrNotExist
			}
			return vsstest.NewImage(maps.Clone(l.files), func() bool { return !l.readOnly }), nil
		}
	}},
	{"NO_AUTORECOVERY is not heeded", "a finished copy is read-only", func(t *providerTwin, a *array) {
		t.calls["PostCommit"] = func(_ context.Context, set guid.GUID) error { return a.next(set, 3) }
		t.calls["PostFinalCommit"] = func(ctx context.Context, set guid.GUID) error {
			plain := slices.ContainsFunc(a.adding, func(r vss.PrepareRequest) bool { return r.Context.Attributes()&vss.AttrNoAutoRecovery == 0 })
			if err := a.next(set, 5); err != nil {
				return err
			}
			a.seal(func(vss.PrepareRequest) bool { return plain })
			a.set, a.step, a.adding = guid.GUID{}, 0, nil
			return nil
		}
	}},
	{"DeleteSnapshot succeeds for a copy that is not there", "DeleteSnapshot deletes one copy", func(t *providerTwin, a *array) {
		t.calls["Delete"] = func(_ context.Context, id guid.GUID) error { delete(a.copies, id); return nil }
	}},
	{"DeleteSnapshot deletes the whole set", "a finished copy stays", func(t *providerTwin, a *array) {
		t.calls["Delete"] = func(ctx context.Context, id guid.GUID) error {
			if l := a.copies[id]; l != nil {
				maps.DeleteFunc(a.copies, func(other guid.GUID, o *lun) bool { return other != id && o.set == l.set })
			}
			return a.DeleteSnapshot(ctx, id)
		}
	}},
	{"DeleteSnapshot leaves the copy where it is", "DeleteSnapshot deletes one copy", func(t *providerTwin, a *array) {
		t.calls["Delete"] = func(_ context.Context, id guid.GUID) error {
			if a.copies[id] == nil {
				return vss.ErrObjectNotFound
			}
			return nil
		}
	}},
	{"IsVolumeSupported says yes to FAT32, which BeginPrepareSnapshot refuses", "a volume that is supported", func(t *providerTwin, a *array) {
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			if r.Volume.FileSystem() != "NTFS" {
				return vss.ErrVolumeNotSupportedByProvider
			}
			return a.BeginPrepareSnapshot(ctx, r)
		}
	}},
	{"IsVolumeSupported says yes the first time alone", "a volume that is supported", func(t *providerTwin, a *array) {
		seen := map[string]bool{}
		t.supported = func(v vss.Volume, _ vss.SnapshotContext) (bool, error) {
			first := !seen[v.Name()]
			seen[v.Name()] = true
			return first, nil
		}
	}},
	{"a call panics on a set that it does not know", "a provider does not panic", func(t *providerTwin, a *array) {
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			if set != a.adding[0].Set {
				return vss.ErrObjectNotFound
			}
			return a.EndPrepareSnapshots(ctx, set)
		}
	}},
	{"EndPrepareSnapshots works in a goroutine", "a call starts processes", func(t *providerTwin, a *array) {
		done := make(chan bool)
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			go func() { <-done }()
			return a.EndPrepareSnapshots(ctx, set)
		}
		t.calls["PostFinalCommit"] = func(ctx context.Context, set guid.GUID) error {
			close(done)
			done = make(chan bool)
			return a.PostFinalCommitSnapshots(ctx, set)
		}
	}},
	{"AbortSnapshots takes the lock that EndPrepareSnapshots waits with", "a call waits only", func(t *providerTwin, a *array) {
		var mu sync.Mutex
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			mu.Lock()
			defer mu.Unlock()
			if err := sim.Sleep(ctx, time.Second); err != nil {
				return err
			}
			return a.EndPrepareSnapshots(ctx, set)
		}
		t.calls["PreCommit"] = func(ctx context.Context, set guid.GUID) error {
			mu.Lock()
			return a.PreCommitSnapshots(ctx, set)
		}
	}},
	{"a set of two volumes is one too many", "a set in which nothing goes wrong", func(t *providerTwin, a *array) {
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			if len(a.adding) > 1 {
				a.drop()
				return vss.ErrProviderVeto
			}
			return a.EndPrepareSnapshots(ctx, set)
		}
	}},
	{"EndPrepareSnapshots waits for storage that never comes", "a call comes to an end", func(t *providerTwin, a *array) {
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			var storage sim.Signal
			if err := storage.Wait(ctx); err != nil {
				return vss.ErrProviderVeto
			}
			return a.EndPrepareSnapshots(ctx, set)
		}
	}},
	{"EndPrepareSnapshots waits with a context of its own", "a call uses the context", func(t *providerTwin, a *array) {
		t.calls["EndPrepare"] = func(ctx context.Context, set guid.GUID) error {
			if err := sim.Sleep(context.Background(), time.Second); err != nil {
				return err
			}
			return a.EndPrepareSnapshots(ctx, set)
		}
	}},
}

// Every twin is caught, by the promise that it breaks.
func TestProviderTwins(t *testing.T) {
	if racing {
		t.Skip("some of the broken twins are data races")
	}
	for _, m := range providerTwins {
		t.Run(m.mistake, func(t *testing.T) {
			catch(t, m.breaks, arrayOptions(), func(context.Context, *vsstest.ProviderEnv) (vss.Provider, error) {
				a := openArray()
				tw := &providerTwin{Provider: a, calls: map[string]setCall{}}
				m.make(tw, a)
				return tw, nil
			})
		})
	}
}

func catch(t *testing.T, breaks string, o vsstest.ProviderOptions, newProvider vsstest.NewProvider) {
	t.Helper()
	o.Runs, o.Stuck = -1, patience(breaks)
	is := func(p vsstest.Promise) bool { return strings.HasPrefix(string(p), breaks) }
	if err := vsstest.ProviderUntil(newProvider, o, is); !slices.ContainsFunc(vsstest.Promises(err), is) {
		t.Errorf("not caught; what was found is\n%v", err)
	}
}

// systemTwins are the system provider with one mistake around it.
var systemTwins = []struct {
	mistake string
	breaks  string
	make    func(t *providerTwin, env *vsstest.ProviderEnv)
}{
	{"AbortSnapshots is not passed on", "nothing is left of a set", func(t *providerTwin, _ *vsstest.ProviderEnv) {
		t.calls["Abort"] = func(context.Context, guid.GUID) error { return nil }
	}},
	{"the finished copy is handed out writable", "a finished copy is read-only", func(t *providerTwin, env *vsstest.ProviderEnv) {
		t.open = func(id guid.GUID) (fs.FS, error) {
			files, err := t.Provider.OpenSnapshot(id)
			if err != nil {
				return nil, err
			}
			all, err := filesOf(files)
			return vsstest.NewImage(all, func() bool { return true }), err
		}
	}},
	{"DeleteSnapshot deletes every other copy as well", "a finished copy stays", func(t *providerTwin, env *vsstest.ProviderEnv) {
		t.calls["Delete"] = func(ctx context.Context, id guid.GUID) error {
			for _, v := range env.Volumes {
				for _, other := range v.Shadows() {
					if other != id {
						_ = v.DeleteShadow(ctx, other)
					}
				}
			}
			return t.Provider.DeleteSnapshot(ctx, id)
		}
	}},
	{"persistent copies of FAT32 are promised", "a volume that is supported", func(t *providerTwin, _ *vsstest.ProviderEnv) {
		t.supported = func(vss.Volume, vss.SnapshotContext) (bool, error) { return true, nil }
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			if ok, err := t.Provider.IsVolumeSupported(ctx, r.Volume, r.Context); err != nil || !ok {
				return vss.ErrVolumeNotSupported
			}
			return t.Provider.BeginPrepareSnapshot(ctx, r)
		}
	}},
	{"the error of a full diff area is lost", "a finished copy stays", func(t *providerTwin, env *vsstest.ProviderEnv) {
		t.calls["Commit"] = func(ctx context.Context, set guid.GUID) error {
			_ = t.Provider.CommitSnapshots(ctx, set)
			return nil
		}
	}},
	{"a copy that was taken too late stays", "nothing is left of a set", func(t *providerTwin, env *vsstest.ProviderEnv) {
		taken := map[guid.GUID]vss.Volume{}
		t.begin = func(ctx context.Context, r vss.PrepareRequest) error {
			taken[r.Snapshot] = r.Volume
			return t.Provider.BeginPrepareSnapshot(ctx, r)
		}
		t.calls["Commit"] = func(ctx context.Context, set guid.GUID) error {
			if err := t.Provider.CommitSnapshots(ctx, set); err != nil {
				for id, v := range taken {
					_ = v.CreateShadow(context.WithoutCancel(ctx), id)
				}
				return err
			}
			clear(taken)
			return nil
		}
		t.calls["Abort"] = func(ctx context.Context, set guid.GUID) error {
			clear(taken)
			return t.Provider.AbortSnapshots(ctx, guid.GUID{})
		}
	}},
}

func TestSystemProviderTwins(t *testing.T) {
	if racing {
		t.Skip("some of the broken twins are data races")
	}
	for _, m := range systemTwins {
		t.Run(m.mistake, func(t *testing.T) {
			catch(t, m.breaks, vsstest.ProviderOptions{}, func(_ context.Context, env *vsstest.ProviderEnv) (vss.Provider, error) {
				tw := &providerTwin{Provider: env.Service.Provider(vss.SystemProviderID), calls: map[string]setCall{}}
				m.make(tw, env)
				return tw, nil
			})
		})
	}
}
