package requester_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A drive is an in-memory volume as the service sees it.
type drive struct {
	*volume.Volume
	name string
	gate sim.Gate
}

func (d *drive) Name() string                       { return d.name }
func (d *drive) FlushAndHold(context.Context) error { d.gate.Shut(); return nil }
func (d *drive) Release()                           { d.gate.Open() }

func (d *drive) CreateShadow(_ context.Context, id [16]byte) error { return d.Volume.CreateShadow(id) }
func (d *drive) SealShadow(_ context.Context, id [16]byte) error   { return d.Volume.SealShadow(id) }
func (d *drive) DeleteShadow(_ context.Context, id [16]byte) error { return d.Volume.DeleteShadow(id) }

// An app is a writer with whatever components a test gives it. On, if set,
// decides how a handler ends.
type app struct {
	name     string
	class    guid.GUID
	instance string
	actor    *sim.Actor
	sub      *vss.Subscription
	schema   vss.BackupSchema
	restore  vss.RestorePolicy
	parts    []vss.ComponentInfo
	excludes []vss.FileSpec
	heard    []string
	statuses map[string]vss.FileRestoreStatus // by component, in PostRestore
	saved    map[string]bool                  // by component, in BackupComplete
	on       map[vss.Event]func(ctx context.Context, ev any) error
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
	err := errors.Join(m.SetBackupSchema(a.schema), m.SetRestoreMethod(a.restore))
	for _, l := range a.restore.AlternateLocations {
		err = errors.Join(err, m.AddAlternateLocationMapping(l))
	}
	for _, c := range a.parts {
		err = errors.Join(err, m.AddComponent(c))
	}
	for _, x := range a.excludes {
		err = errors.Join(err, m.AddExcludeFiles(x))
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
	return a.tell(ctx, vss.EventFreeze, ev)
}

func (a *app) Thaw(ctx context.Context, ev *vss.ThawEvent) error {
	return a.tell(ctx, vss.EventThaw, ev)
}

func (a *app) Abort(ctx context.Context, ev *vss.AbortEvent) error {
	return a.tell(ctx, vss.EventAbort, ev)
}

func (a *app) PostSnapshot(ctx context.Context, ev *vss.PostSnapshotEvent) error {
	return a.tell(ctx, vss.EventPostSnapshot, ev)
}

func (a *app) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	a.saved = make(map[string]bool)
	for _, c := range ev.Components().All() {
		a.saved[c.Key().FullPath()] = c.BackupSucceeded()
	}
	return a.tell(ctx, vss.EventBackupComplete, ev)
}

func (a *app) BackupShutdown(ctx context.Context, ev *vss.BackupShutdownEvent) error {
	return a.tell(ctx, vss.EventBackupShutdown, ev)
}

func (a *app) PreRestore(ctx context.Context, ev *vss.PreRestoreEvent) error {
	return a.tell(ctx, vss.EventPreRestore, ev)
}

func (a *app) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	a.statuses = make(map[string]vss.FileRestoreStatus)
	for _, c := range ev.Components().All() {
		if c.SelectedForRestore() {
			a.statuses[c.Key().FullPath()], _ = c.FileRestoreStatus()
		}
	}
	return a.tell(ctx, vss.EventPostRestore, ev)
}

// fails makes the writer refuse an event.
func (a *app) fails(e vss.Event, code vss.HRESULT) {
	a.does(e, func(context.Context, any) error { return code })
}

func (a *app) does(e vss.Event, fn func(ctx context.Context, ev any) error) {
	if a.on == nil {
		a.on = make(map[vss.Event]func(ctx context.Context, ev any) error)
	}
	a.on[e] = fn
}

// group is a group of files, each named by its path: D:\db\*.log, or, with all
// that lies below, D:\db\...\*.
func group(path string, files ...string) vss.ComponentInfo {
	var c vss.ComponentInfo
	c.Type, c.Selectable = vss.ComponentFileGroup, true
	if i := strings.LastIndex(path, `\`); i >= 0 {
		c.LogicalPath, path = path[:i], path[i+1:]
	}
	c.Name = path
	for _, f := range files {
		c.Files = append(c.Files, vss.FileSet{FileSpec: spec(f)})
	}
	return c
}

// tied is a component that cannot be chosen.
func tied(c vss.ComponentInfo) vss.ComponentInfo {
	c.Selectable = false
	return c
}

func spec(path string) vss.FileSpec {
	i := strings.LastIndex(path, `\`)
	dir, recursive := strings.CutSuffix(path[:i], `\...`)
	return vss.FileSpec{Path: dir, Spec: path[i+1:], Recursive: recursive}
}

// A lab is a machine with volumes C:, D: and E: and some writers.
type lab struct {
	t      *testing.T
	w      *sim.World
	h      *sim.Actor
	s      *vss.Service
	drives map[string]*volume.Volume
	files  *volume.Host
	apps   []*app
	target *requester.Memory
}

func newLab(t *testing.T, opts ...sim.Option) *lab {
	t.Helper()
	l := &lab{t: t, w: sim.New(opts...), drives: make(map[string]*volume.Volume), target: &requester.Memory{}}
	t.Cleanup(func() { _ = l.w.Close() })
	l.h = l.w.Actor("h1")
	l.s = vss.NewService(l.h.Child("vss"), vss.ServiceConfig{})
	views := make(map[string]fs.FS)
	for i, letter := range []string{"C", "D", "E"} {
		v := volume.New(volume.Config{ID: [16]byte{byte(i + 1)}})
		l.drives[letter], views[letter] = v, v.FS()
		l.must(l.s.AddVolume(&drive{Volume: v, name: letter + `:\`}))
	}
	var err error
	l.files, err = volume.NewHost(views)
	l.must(err)
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatalf("%v\n%s", err, l.w.Trace())
	}
}

// add subscribes a writer; it always takes part in restores unless it says
// otherwise.
func (l *lab) add(a *app) *app {
	l.t.Helper()
	if a.class == (guid.GUID{}) {
		copy(a.class[:], a.name)
	}
	if a.restore.Method == vss.MethodUndefined {
		a.restore.Method = vss.MethodRestoreIfCanReplace
	}
	if a.restore.WriterRestore == vss.WriterRestoreUndefined {
		a.restore.WriterRestore = vss.WriterRestoreAlways
	}
	a.actor = l.h.Child(a.name)
	var err error
	a.sub, err = l.s.Subscribe(a, vss.WriterConfig{Actor: a.actor, ClassID: a.class, Name: a.name, InstanceName: a.instance})
	l.must(err)
	l.apps = append(l.apps, a)
	return a
}

// write makes files, with the directories above them: path, content, …
func (l *lab) write(list ...string) {
	l.t.Helper()
	for i := 0; i < len(list); i += 2 {
		v, rest := l.split(list[i])
		l.must(v.MkdirAll(volume.Dir(rest)))
		l.must(v.WriteFile(rest, []byte(list[i+1])))
	}
}

func (l *lab) split(path string) (*volume.Volume, string) {
	l.t.Helper()
	letter, rest, err := volume.Split(path)
	l.must(err)
	return l.drives[letter], rest
}

func (l *lab) remove(paths ...string) {
	l.t.Helper()
	for _, path := range paths {
		v, rest := l.split(path)
		l.must(v.RemoveAll(rest))
	}
}

// has checks the files of the machine: path, content, …; a content of "-" is no
// file.
func (l *lab) has(list ...string) {
	l.t.Helper()
	for i := 0; i < len(list); i += 2 {
		v, rest := l.split(list[i])
		data, err := v.ReadFile(rest)
		if err != nil {
			data = []byte("-")
		}
		if string(data) != list[i+1] {
			l.t.Errorf("%s holds %q, want %q", list[i], data, list[i+1])
		}
	}
}

// listing is the names of all files, links and empty directories below a
// directory.
func listing(t *testing.T, fsys fs.FS, dir string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(fsys, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			names = append(names, name)
			return err
		}
		list, err := fs.ReadDir(fsys, name)
		if len(list) == 0 {
			names = append(names, name+"/")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func (l *lab) backup(mods ...func(*requester.Backup)) (*requester.Result, error) {
	b := &requester.Backup{Service: l.s, Target: l.target}
	for _, mod := range mods {
		mod(b)
	}
	return b.Run(l.t.Context())
}

func (l *lab) mustBackup(mods ...func(*requester.Backup)) *requester.Result {
	l.t.Helper()
	r, err := l.backup(mods...)
	l.must(err)
	l.settled()
	return r
}

func (l *lab) restore(mods ...func(*requester.Restore)) (*requester.Report, error) {
	r := &requester.Restore{Service: l.s, Source: l.target, Destination: l.files}
	for _, mod := range mods {
		mod(r)
	}
	return r.Run(l.t.Context())
}

func (l *lab) mustRestore(mods ...func(*requester.Restore)) *requester.Report {
	l.t.Helper()
	r, err := l.restore(mods...)
	l.must(err)
	l.settled()
	return r
}

func (l *lab) settled() {
	l.t.Helper()
	l.must(l.w.Advance(5 * time.Minute))
	if left := l.s.Leftovers(); len(left) > 0 {
		l.t.Errorf("left over: %q", left)
	}
}

// asFailed checks an error of a run: its phase, a code, and the failed writers.
func (l *lab) asFailed(err error, phase string, code error, writers ...string) {
	l.t.Helper()
	e, ok := errors.AsType[*requester.Error](err)
	if !ok {
		l.t.Fatalf("the error is %v\n%s", err, l.w.Trace())
	}
	var names []string
	for _, w := range e.Writers {
		names = append(names, w.Name)
	}
	if e.Phase != phase || !errors.Is(err, code) || !slices.Equal(names, writers) {
		l.t.Errorf("failed in %s, writers %v: %v; want %s, %v, %v", e.Phase, names, err, phase, writers, code)
	}
	text := fmt.Sprint(code)
	if h, ok := code.(vss.HRESULT); ok && h.Facility() == 7 {
		text = "" // the volume prints its own number
	} else if ok {
		text = fmt.Sprintf("0x%08X", uint32(h))
	}
	if !strings.HasPrefix(e.Error(), phase+": ") || !strings.Contains(e.Error(), text) {
		l.t.Errorf("the error reads %q", e)
	}
}

// noDocument checks that the target is not taken for a whole backup.
func (l *lab) noDocument() {
	l.t.Helper()
	if _, err := fs.Stat(l.target, requester.DocumentName); !errors.Is(err, fs.ErrNotExist) {
		l.t.Errorf("the target has a document: %v", err)
	}
}

func is(fullPath string) func(*vss.WriterMetadata, *vss.ComponentInfo) bool {
	return func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool { return c.FullPath() == fullPath }
}
