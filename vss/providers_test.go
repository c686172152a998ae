package vss_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A picky is a mirror that takes certain volumes and answers as it is told.
type picky struct {
	mirror
	takes   []string // names of volumes
	answers map[string]error
	commit  func(ctx context.Context) error
}

func newPicky(takes ...string) *picky {
	return &picky{mirror: mirror{pending: map[guid.GUID]*disk{}, copies: map[guid.GUID]string{}}, takes: takes, answers: map[string]error{}}
}

func (p *picky) IsVolumeSupported(_ context.Context, v vss.Volume, _ vss.SnapshotContext) (bool, error) {
	return slices.Contains(p.takes, v.Name()), p.answers["supported"]
}

func (p *picky) BeginPrepareSnapshot(ctx context.Context, r vss.PrepareRequest) error {
	return errors.Join(p.did("Begin "+r.Volume.Name()), p.mirror.BeginPrepareSnapshot(ctx, r), p.answers["begin"])
}

func (p *picky) EndPrepareSnapshots(ctx context.Context, set guid.GUID) error {
	_ = p.mirror.EndPrepareSnapshots(ctx, set)
	return p.answers["end"]
}

func (p *picky) CommitSnapshots(ctx context.Context, set guid.GUID) error {
	if p.commit != nil {
		if err := p.commit(ctx); err != nil {
			return err
		}
	}
	return p.mirror.CommitSnapshots(ctx, set)
}

func (p *picky) AbortSnapshots(ctx context.Context, set guid.GUID) error {
	_ = p.mirror.AbortSnapshots(ctx, set)
	return p.answers["abort"]
}

func (p *picky) DeleteSnapshot(ctx context.Context, id guid.GUID) error {
	_ = p.mirror.DeleteSnapshot(ctx, id)
	return p.answers["delete"]
}

// TestProviderSelection: without a name any hardware provider that takes the
// volume, else any software provider, else the system provider; with a name that
// one or none. Client-accessible copies are the system provider's alone, and the
// volumes of a set may have different ones.
func TestProviderSelection(t *testing.T) {
	type registered struct {
		name  string
		kind  vss.ProviderType
		takes []string
	}
	const c, d = `C:\`, `D:\`
	hw := registered{"hardware", vss.ProviderHardware, []string{c}}
	hw2 := registered{"second hardware", vss.ProviderHardware, []string{c, d}}
	sw := registered{"software", vss.ProviderSoftware, []string{c, d}}
	unsaid := registered{"without a kind", vss.ProviderUnknown, []string{c, d}}
	for _, tt := range []struct {
		name    string
		have    []registered
		context vss.SnapshotContext
		named   string
		want    [2]string // for C: and D:
		code    vss.HRESULT
	}{
		{name: "the system provider alone", want: [2]string{"system", "system"}},
		{name: "software before the system", have: []registered{sw}, want: [2]string{"software", "software"}},
		{name: "hardware before software, whatever the order", have: []registered{sw, hw2}, want: [2]string{"second hardware", "second hardware"}},
		{name: "a provider for each volume", have: []registered{hw, sw}, want: [2]string{"hardware", "software"}},
		{name: "of several, the first that was registered", have: []registered{hw, hw2}, want: [2]string{"hardware", "second hardware"}},
		{name: "a provider without a kind is software", have: []registered{unsaid, hw}, want: [2]string{"hardware", "without a kind"}},
		{name: "for clients the system provider", have: []registered{sw, hw2}, context: vss.ContextClientAccessible, want: [2]string{"system", "system"}},
		{name: "by name", have: []registered{hw2, sw}, named: "software", want: [2]string{"software", "software"}},
		{name: "by name, refused", have: []registered{hw, sw}, named: "hardware", want: [2]string{"hardware", ""}, code: vss.ErrVolumeNotSupportedByProvider},
		{name: "by name, for clients", have: []registered{sw}, context: vss.ContextClientAccessible, named: "software", code: vss.ErrVolumeNotSupportedByProvider},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			ids := map[guid.GUID]string{vss.SystemProviderID: "system"}
			var explicit guid.GUID
			for i, r := range tt.have {
				id := guid.GUID{0x70, byte(i)}
				ids[id] = r.name
				if r.name == tt.named {
					explicit = id
				}
				m.must(m.s.RegisterProvider(newPicky(r.takes...), vss.ProviderConfig{ID: id, Name: r.name, Type: r.kind}))
			}
			if got := m.s.Providers(); len(got) != len(tt.have)+1 || got[0].ID != vss.SystemProviderID || got[0].Type != vss.ProviderSystem {
				t.Errorf("%+v", got)
			}
			if tt.context == 0 {
				tt.context = vss.ContextNASRollback
			}
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.started(ctx, tt.context)
				var code error
				for i, volume := range []string{c, d} {
					if _, e := b.AddToSnapshotSet(ctx, volume, explicit); e != nil {
						code = e
						if tt.want[i] != "" {
							t.Errorf("%s: %v", volume, e)
						}
					}
				}
				if vss.HRESULTOf(code) != tt.code {
					t.Errorf("%v, not %v", code, tt.code)
				}
				err = errors.Join(err, b.DoSnapshotSet(ctx))
				for _, p := range m.s.Snapshots() {
					i := 0
					if p.OriginalVolumeName == `\\?\Volume`+guid.Braced(m.d.id)+`\` {
						i = 1
					}
					if got := ids[p.ProviderID]; got != tt.want[i] {
						t.Errorf("%s is the copy of %s", got, tt.want[i])
					}
				}
				return errors.Join(err, b.Release(ctx))
			}))
		})
	}
}

// TestProviderCodeTranslation: each code that a provider may return arrives as it
// is; all others arrive as UNEXPECTED_PROVIDER_ERROR, from every call but
// AbortSnapshots, whose result is nobody's business.
func TestProviderCodeTranslation(t *testing.T) {
	same := []vss.HRESULT{vss.ErrOutOfMemory, vss.ErrInvalidArg, vss.ErrAccessDenied, vss.ErrBadState, vss.ErrObjectNotFound,
		vss.ErrInsufficientStorage, vss.ErrVolumeNotSupported, vss.ErrVolumeNotSupportedByProvider, vss.ErrMaximumNumberOfSnapshotsReached,
		vss.ErrProviderVeto, vss.ErrCannotRevertDiskID, vss.ErrRebootRequired}
	unexpected := []vss.HRESULT{vss.SFalse, vss.ErrFail, vss.ErrUnexpected, vss.ErrAbort, vss.ErrNotImpl, vss.ErrPointer, vss.ErrCOMUnexpected,
		vss.ErrHoldWritesTimeout, vss.ErrSnapshotSetInProgress, vss.ErrWriterErrorRetryable, vss.ErrUnexpectedProviderError, vss.HRESULT(0x80070020)}
	want := make(map[vss.HRESULT]vss.HRESULT)
	for _, h := range same {
		want[h] = h
	}
	for _, h := range unexpected {
		want[h] = vss.ErrUnexpectedProviderError
	}
	for h, arrives := range want {
		for _, step := range []string{"supported", "begin", "end", "abort", "delete"} {
			t.Run(fmt.Sprintf("%s %v", step, h), func(t *testing.T) {
				m := newMachine(t, vss.ServiceConfig{})
				p := newPicky(`C:\`, `D:\`)
				id := guid.GUID{0x71}
				m.must(m.s.RegisterProvider(p, vss.ProviderConfig{ID: id, Name: "picky"}))
				p.answers[step] = fmt.Errorf("the disk array: %w", h)
				if step == "abort" {
					p.answers["end"] = vss.ErrProviderVeto
				}
				m.must(m.as(func(ctx context.Context) error {
					b, err := m.started(ctx, vss.ContextFileShareBackup)
					_, got := b.AddToSnapshotSet(ctx, `C:\`, id)
					if got == nil {
						got = b.DoSnapshotSet(ctx)
					}
					expected := arrives
					switch step {
					case "abort":
						expected = vss.ErrProviderVeto
					case "delete":
						if got != nil {
							t.Errorf("%v", got)
						}
						got = b.Release(ctx)
						if h == vss.ErrObjectNotFound { // it is gone, which was wanted
							expected = vss.SOK
						}
					}
					if vss.HRESULTOf(got) != expected {
						t.Errorf("%v arrives as %v, not %v", h, got, expected)
					}
					return errors.Join(err, b.Release(ctx))
				}))
			})
		}
	}
}

// TestAbandonedSet: a provider hears nothing of a set that was given up before
// DoSnapshotSet, by AbortBackup or Release; it learns of it by a BeginPrepare for
// another set. After EndPrepareSnapshots it is told.
func TestAbandonedSet(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context, p *picky, b *vss.BackupComponents) error
		want string
	}{
		{"AbortBackup", func(ctx context.Context, _ *picky, b *vss.BackupComponents) error { return b.AbortBackup(ctx) }, `[Begin C:\ Begin D:\]`},
		{"Release", func(ctx context.Context, _ *picky, b *vss.BackupComponents) error { return b.Release(ctx) }, `[Begin C:\ Begin D:\]`},
		{"a failed set", func(ctx context.Context, p *picky, b *vss.BackupComponents) error {
			p.answers["end"] = vss.ErrProviderVeto
			if err := b.DoSnapshotSet(ctx); !errors.Is(err, vss.ErrProviderVeto) {
				return fmt.Errorf("it did not fail: %v", err)
			}
			return nil
		}, `[Begin C:\ EndPrepare Abort Begin D:\]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{})
			p := newPicky(`C:\`, `D:\`)
			m.must(m.s.RegisterProvider(p, vss.ProviderConfig{ID: guid.GUID{0x71}, Name: "picky"}))
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.started(ctx, vss.ContextFileShareBackup)
				_, e := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
				err = errors.Join(err, e, tt.end(ctx, p, b), b.Release(ctx))
				second, e := m.started(ctx, vss.ContextFileShareBackup)
				_, e2 := second.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
				return errors.Join(err, e, e2, second.Release(ctx))
			}))
			if got := fmt.Sprint(p.step); got != tt.want {
				t.Errorf("the provider heard %s", got)
			}
		})
	}
}

// TestTwoClocks: writes are held for 10 s at most and a writer is frozen for its
// window at most; each has its own error, and one does not wait for the other.
func TestTwoClocks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		plan   string
		window time.Duration
		set    vss.HRESULT   // of DoSnapshotSet
		writer vss.HRESULT   // of B
		after  time.Duration // when DoSnapshotSet has ended
	}{
		{"within both", "provider/commit delay=9s", 0, vss.SOK, vss.SOK, 9 * time.Second},
		{"the hold runs out", "provider/commit delay=30s", 0, vss.ErrHoldWritesTimeout, vss.SOK, 10 * time.Second},
		{"the freeze runs out", "provider/post-commit delay=61s", 0, vss.SOK, timedOut, 61 * time.Second},
		{"a writer that allows 5 s, within the hold", "provider/commit delay=9s", 5 * time.Second, vss.SOK, timedOut, 9 * time.Second},
		{"both, the writer first", "provider/commit delay=30s", 5 * time.Second, vss.ErrHoldWritesTimeout, timedOut, 10 * time.Second},
		{"a writer that allows more", "provider/post-commit delay=61s", 2 * time.Minute, vss.SOK, vss.SOK, 61 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{}, sim.Plan(tt.plan))
			m.b.sub.Unsubscribe()
			m.b = m.subscribe("B2", vss.WriterConfig{Level: vss.LevelBackEnd, FreezeTimeout: tt.window})
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.prepared(ctx, m.b)
				if got := b.DoSnapshotSet(ctx); vss.HRESULTOf(got) != tt.set {
					t.Errorf("%v", got)
				}
				if sim.Now(ctx) != tt.after {
					t.Errorf("it ended at %v", sim.Now(ctx))
				}
				_, code, e := status(ctx, b, m.b)
				if code != tt.writer {
					t.Errorf("the writer: %v", code)
				}
				return errors.Join(err, e, b.AbortBackup(ctx), b.Release(ctx))
			}))
		})
	}
}

// TestWriteInsideCommit: a provider that writes to a volume of the set in
// CommitSnapshots waits for the writes to go on, which wait for it: after 10 s the
// hold is dropped and the set has failed.
func TestWriteInsideCommit(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	p := newPicky(`C:\`, `D:\`)
	m.must(m.s.RegisterProvider(p, vss.ProviderConfig{ID: guid.GUID{0x71}, Name: "picky"}))
	p.commit = func(ctx context.Context) error { return m.d.write(ctx, "a log of mine") }
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.prepared(ctx, m.f, m.b)
		if got := b.DoSnapshotSet(ctx); !errors.Is(got, vss.ErrHoldWritesTimeout) || sim.Now(ctx) != vss.HoldTimeout {
			t.Errorf("%v at %v", got, sim.Now(ctx))
		}
		p.commit = nil
		return errors.Join(err, b.AbortBackup(ctx), b.Release(ctx))
	}))
	m.must(m.s.UnregisterProvider(guid.GUID{0x71}))
	m.settled()
}

// TestDiffAreaLimits: a copy wants some room in a diff area that has a limit, and
// as much as Windows does where that is asked for.
func TestDiffAreaLimits(t *testing.T) {
	const megabyte = 1 << 20
	for _, tt := range []struct {
		minimum, used, maximum int64
		want                   vss.HRESULT
	}{
		{0, 10, 0, vss.SOK}, {0, 9, 10, vss.SOK}, {0, 10, 10, vss.ErrInsufficientStorage}, {0, 11, 10, vss.ErrInsufficientStorage},
		{320 * megabyte, 0, 320 * megabyte, vss.SOK}, {320 * megabyte, 1, 320 * megabyte, vss.ErrInsufficientStorage},
		{320 * megabyte, 1, 0, vss.SOK}, {32 * megabyte, 0, 31 * megabyte, vss.ErrInsufficientStorage},
	} {
		m := newMachine(t, vss.ServiceConfig{MinDiffArea: tt.minimum})
		m.d.used, m.d.maximum = tt.used, tt.maximum
		m.must(m.as(func(ctx context.Context) error {
			b, _, err := m.take(ctx, vss.ContextFileShareBackup, `D:\`)
			if vss.HRESULTOf(err) != tt.want {
				t.Errorf("%+v: %v", tt, err)
			}
			return b.Release(ctx)
		}))
		m.d.used, m.d.maximum = 0, 0
		m.settled()
	}
}

// TestCopiesPerVolume: 64 client-accessible copies of a volume, of which the
// oldest goes for a new one; 512 copies altogether, and the next one is refused.
// The copies of another volume, and those that are not for clients, stay.
func TestCopiesPerVolume(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	var ids []guid.GUID
	take := func(ctx context.Context, c vss.SnapshotContext, volume string) error {
		b, id, err := m.take(ctx, c, volume)
		ids = append(ids, id...)
		return errors.Join(err, b.Release(ctx))
	}
	m.must(m.as(func(ctx context.Context) error {
		err := errors.Join(take(ctx, vss.ContextNASRollback, `D:\`), take(ctx, vss.ContextClientAccessible, `C:\`))
		for range vss.MaxClientAccessibleSnapshots + 2 {
			err = errors.Join(err, take(ctx, vss.ContextClientAccessible, `D:\`))
		}
		return err
	}))
	list := m.s.Snapshots()
	if want := 2 + vss.MaxClientAccessibleSnapshots; len(list) != want {
		t.Fatalf("%d copies", len(list))
	}
	for i, want := range append(slices.Clone(ids[:2]), ids[4:]...) {
		if list[i].SnapshotID != want {
			t.Fatalf("copy %d is another one", i)
		}
	}
	for i := len(m.d.shadows); i < vss.MaxSoftwareSnapshots; i++ {
		m.d.shadows = append(m.d.shadows, &shadow{id: guid.GUID{1, byte(i), byte(i >> 8)}})
	}
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.started(ctx, vss.ContextNASRollback)
		if _, e := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{}); !errors.Is(e, vss.ErrMaximumNumberOfSnapshotsReached) {
			t.Errorf("%v", e)
		}
		_, e := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{})
		return errors.Join(err, e, b.Release(ctx))
	}))
}

// TestOldestCopiesGo: a volume without room for its copies drops the oldest ones,
// and the service no longer knows them.
func TestOldestCopiesGo(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.as(func(ctx context.Context) error {
		first, ids, err := m.take(ctx, vss.ContextNASRollback, `C:\`, `D:\`)
		second, ids2, e := m.take(ctx, vss.ContextNASRollback, `D:\`)
		p, e2 := first.GetSnapshotProperties(ids[1])
		m.d.shadows = m.d.shadows[1:]
		list, e3 := second.Query(ctx)
		if len(list) != 2 || list[0].SnapshotID != ids[0] || list[1].SnapshotID != ids2[0] {
			t.Errorf("%+v", list)
		}
		if _, e := first.GetSnapshotProperties(ids[1]); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("%v", e)
		}
		if _, e := m.s.Open(p.DeviceObject); !errors.Is(e, vss.ErrObjectNotFound) {
			t.Errorf("%v", e)
		}
		return errors.Join(err, e, e2, e3, first.Release(ctx), second.Release(ctx))
	}))
}

// TestHardwareSetCopies: the properties of a copy say what made it.
func TestHardwareSetCopies(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{})
	m.must(m.s.RegisterProvider(newArray(make(map[guid.GUID]string)), vss.ProviderConfig{ID: arrayID, Name: "array", Type: vss.ProviderHardware}))
	m.must(m.as(func(ctx context.Context) error {
		b, err := m.started(ctx, vss.ContextNASRollback)
		ids := map[guid.GUID]vss.SnapshotAttributes{}
		for p, want := range map[guid.GUID]vss.SnapshotAttributes{arrayID: vss.AttrHardwareAssisted, vss.SystemProviderID: vss.AttrDifferential} {
			id, e := b.AddToSnapshotSet(ctx, map[bool]string{true: `C:\`, false: `D:\`}[p == arrayID], p)
			ids[id] = want
			err = errors.Join(err, e)
		}
		err = errors.Join(err, b.DoSnapshotSet(ctx))
		const base = vss.AttrPersistent | vss.AttrNoAutoRelease | vss.AttrNoWriters | vss.AttrNotSurfaced
		for id, want := range ids {
			p, e := b.GetSnapshotProperties(id)
			if p.Attributes != base|want || p.SnapshotsCount != 2 {
				t.Errorf("%v of %d", p.Attributes, p.SnapshotsCount)
			}
			files, e2 := m.s.Open(p.DeviceObject)
			data, e3 := fs.ReadFile(files, "data")
			if string(data) != "first" {
				t.Errorf("%s", data)
			}
			err = errors.Join(err, e, e2, e3)
		}
		return errors.Join(err, b.Release(ctx))
	}))
}

// TestBreakCodes: a disk identity that cannot be given back has a code of its own,
// and options that exclude each other are refused.
func TestBreakCodes(t *testing.T) {
	for _, tt := range []struct {
		plan    string
		options vss.HardwareOptions
		want    vss.HRESULT
	}{
		{"", vss.BreakMakeReadWrite | vss.BreakRevertIdentityAll, vss.SOK},
		{"provider/break err=0x800423FE", vss.BreakRevertIdentityAll, vss.ErrBreakRevertIDFailed},
		{"provider/break err=0x80042306", 0, vss.ErrProviderVeto},
		{"", vss.BreakRevertIdentityAll | vss.BreakRevertIdentityNone, vss.ErrInvalidArg},
	} {
		m := newMachine(t, vss.ServiceConfig{}, sim.Plan(plan(tt.plan)...))
		m.must(m.s.RegisterProvider(newArray(make(map[guid.GUID]string)), vss.ProviderConfig{ID: arrayID, Name: "array", Type: vss.ProviderHardware}))
		m.must(m.as(func(ctx context.Context) error {
			b, ids, err := m.take(ctx, vss.ContextNASRollback, `C:\`)
			p, e := b.GetSnapshotProperties(ids[0])
			if got := b.BreakSnapshotSet(ctx, p.SnapshotSetID, tt.options); vss.HRESULTOf(got) != tt.want {
				t.Errorf("%v, %v: %v", tt.plan, tt.options, got)
			}
			if left := len(m.s.Snapshots()); (left == 0) != (tt.want == vss.SOK) {
				t.Errorf("%v: %d copies are left", tt.plan, left)
			}
			return errors.Join(err, e, b.Release(ctx))
		}))
	}
}

// A sliced is a volume that shares its disk with others.
type sliced struct {
	*disk
	of guid.GUID
}

func (s sliced) Disk() [16]byte { return s.of }

// TestUnselectedVolume: RecoverSet does not write over a disk with volumes that
// were not chosen, unless it is told not to look.
func TestUnselectedVolume(t *testing.T) {
	for _, tt := range []struct {
		chosen  []string
		options vss.RecoveryOptions
		want    vss.HRESULT
	}{
		{[]string{`E:\`}, 0, vss.ErrUnselectedVolume},
		{[]string{`E:\`, `F:\`}, 0, vss.SOK},
		{[]string{`E:\`}, vss.RecoveryNoVolumeCheck, vss.SOK},
		{[]string{`G:\`}, 0, vss.SOK},
		{[]string{`C:\`}, 0, vss.SOK},
		{nil, 0, vss.ErrObjectNotFound},
	} {
		m := newMachine(t, vss.ServiceConfig{})
		a := newArray(make(map[guid.GUID]string))
		m.must(m.s.RegisterProvider(resyncs{a}, vss.ProviderConfig{ID: arrayID, Name: "array", Type: vss.ProviderHardware}))
		for name, of := range map[string]byte{"E:": 1, "F:": 1, "G:": 2} {
			m.must(m.s.AddVolume(sliced{newDisk(name), guid.GUID{of}}))
		}
		m.must(m.as(func(ctx context.Context) error {
			b, ids, err := m.take(ctx, vss.ContextFileShareBackup.With(vss.AttrTransportable), `C:\`)
			xml, e := b.SaveAsXML()
			r, e2 := m.s.CreateBackupComponents(ctx)
			err = errors.Join(err, e, e2, b.Release(ctx), r.InitializeForRestore(ctx, newReader(xml)))
			for _, v := range tt.chosen {
				err = errors.Join(err, r.AddSnapshotToRecoverySet(ctx, ids[0], v))
			}
			if got := r.RecoverSet(ctx, tt.options); vss.HRESULTOf(got) != tt.want {
				t.Errorf("%v, %v: %v", tt.chosen, tt.options, got)
			}
			return errors.Join(err, r.Release(ctx))
		}))
	}
}

// resyncs is an array that writes copies back over any volume.
type resyncs struct{ *array }

func (resyncs) ResyncSnapshot(context.Context, vss.ResyncRequest) error { return nil }
