package vsstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// errGaveUp is a requester that gives up as its script says.
var errGaveUp = errors.New("the requester gives up")

// A round is one requester's backup.
type round struct {
	run       *writerRun
	st        step
	requester *sim.Actor
	b         *vss.BackupComponents
	metadata  *vss.WriterMetadata // of the writer under test
	own       bool                // the writer's volumes are in the set
	ids       map[string]guid.GUID
	strict    bool     // nothing goes wrong
	files     contents // what the backup holds
	hooks     []*hook
}

// backup makes a backup as the step says.
func (r *writerRun) backup(ctx context.Context, st step) error {
	x := &round{
		run: r, st: st, requester: r.machine.Child("requester"), ids: make(map[string]guid.GUID), own: st.get("set") != "system",
		strict: r.calm(st),
	}
	x.plan()
	err := x.requester.Call(ctx, "backup", x.make)
	if e := x.leave(ctx); e != nil {
		return e
	}
	if e := r.awaitService(ctx); e != nil {
		return e
	}
	if err != nil && x.strict && !errors.Is(err, errGaveUp) {
		r.breaks(promiseClean, "the requester", r.at(), "%s", oneLine(err))
	}
	return ctx.Err()
}

// awaitService waits until the service has taken back what a requester left that
// died.
func (r *writerRun) awaitService(ctx context.Context) error {
	busy := func(left string) bool {
		return strings.Contains(left, "session") || strings.Contains(left, "being created")
	}
	for range 1000 {
		if len(r.active) > 0 || !slices.ContainsFunc(r.service.Leftovers(), busy) {
			break
		}
		if err := sim.Sleep(ctx, loadRest); err != nil {
			return err
		}
	}
	return nil
}

// calm tells whether nothing goes wrong in a step: no fault is planned, the
// requester does not give up, and nobody kills the writer.
func (r *writerRun) calm(st step) bool {
	doomed := slices.ContainsFunc(r.active, func(x *round) bool { return x.st.get("dies") != "" })
	return !r.faulty && !doomed && st.get("until") == "" && st.get("dies") == "" && !r.env.Actor.Dead()
}

// plan sets up what is to happen behind events.
func (x *round) plan() {
	r := x.run
	r.active = append(r.active, x)
	if e := x.st.get("dies"); e != "" {
		victim := r.env.Actor
		x.hooks = append(x.hooks, &hook{event: e, name: "killer", fn: func(context.Context) error { victim.Kill(); return nil }})
	}
	if e := x.st.get("until"); isEvent(e) {
		x.hooks = append(x.hooks, &hook{event: e, name: "saboteur", fn: func(ctx context.Context) error { return x.giveUp(ctx) }})
	}
	if e, what, ok := strings.Cut(x.st.get("beside"), ":"); ok {
		x.hooks = append(x.hooks, &hook{event: e, name: "beside", fn: func(ctx context.Context) error { return r.besideOf(ctx, what) }})
	}
}

// isEvent tells whether the requester gives up behind an event of the writer.
func isEvent(until string) bool {
	for _, e := range untilEvents {
		if e == until && e != "BackupComplete" {
			return true
		}
	}
	return false
}

// settle waits for what was started behind events.
func (x *round) settle(ctx context.Context) error {
	for _, h := range x.hooks {
		if h.proc != nil {
			_ = h.proc.Wait(ctx)
		}
	}
	return ctx.Err()
}

// leave ends the round.
func (x *round) leave(ctx context.Context) error {
	r := x.run
	r.active = slices.DeleteFunc(r.active, func(o *round) bool { return o == x })
	return x.settle(ctx)
}

// giveUp is a requester that ends its backup early.
func (x *round) giveUp(ctx context.Context) error {
	if x.b == nil {
		return nil
	}
	switch x.st.get("how") {
	case "die":
		x.requester.Kill()
	case "abort":
		return x.b.AbortBackup(ctx)
	default:
		return x.b.Release(ctx)
	}
	return nil
}

// until gives up if the script says so behind the call.
func (x *round) until(ctx context.Context, method string) error {
	if x.st.get("until") != method || isEvent(method) {
		return nil
	}
	return errors.Join(x.giveUp(ctx), errGaveUp)
}

// besideOf is another requester.
func (r *writerRun) besideOf(ctx context.Context, what string) error {
	switch what {
	case "identify":
		return r.identify(ctx)
	case "backup":
		return r.other(ctx, "backup")
	case "aborted":
		return r.other(ctx, "backup until=PrepareForBackup how=abort")
	case "restore":
		return r.restore(ctx, "restore")
	}
	return nil
}

// other is a whole backup inside of another one.
func (r *writerRun) other(ctx context.Context, st step) error {
	again := r.current
	defer func() { r.current = again }()
	return r.backup(ctx, st)
}

// identify is a requester that asks for the metadata alone.
func (r *writerRun) identify(ctx context.Context) error {
	return r.machine.Child("asker").Call(ctx, "identify", func(ctx context.Context) error {
		b, err := r.service.CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		err = errors.Join(b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx))
		if err == nil {
			_, err = r.judgeMetadata(b)
		}
		return errors.Join(err, b.Release(ctx))
	})
}

// make is the requester's loop.
func (x *round) make(ctx context.Context) (err error) {
	x.run.current = x.st
	if x.b, err = x.run.service.CreateBackupComponents(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.b.Release(ctx)) }()
	for _, fn := range []func(context.Context) error{x.choose, x.startSet, x.prepare, x.snapshot, x.copy, x.complete} {
		if err := fn(ctx); err != nil {
			if !errors.Is(err, errGaveUp) && ctx.Err() == nil {
				_ = x.b.AbortBackup(ctx)
			}
			return err
		}
	}
	return nil
}

func (x *round) components() bool { return x.st.get("mode") != "volumes" }

// choose gathers the metadata and adds all components.
func (x *round) choose(ctx context.Context) error {
	c := contextOf[x.st.get("context")]
	err := errors.Join(x.b.InitializeForBackup(ctx, nil), x.b.SetContext(ctx, c),
		x.b.SetBackupState(ctx, vss.BackupState{SelectComponents: x.components(), Type: typeOf[x.st.get("type")]}))
	if err == nil {
		err = x.b.GatherWriterMetadata(ctx)
	}
	if err == nil {
		x.metadata, err = x.run.judgeMetadata(x.b)
	}
	if err == nil {
		err = x.until(ctx, "GatherWriterMetadata")
	}
	return err
}

// startSet begins the set and adds volumes and components.
func (x *round) startSet(ctx context.Context) error {
	if _, err := x.b.StartSnapshotSet(ctx); err != nil {
		return err
	}
	volumes := []vss.Volume{x.run.system}
	if x.own {
		volumes = append(volumes, x.run.own...)
	}
	for _, v := range volumes {
		id, err := x.b.AddToSnapshotSet(ctx, v.Name(), guid.GUID{})
		if err != nil {
			return err
		}
		x.ids[v.Name()] = id
	}
	if err := x.addComponents(ctx); err != nil {
		return err
	}
	return x.until(ctx, "AddToSnapshotSet")
}

// addComponents adds those of the writer and of its neighbour.
func (x *round) addComponents(ctx context.Context) error {
	if !x.components() || x.metadata == nil {
		return nil
	}
	for _, key := range vss.NewComponentTree(x.metadata.Components).Everything() {
		if err := x.b.AddComponent(ctx, x.choice(key)); err != nil {
			return err
		}
	}
	return x.b.AddComponent(ctx, neighboursFiles)
}

func (x *round) choice(key vss.ComponentKey) vss.ComponentChoice {
	id := x.metadata.Identity
	return vss.ComponentChoice{WriterID: id.WriterID, InstanceID: id.InstanceID, ComponentKey: key}
}

func (x *round) prepare(ctx context.Context) error {
	err := x.b.PrepareForBackup(ctx)
	if err == nil {
		err = x.status(ctx, vss.StateStable)
	}
	if err == nil {
		err = x.until(ctx, "PrepareForBackup")
	}
	return err
}

func (x *round) snapshot(ctx context.Context) error {
	if err := x.b.DoSnapshotSet(ctx); err != nil {
		return err
	}
	err := x.status(ctx, vss.StateWaitingForBackupComplete)
	if err == nil {
		err = x.until(ctx, "DoSnapshotSet")
	}
	return err
}

// status looks at the writer's state: where nothing goes wrong it is the one
// that is wanted.
func (x *round) status(ctx context.Context, want vss.WriterState) error {
	if err := x.b.GatherWriterStatus(ctx); err != nil {
		return err
	}
	st, ok := x.ownStatus()
	switch {
	case !ok || x.metadata == nil:
		return nil
	case x.strict && !x.own && st.Code == vss.ErrWriterErrorInconsistentSnapshot:
		return errGaveUp // it needs its volumes and says so
	case x.strict && !x.own && st.Code.Failed():
		x.run.breaks(promiseMissing, x.run.lastEvent(), x.run.at(), "the state is %v with %v: %s", st.State, st.Code, st.Message)
		return errGaveUp
	case x.strict && (st.State != want || st.Code.Failed()):
		x.run.breaks(promiseClean, x.run.failedEvent(), x.run.at(), "the state is %v with %v, not %v: %s", st.State, st.Code, want, st.Message)
		return errGaveUp
	}
	return st.Err()
}

func (x *round) ownStatus() (vss.WriterStatus, bool) {
	n, _ := x.b.GetWriterStatusCount()
	for i := range n {
		if st, err := x.b.GetWriterStatus(i); err == nil && st.WriterID == x.run.Config.ClassID {
			return st, true
		}
	}
	return vss.WriterStatus{}, false
}

// copy reads what the backup is of.
func (x *round) copy(ctx context.Context) error {
	if x.own {
		if err := x.judgeCopy(); err != nil {
			return err
		}
	}
	x.run.behind("Copy")
	if err := x.settle(ctx); err != nil {
		return err
	}
	return sim.Sleep(ctx, loadRest)
}

// open opens the shadow copy of a volume.
func (x *round) open(v vss.Volume) (fs.FS, error) {
	p, err := x.b.GetSnapshotProperties(x.ids[v.Name()])
	if err != nil {
		return nil, err
	}
	return x.run.service.Open(p.DeviceObject)
}

// complete tells the writers that the data is safe, and keeps the document.
func (x *round) complete(ctx context.Context) error {
	if x.components() && x.metadata != nil {
		for _, key := range vss.NewComponentTree(x.metadata.Components).Everything() {
			if err := x.b.SetBackupSucceeded(ctx, x.choice(key), x.st.get("succeeded") != "no"); err != nil {
				return err
			}
		}
	}
	if err := x.b.BackupComplete(ctx); err != nil {
		return err
	}
	if err := x.status(ctx, vss.StateStable); err != nil {
		return err
	}
	if err := x.until(ctx, "BackupComplete"); err != nil {
		return err
	}
	x.judgeDocument(x.b.SaveAsXML())
	return nil
}

// judgeDocument reads the stored document back and looks at the writer's part.
func (x *round) judgeDocument(xml []byte, err error) {
	r := x.run
	var doc *vss.BackupComponentsDocument
	if err == nil {
		doc, err = vss.ReadBackupComponents(bytes.NewReader(xml))
	}
	if err != nil {
		r.breaks(promiseDocument, "PostSnapshot", r.at(), "%s", oneLine(err))
		return
	}
	if x.st != "backup" || !x.strict {
		return
	}
	shape := shapeOf(doc, r.Config.ClassID)
	if r.shape == "" {
		r.shape = shape
	}
	if r.shape != shape {
		r.breaks(promiseForgets, "PostSnapshot", r.at(), "the document has %s; that of the first backup had %s", shape, r.shape)
	}
	x.keep(xml)
}

// shapeOf is what a writer added to the document, in numbers.
func shapeOf(doc *vss.BackupComponentsDocument, class guid.GUID) string {
	var parts []string
	for w := range doc.WritersOf(class) {
		for _, c := range w.Components {
			parts = append(parts, fmt.Sprintf("%s: %d partial files, %d differenced files, metadata %v, a stamp %v", c.FullPath(),
				len(c.PartialFiles), len(c.DifferencedFiles), c.BackupMetadata != nil, c.BackupStamp != ""))
		}
	}
	return strings.Join(parts, "; ")
}
