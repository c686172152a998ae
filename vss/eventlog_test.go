package vss_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// TestEventLogEntries makes each failure happen whose entry administrators know,
// and looks for that entry alone.
func TestEventLogEntries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		plan  string
		setUp func(m *machine)
		want  []string // log, source, number, level, writing process, a word of the text
	}{
		{name: "nothing goes wrong"},
		{name: "a handler crashes", setUp: func(m *machine) {
			m.f.on[vss.EventFreeze] = func(context.Context, any) error { panic("out of handles") }
		}, want: []string{"Application VSS 8193 Error h1/F out of handles", "Application VSS 8229 Warning h1/F Freeze"}},
		{name: "a writer refuses", setUp: func(m *machine) { m.b.fails(vss.EventPrepareSnapshot, retryable) },
			want: []string{"Application VSS 8229 Warning h1/B VSS_E_WRITERERROR_RETRYABLE"}},
		{name: "a writer sets a failure", setUp: func(m *machine) { m.b.sets(vss.EventPostSnapshot, retryable) },
			want: []string{"Application VSS 8229 Warning h1/B on purpose"}},
		{name: "a freeze window runs out in the handler", setUp: func(m *machine) { m.f.sleeps(vss.EventFreeze, 90*time.Second) },
			want: []string{"Application VSS 8229 Warning h1/F VSS_E_WRITERERROR_TIMEOUT"}},
		{name: "a freeze window runs out behind the handler", plan: "provider/pre-commit delay=61s",
			want: []string{"Application VSS 8229 Warning h1/F VSS_E_WRITERERROR_TIMEOUT", "Application VSS 8229 Warning h1/B VSS_E_WRITERERROR_TIMEOUT"}},
		{name: "a file system is not flushed", plan: "volume/flush on=h1/vss/D: err=0x80042313",
			want: []string{`Application VSS 12289 Error h1/vss D:\`}},
		{name: "writes cannot be held", plan: "volume/hold on=h1/vss/D: err=0x80042314",
			want: []string{`Application VSS 12298 Error h1/vss D:\`}},
		{name: "a call to the provider fails", plan: "provider/end-prepare err=0x80004005",
			want: []string{"Application VSS 12293 Error h1/vss {b5946137-7b9f-4925-af80-51abd60b20d5}"}},
		{name: "the provider is dead", plan: "provider/pre-commit kill=.",
			want: []string{"Application VSS 12292 Error h1/vss provider/pre-commit", "Application VSS 12292 Error h1/vss provider/abort"}},
		{name: "the copies take too long", plan: "provider/commit delay=11s",
			want: []string{"Application VSS 12310 Error h1/vss 10s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var plan []string
			if tt.plan != "" {
				plan = append(plan, tt.plan)
			}
			m := newMachine(t, vss.ServiceConfig{}, sim.Plan(plan...))
			if tt.setUp != nil {
				tt.setUp(m)
			}
			_, err := m.backup2()
			if (err == nil) != (tt.want == nil) {
				t.Errorf("the backup: %v", err)
			}
			entries := vss.EventLog(m.w.Trace())
			for i, e := range entries {
				line := fmt.Sprintf("%s %s %d %v %s", e.Log, e.Source, e.ID, e.Level, e.Actor)
				if i >= len(tt.want) || !strings.HasPrefix(tt.want[i], line) || !strings.Contains(e.Text, strings.TrimPrefix(tt.want[i], line+" ")) {
					t.Errorf("entry %d: %s %s", i, line, e.Text)
				}
			}
			if len(entries) < len(tt.want) {
				t.Errorf("%d entries, not %d", len(entries), len(tt.want))
			}
		})
	}
}

// Copies that a volume drops are a matter of its driver, in the System log: 25 if
// the diff area could not grow, 36 if it has a limit.
func TestEventLogOfLostCopies(t *testing.T) {
	for _, limit := range []int64{0, 100} {
		m := newMachine(t, vss.ServiceConfig{})
		m.must(m.as(func(ctx context.Context) error {
			b, _, err := m.take(ctx, vss.ContextNASRollback, `D:\`)
			m.d.maximum, m.d.shadows = limit, nil
			if n := len(m.s.Snapshots()); n != 0 {
				t.Errorf("%d copies", n)
			}
			return errors.Join(err, b.Release(ctx))
		}))
		entries := vss.EventLog(m.w.Trace())
		want := map[int64]int{0: vss.LogCopiesLost, 100: vss.LogCopiesOverLimit}[limit]
		if len(entries) != 1 || entries[0].ID != want || entries[0].Log != "System" || entries[0].Source != "VolSnap" {
			t.Errorf("limit %d: %+v", limit, entries)
		}
	}
}

// Writers and providers write entries of their own. One that is written while
// writes are held comes when they go on.
func TestLogWaitsWhileWritesAreHeld(t *testing.T) {
	m := newMachine(t, vss.ServiceConfig{}, sim.Plan("provider/commit delay=2s"))
	m.f.on[vss.EventThaw] = func(context.Context, any) error {
		m.s.Log(m.f.actor, vss.LogEntry{Source: "F", ID: 7, Level: vss.LogInformation, Text: "thawed"})
		return nil
	}
	m.b.on[vss.EventFreeze] = func(context.Context, any) error {
		m.b.actor.Go("late", func(ctx context.Context) error {
			err := sim.Sleep(ctx, time.Second)
			m.s.Log(m.b.actor, vss.LogEntry{Source: "B", ID: 8, Text: "writes are held"})
			return err
		})
		return nil
	}
	_, err := m.backup2()
	m.must(err)
	tr := m.w.Trace()
	got := vss.EventLog(tr)
	if len(got) != 2 || got[0].ID != 8 || got[0].Time != 2*time.Second || got[1].ID != 7 || got[1].Level != vss.LogInformation || got[1].Text != "thawed" {
		t.Errorf("%+v", got)
	}
	index := func(kind string) int { return slices.IndexFunc(tr, func(e sim.Event) bool { return e.Kind == kind }) }
	if index("vss/event") < index("vss/release") {
		t.Error("an entry was written while writes were held")
	}
}
