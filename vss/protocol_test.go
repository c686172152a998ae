package vss_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A disk is a volume for tests: one file, a gate for its writes, shadow copies.
type disk struct {
	name, fileSystem string
	id               guid.GUID
	gate             sim.Gate
	data             string
	shadows          []*shadow
	used, maximum    int64
	below            *guid.GUID
	flush            func(ctx context.Context) error
}

type shadow struct {
	id     guid.GUID
	data   string
	sealed bool
}

func newDisk(name string) *disk {
	d := &disk{name: name + `\`, fileSystem: "NTFS", data: "first"}
	copy(d.id[:], name)
	return d
}

func (d *disk) ID() [16]byte       { return d.id }
func (d *disk) Name() string       { return d.name }
func (d *disk) FileSystem() string { return d.fileSystem }

func (d *disk) FlushAndHold(ctx context.Context) error {
	if d.flush != nil {
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
	d.gate.Shut()
	return nil
}

func (d *disk) Release() { d.gate.Open() }

func (d *disk) write(ctx context.Context, s string) error {
	if err := d.gate.Pass(ctx); err != nil {
		return err
	}
	d.data = s
	return nil
}

func (d *disk) find(id guid.GUID) (*shadow, error) {
	for _, s := range d.shadows {
		if s.id == id {
			return s, nil
		}
	}
	return nil, fs.ErrNotExist
}

func (d *disk) CreateShadow(_ context.Context, id [16]byte) error {
	if !d.gate.IsShut() {
		return errors.New("a copy while writes go on")
	}
	d.shadows = append(d.shadows, &shadow{id: id, data: d.data})
	return nil
}

func (d *disk) SealShadow(_ context.Context, id [16]byte) error {
	s, err := d.find(id)
	if err == nil {
		s.sealed = true
	}
	return err
}

func (d *disk) DeleteShadow(_ context.Context, id [16]byte) error {
	s, err := d.find(id)
	d.shadows = slices.DeleteFunc(d.shadows, func(o *shadow) bool { return o == s })
	return err
}

func (d *disk) OpenShadow(id [16]byte) (fs.FS, error) {
	s, err := d.find(id)
	if err != nil {
		return nil, err
	}
	return oneFile(s.data), nil
}

func oneFile(data string) fs.FS { return fstest.MapFS{"data": {Data: []byte(data)}} }

func (d *disk) Shadows() [][16]byte {
	var out [][16]byte
	for _, s := range d.shadows {
		out = append(out, s.id)
	}
	return out
}

func (d *disk) DiffArea() (used, maximum int64) { return d.used, d.maximum }

func (d *disk) Below() ([16]byte, bool) {
	if d.below == nil {
		return guid.GUID{}, false
	}
	return *d.below, true
}

// An app is a writer for tests. It keeps the promises of a writer and notes what
// it is told; on, if set, decides how a handler ends.
type app struct {
	name   string
	class  guid.GUID
	actor  *sim.Actor
	sub    *vss.Subscription
	flags  vss.ComponentFlags
	schema vss.BackupSchema
	heard  []string
	frozen bool
	on     map[vss.Event]func(ctx context.Context, ev any) error
	extra  []vss.ComponentInfo
}

func (a *app) tell(ctx context.Context, e vss.Event, ev any) error {
	a.heard = append(a.heard, e.String())
	if h := a.on[e]; h != nil {
		return h(ctx, ev)
	}
	return nil
}

func (a *app) Identify(ctx context.Context, ev *vss.IdentifyEvent) error {
	m := ev.Metadata
	err := errors.Join(
		m.SetBackupSchema(a.schema),
		m.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways}),
		m.AddComponent(vss.ComponentInfo{
			ComponentKey: vss.ComponentKey{Name: a.name}, Type: vss.ComponentFileGroup, Selectable: true, Flags: a.flags,
			Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `C:\` + a.name, Spec: "*"}}},
		}))
	for _, c := range a.extra {
		err = errors.Join(err, m.AddComponent(c))
	}
	return errors.Join(err, a.tell(ctx, vss.EventIdentify, ev))
}

func (a *app) PrepareBackup(ctx context.Context, ev *vss.PrepareBackupEvent) error {
	return a.tell(ctx, vss.EventPrepareBackup, ev)
}

func (a *app) PrepareSnapshot(ctx context.Context, ev *vss.PrepareSnapshotEvent) error {
	return a.tell(ctx, vss.EventPrepareSnapshot, ev)
}

func (a *app) Freeze(ctx context.Context, ev *vss.FreezeEvent) error {
	a.frozen = true
	return a.tell(ctx, vss.EventFreeze, ev)
}

func (a *app) Thaw(ctx context.Context, ev *vss.ThawEvent) error {
	a.frozen = false
	return a.tell(ctx, vss.EventThaw, ev)
}

func (a *app) Abort(ctx context.Context, ev *vss.AbortEvent) error {
	a.frozen = false
	return a.tell(ctx, vss.EventAbort, ev)
}

func (a *app) PostSnapshot(ctx context.Context, ev *vss.PostSnapshotEvent) error {
	return a.tell(ctx, vss.EventPostSnapshot, ev)
}

func (a *app) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	return a.tell(ctx, vss.EventBackupComplete, ev)
}

func (a *app) BackupShutdown(ctx context.Context, ev *vss.BackupShutdownEvent) error {
	return a.tell(ctx, vss.EventBackupShutdown, ev)
}

func (a *app) PreRestore(ctx context.Context, ev *vss.PreRestoreEvent) error {
	return a.tell(ctx, vss.EventPreRestore, ev)
}

func (a *app) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	return a.tell(ctx, vss.EventPostRestore, ev)
}

func (a *app) key() vss.ComponentChoice {
	return vss.ComponentChoice{WriterID: a.class, Type: vss.ComponentFileGroup, ComponentKey: vss.ComponentKey{Name: a.name}}
}

// A machine is a world with one service, two volumes, a front-end writer F and a
// back-end writer B, and a requester.
type machine struct {
	t         testing.TB
	w         *sim.World
	s         *vss.Service
	c, d      *disk
	f, b      *app
	requester *sim.Actor
}

func newMachine(t testing.TB, c vss.ServiceConfig, opts ...sim.Option) *machine {
	w := sim.New(opts...)
	t.Cleanup(func() { _ = w.Close() })
	return newMachineIn(t, w, c)
}

func newMachineIn(t testing.TB, w *sim.World, c vss.ServiceConfig) *machine {
	m := &machine{t: t, w: w, c: newDisk("C:"), d: newDisk("D:")}
	h := w.Actor("h1")
	m.s = vss.NewService(h.Child("vss"), c)
	m.requester = h.Child("backup")
	m.must(m.s.AddVolume(m.c), m.s.AddVolume(m.d))
	m.f = m.subscribe("F", vss.WriterConfig{Level: vss.LevelFrontEnd})
	m.b = m.subscribe("B", vss.WriterConfig{Level: vss.LevelBackEnd})
	return m
}

func (m *machine) must(errs ...error) {
	m.t.Helper()
	if err := errors.Join(errs...); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) subscribe(name string, c vss.WriterConfig) *app {
	m.t.Helper()
	a := &app{name: name, on: make(map[vss.Event]func(context.Context, any) error)}
	copy(a.class[:], "class of "+name)
	a.actor = m.s.Actor().Parent().Child(name)
	c.Actor, c.Name, c.ClassID = a.actor, name, a.class
	sub, err := m.s.Subscribe(a, c)
	m.must(err)
	a.sub = sub
	return a
}

// fails makes a handler return false with a code.
func (a *app) fails(e vss.Event, code vss.HRESULT) {
	a.on[e] = func(context.Context, any) error { return code }
}

// sets makes a handler set a failure and return true.
func (a *app) sets(e vss.Event, code vss.HRESULT) {
	a.on[e] = func(_ context.Context, ev any) error {
		return ev.(interface {
			Fail(vss.HRESULT, string) error
		}).Fail(code, "on purpose")
	}
}

func (a *app) sleeps(e vss.Event, d time.Duration) {
	a.on[e] = func(ctx context.Context, _ any) error { return sim.Sleep(ctx, d) }
}

// as runs fn as a process of the requester.
func (m *machine) as(fn func(ctx context.Context) error) error {
	return m.requester.Call(context.Background(), "backup", fn)
}

// prepared makes an object and brings it as far as PrepareForBackup.
func (m *machine) prepared(ctx context.Context, apps ...*app) (*vss.BackupComponents, error) {
	b, err := m.s.CreateBackupComponents(ctx)
	if err != nil {
		return nil, err
	}
	return b, steps(
		func() error { return b.InitializeForBackup(ctx, nil) },
		func() error {
			return b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull})
		},
		func() error { return b.GatherWriterMetadata(ctx) },
		func() error { return addAll(ctx, b, apps) },
		func() error { _, err := b.StartSnapshotSet(ctx); return err },
		func() error { _, err := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{}); return err },
		func() error { _, err := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{}); return err },
		func() error { return b.PrepareForBackup(ctx) },
	)
}

func addAll(ctx context.Context, b *vss.BackupComponents, apps []*app) error {
	n, err := b.GetWriterMetadataCount()
	for i := range n {
		md, e := b.GetWriterMetadata(i)
		err = errors.Join(err, e)
		for _, a := range apps {
			if md.Identity.WriterID == a.class {
				err = errors.Join(err, b.AddComponent(ctx, a.key()))
			}
		}
	}
	return err
}

func steps(fns ...func() error) error {
	for _, fn := range fns {
		if err := fn(); err != nil {
			return err
		}
	}
	return nil
}

// backup is a whole backup of both writers, as a careful requester makes it. It
// returns the document.
func (m *machine) backup(ctx context.Context) (xml []byte, err error) {
	b, err := m.prepared(ctx, m.f, m.b)
	if b == nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = b.AbortBackup(ctx)
		}
		err = errors.Join(err, b.Release(ctx))
	}()
	if err != nil {
		return nil, err
	}
	err = steps(
		func() error { return checkStatus(ctx, b) },
		func() error { return b.DoSnapshotSet(ctx) },
		func() error { return checkStatus(ctx, b) },
		func() error { return succeeded(ctx, b) },
		func() error { return b.BackupComplete(ctx) },
		func() error { return checkStatus(ctx, b) },
		func() error { xml, err = b.SaveAsXML(); return err },
	)
	return xml, err
}

func succeeded(ctx context.Context, b *vss.BackupComponents) error {
	n, err := b.GetWriterComponentsCount()
	for i := range n {
		w, e := b.GetWriterComponents(i)
		err = errors.Join(err, e)
		for _, c := range w.Components {
			key := vss.ComponentChoice{WriterID: w.WriterID, InstanceID: w.InstanceID, Type: c.Type, ComponentKey: c.ComponentKey}
			err = errors.Join(err, b.SetBackupSucceeded(ctx, key, true))
		}
	}
	return err
}

// checkStatus is the first writer's failure.
func checkStatus(ctx context.Context, b *vss.BackupComponents) error {
	if err := b.GatherWriterStatus(ctx); err != nil {
		return err
	}
	n, err := b.GetWriterStatusCount()
	for i := range n {
		st, e := b.GetWriterStatus(i)
		err = errors.Join(err, e, st.Err())
	}
	return err
}

// status is a writer's state and code, as the requester sees it.
func status(ctx context.Context, b *vss.BackupComponents, a *app) (vss.WriterState, vss.HRESULT, error) {
	if err := b.GatherWriterStatus(ctx); err != nil {
		return 0, 0, err
	}
	n, err := b.GetWriterStatusCount()
	for i := range n {
		if st, _ := b.GetWriterStatus(i); st.WriterID == a.class {
			return st.State, st.Code, err
		}
	}
	return 0, 0, fmt.Errorf("no status of %s: %w", a.name, err)
}

// settled demands that nothing is left of what was done: no lock, no hold, no
// copy that should be gone, no frozen writer, and that the next backup succeeds.
func (m *machine) settled() {
	m.t.Helper()
	m.w.Heal()
	if m.s.InProgress() {
		m.t.Error("a set is still in progress")
	}
	for _, d := range []*disk{m.c, m.d} {
		if d.gate.IsShut() {
			m.t.Errorf("%s is held", d.name)
		}
		if len(d.shadows) != 0 || len(m.s.Snapshots()) != 0 {
			m.t.Errorf("%s has %d copies, the service %d", d.name, len(d.shadows), len(m.s.Snapshots()))
		}
	}
	for _, a := range []**app{&m.f, &m.b} {
		if (*a).frozen && !(*a).actor.Dead() {
			m.t.Errorf("%s is frozen", (*a).name)
		}
		clear((*a).on)
		if (*a).actor.Dead() {
			*a = m.subscribe((*a).name, vss.WriterConfig{Level: (*a).sub.Level()})
		}
	}
	if m.requester.Dead() {
		m.requester = m.s.Actor().Parent().Child("backup")
	}
	if _, err := m.backup2(); err != nil {
		m.t.Errorf("the next backup: %v", err)
	}
}

func (m *machine) backup2() (xml []byte, err error) {
	err = m.as(func(ctx context.Context) error { xml, err = m.backup(ctx); return err })
	return xml, err
}
