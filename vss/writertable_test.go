package vss_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

const (
	retryable = vss.ErrWriterErrorRetryable
	timedOut  = vss.ErrWriterErrorTimeout
)

// A row is a row of the published table of writer states: what the writer B, in a
// state, answers to an event, and what becomes of it.
type row struct {
	from    vss.WriterState
	event   vss.Event
	outcome vss.Outcome
	to      vss.WriterState
	code    vss.HRESULT
	abort   bool // B is sent Abort because of it
	before  []prior
	plan    string
	script  func(ctx context.Context, m *machine) error // runs past the event
	// silent: the table has the row, but the service does not send the event to
	// a writer that has had PostSnapshot.
	silent bool
}

// A prior is what B answered before.
type prior struct {
	event   vss.Event
	outcome vss.Outcome
}

func rows() []row {
	const (
		t, w, f, x = vss.OutcomeTrue, vss.OutcomeFailed, vss.OutcomeFalse, vss.OutcomeExpired
		ok         = vss.SOK
	)
	var out []row
	add := func(r row) { out = append(out, r) }
	both := func(r row) {
		r.outcome = w
		add(r)
		r.outcome = f
		add(r)
	}
	all := func(r row) {
		r.outcome = t
		add(r)
		both(r)
	}
	veto := func(e vss.Event, o vss.Outcome) []prior { return []prior{{e, o}} }

	add(row{from: vss.StateStable, event: vss.EventIdentify, outcome: t, to: vss.StateStable, script: gatherOnly})
	add(row{from: vss.StateStable, event: vss.EventIdentify, outcome: f, to: vss.StateStable, script: gatherOnly})
	add(row{from: 1, event: vss.EventPrepareBackup, outcome: t, to: 1, script: prepareOnly})
	both(row{from: 1, event: vss.EventPrepareBackup, to: 7, code: retryable, script: prepareOnly})
	add(row{from: 1, event: vss.EventPrepareSnapshot, outcome: t, to: 2, script: snapshot})
	both(row{from: 1, event: vss.EventPrepareSnapshot, to: 8, code: retryable, script: snapshot})
	add(row{from: 2, event: vss.EventFreeze, outcome: t, to: 3, script: snapshot})
	add(row{from: 2, event: vss.EventFreeze, outcome: f, to: 9, code: retryable, abort: true, script: snapshot})
	add(row{from: 2, event: vss.EventFreeze, outcome: w, to: 9, code: retryable, script: snapshot})
	add(row{from: 2, event: vss.EventFreeze, outcome: x, to: 9, code: timedOut, abort: true, script: snapshot})
	add(row{from: 3, event: vss.EventFreeze, outcome: x, to: 9, code: timedOut, abort: true, plan: "provider/pre-commit delay=61s", script: snapshot})
	add(row{from: 3, event: vss.EventThaw, outcome: t, to: 4, script: snapshot})
	add(row{from: 3, event: vss.EventThaw, outcome: f, to: 10, code: retryable, abort: true, script: snapshot})
	add(row{from: 3, event: vss.EventThaw, outcome: w, to: 10, code: retryable, script: snapshot})
	for _, o := range []vss.Outcome{t, w, f} {
		add(row{from: 9, event: vss.EventThaw, outcome: o, to: 9, code: retryable, abort: o == f, before: veto(vss.EventFreeze, w), script: snapshot})
	}
	add(row{from: 4, event: vss.EventPostSnapshot, outcome: t, to: 5, script: snapshot})
	both(row{from: 4, event: vss.EventPostSnapshot, to: 11, code: retryable, script: snapshot})
	add(row{from: 5, event: vss.EventBackupComplete, outcome: t, to: 1, script: complete})
	both(row{from: 5, event: vss.EventBackupComplete, to: 12, code: retryable, script: complete})
	add(row{from: 1, event: vss.EventBackupComplete, outcome: t, to: 1, script: completeUnsnapped})
	both(row{from: 1, event: vss.EventBackupComplete, to: 12, code: retryable, script: completeUnsnapped})

	all(row{from: 1, event: vss.EventAbort, to: 1, code: ok, script: abortBefore})
	all(row{from: 2, event: vss.EventAbort, to: 1, code: ok, script: cancelWhileFrozen})
	all(row{from: 3, event: vss.EventAbort, to: 1, code: ok, plan: "provider/commit err=0x80042306", script: snapshot})
	all(row{from: 4, event: vss.EventAbort, to: 1, code: ok, plan: "provider/pre-final-commit err=0x80042306", script: snapshot})
	all(row{from: 5, event: vss.EventAbort, to: 1, code: ok, silent: true, script: abortAfter})
	all(row{from: 7, event: vss.EventAbort, to: 7, code: retryable, before: veto(vss.EventPrepareBackup, f), script: abortBefore})
	all(row{from: 8, event: vss.EventAbort, to: 8, code: retryable, before: veto(vss.EventPrepareSnapshot, f), script: abortAfter})
	all(row{from: 9, event: vss.EventAbort, to: 9, code: retryable, before: veto(vss.EventFreeze, f), script: snapshot})
	all(row{from: 10, event: vss.EventAbort, to: 10, code: retryable, before: veto(vss.EventThaw, f), script: snapshot})
	all(row{from: 11, event: vss.EventAbort, to: 11, code: retryable, before: veto(vss.EventPostSnapshot, f), silent: true, script: abortAfter})

	for _, s := range []struct {
		from   vss.WriterState
		plan   string
		script func(ctx context.Context, m *machine) error
	}{{1, "", prepareOnly}, {5, "", snapshot}} {
		add(row{from: s.from, event: vss.EventBackupShutdown, outcome: t, to: 1, plan: s.plan, script: s.script})
		both(row{from: s.from, event: vss.EventBackupShutdown, to: 15, code: retryable, plan: s.plan, script: s.script})
	}
	for _, e := range []vss.Event{vss.EventPrepareBackup, vss.EventPrepareSnapshot, vss.EventFreeze, vss.EventThaw, vss.EventPostSnapshot, vss.EventBackupComplete} {
		state := map[vss.Event]vss.WriterState{
			vss.EventPrepareBackup: 7, vss.EventPrepareSnapshot: 8, vss.EventFreeze: 9, vss.EventThaw: 10, vss.EventPostSnapshot: 11, vss.EventBackupComplete: 12,
		}[e]
		all(row{from: state, event: vss.EventBackupShutdown, to: state, code: retryable, before: veto(e, f), script: complete})
	}

	add(row{from: 1, event: vss.EventPreRestore, outcome: t, to: 1, script: restoreScript})
	both(row{from: 1, event: vss.EventPreRestore, to: 13, code: retryable, script: restoreAnyway})
	add(row{from: 1, event: vss.EventPostRestore, outcome: t, to: 1, script: restoreScript})
	both(row{from: 1, event: vss.EventPostRestore, to: 14, code: retryable, script: restoreAnyway})
	all(row{from: 13, event: vss.EventPostRestore, to: 13, code: retryable, before: veto(vss.EventPreRestore, f), script: restoreAnyway})
	return out
}

func (r row) String() string { return fmt.Sprintf("%v %v %v", r.from.Word(), r.event, r.outcome) }

// TestWriterTableRows looks every row up in the table and then makes it happen.
func TestWriterTableRows(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.String(), func(t *testing.T) {
			r.inTable(t)
			m := newMachine(t, vss.ServiceConfig{}, sim.Plan(plan(r.plan)...))
			for _, p := range r.before {
				m.b.answers(p.event, p.outcome)
			}
			m.b.answers(r.event, r.outcome)
			err := m.as(func(ctx context.Context) error { return r.script(ctx, m) })
			m.must(m.w.Advance(5 * time.Minute))
			r.happened(t, m)
			if t.Failed() {
				t.Logf("ended with %v\n%s", err, transcript(m.w.Trace()))
			}
			m.settled()
		})
	}
}

func plan(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (a *app) answers(e vss.Event, o vss.Outcome) {
	switch o {
	case vss.OutcomeFailed:
		a.sets(e, retryable)
	case vss.OutcomeFalse:
		a.fails(e, retryable)
	case vss.OutcomeExpired:
		a.sleeps(e, 2*time.Minute)
	}
}

// inTable checks the row against the exported table.
func (r row) inTable(t *testing.T) {
	t.Helper()
	i := slices.IndexFunc(vss.WriterMoves(), func(m vss.WriterMove) bool {
		return m.From == r.from && m.Event == r.event && m.Outcome == r.outcome
	})
	if i < 0 {
		t.Fatal("no such row")
	}
	m := vss.WriterMoves()[i]
	if m.To != r.to || m.Abort != r.abort || m.Omits != (r.event == vss.EventIdentify && r.outcome == vss.OutcomeFalse) {
		t.Errorf("the table says %+v", m)
	}
	want := vss.RecordCode
	switch {
	case r.event == vss.EventIdentify || r.from.Failed():
		want = vss.RecordKept
	case r.code == vss.SOK:
		want = vss.RecordOK
	}
	if m.Record != want {
		t.Errorf("the table records %v, not %v", m.Record, want)
	}
}

// happened checks the row against the trace.
func (r row) happened(t *testing.T, m *machine) {
	t.Helper()
	var ends, before, aborts int
	for _, e := range m.w.Trace() {
		if e.Actor != "h1/B" {
			continue
		}
		if e.Kind == vss.EventAbort.Kind() {
			aborts++
		}
		if e.Kind != r.event.Kind()+".end" && !(e.Kind == "vss/freeze-window" && r.from == vss.StateWaitingForThaw) {
			continue
		}
		if e.Get("outcome") == r.outcome.String() {
			ends++
			if e.Get("state") != r.to.String() || e.Get("hr") != r.code.Name() && r.event != vss.EventIdentify {
				t.Errorf("%v", e)
			}
		}
		before++
	}
	if r.from == vss.StateWaitingForThaw && r.outcome == vss.OutcomeExpired {
		st := m.b.sub.Status() // nothing was running that could end
		if st.State != r.to || st.Code != r.code {
			t.Errorf("the writer is %v, %v", st.State, st.Code)
		}
		ends++
	}
	switch {
	case r.silent && before > 0:
		t.Errorf("%v was sent", r.event)
	case !r.silent && ends == 0:
		t.Errorf("%v did not end so", r.event)
	}
	if r.event != vss.EventAbort && len(r.before) == 0 && r.plan == "" && (aborts > 0) != r.abort {
		t.Errorf("%d aborts", aborts)
	}
}

func gatherOnly(ctx context.Context, m *machine) error {
	b, err := m.s.CreateBackupComponents(ctx)
	if err != nil {
		return err
	}
	return errors.Join(b.InitializeForBackup(ctx, nil), b.GatherWriterMetadata(ctx), b.Release(ctx))
}

func prepareOnly(ctx context.Context, m *machine) error {
	b, err := m.prepared(ctx, m.f, m.b)
	return errors.Join(err, b.Release(ctx))
}

func snapshot(ctx context.Context, m *machine) error {
	b, err := m.prepared(ctx, m.f, m.b)
	return errors.Join(err, b.DoSnapshotSet(ctx), b.Release(ctx))
}

func complete(ctx context.Context, m *machine) error {
	b, err := m.prepared(ctx, m.f, m.b)
	return errors.Join(err, b.DoSnapshotSet(ctx), b.BackupComplete(ctx), b.Release(ctx))
}

func completeUnsnapped(ctx context.Context, m *machine) error {
	b, err := m.prepared(ctx, m.f, m.b)
	return errors.Join(err, b.BackupComplete(ctx), b.Release(ctx))
}

// cancelWhileFrozen cancels the set while F freezes and B waits for it.
func cancelWhileFrozen(ctx context.Context, m *machine) error {
	m.f.sleeps(vss.EventFreeze, time.Minute)
	b, err := m.prepared(ctx, m.f, m.b)
	if err != nil {
		return err
	}
	a, err := b.StartDoSnapshotSet(ctx)
	if err != nil {
		return err
	}
	err = sim.Sleep(ctx, time.Second)
	_, e := a.Cancel(ctx)
	return errors.Join(err, e, b.Release(ctx))
}

// restoreAnyway restores without a look at the writers' status.
func restoreAnyway(ctx context.Context, m *machine) error {
	pre, post := m.b.on[vss.EventPreRestore], m.b.on[vss.EventPostRestore]
	xml, err := m.backup(ctx)
	m.b.on[vss.EventPreRestore], m.b.on[vss.EventPostRestore] = pre, post
	if err != nil {
		return err
	}
	b, err := m.restoring(ctx, xml)
	return errors.Join(err, b.PreRestore(ctx), b.PostRestore(ctx), b.Release(ctx))
}

// restoring brings an object as far as the selection of F and B.
func (m *machine) restoring(ctx context.Context, xml []byte) (*vss.BackupComponents, error) {
	b, err := m.s.CreateBackupComponents(ctx)
	if err != nil {
		return nil, err
	}
	return b, steps(
		func() error { return b.InitializeForRestore(ctx, newReader(xml)) },
		func() error { return b.GatherWriterMetadata(ctx) },
		func() error { return b.SetSelectedForRestore(ctx, m.f.key(), true) },
		func() error { return b.SetSelectedForRestore(ctx, m.b.key(), true) },
	)
}

// TestWriterTableIsSorted also demands that no row stands twice.
func TestWriterTableIsSorted(t *testing.T) {
	moves := vss.WriterMoves()
	for i := 1; i < len(moves); i++ {
		a, b := moves[i-1], moves[i]
		if a.From > b.From || a.From == b.From && (a.Event > b.Event || a.Event == b.Event && a.Outcome >= b.Outcome) {
			t.Errorf("%+v stands before %+v", a, b)
		}
	}
	if len(moves) < len(rows()) {
		t.Errorf("%d rows", len(moves))
	}
}
