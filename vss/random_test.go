package vss_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// TestRandomWriters gives random writers random outcomes, with random faults of
// the provider and a random order of processes, and demands what must always
// hold: states move by the table, after Freeze comes exactly one of Thaw and Abort
// unless the writer died, nothing comes after Abort but BackupShutdown, holds are
// short, and afterwards the machine is as it was.
func TestRandomWriters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := sim.New(sim.Seed(rapid.Uint64().Draw(rt, "seed")), sim.Plan(drawPlan(rt)...))
		defer w.Close()
		m := newMachineIn(t, w, vss.ServiceConfig{VetoFailsSet: rapid.Bool().Draw(rt, "strict")})
		apps := []*app{m.f, m.b}
		for i := range rapid.IntRange(0, 3).Draw(rt, "more writers") {
			level := rapid.SampledFrom([]vss.ApplicationLevel{vss.LevelFrontEnd, vss.LevelBackEnd, vss.LevelSystem}).Draw(rt, "level")
			apps = append(apps, m.subscribe(fmt.Sprintf("W%d", i), vss.WriterConfig{Level: level}))
		}
		for _, a := range apps {
			drawAnswers(rt, a)
		}
		err := m.as(func(ctx context.Context) error { return m.careless(ctx, apps) })
		var stuck *sim.StuckError
		if errors.As(err, &stuck) {
			rt.Fatal(err)
		}
		m.must(w.Advance(10 * time.Minute))
		for _, a := range apps {
			checkHeard(rt, a)
			if a != m.f && a != m.b {
				a.sub.Unsubscribe()
			}
		}
		checkMoves(rt, w.Trace())
		m.checkWindows()
		m.settled()
		if t.Failed() {
			rt.Fatalf("%v\n%s", err, transcript(w.Trace()))
		}
	})
}

// careless backs up, whatever the writers say.
func (m *machine) careless(ctx context.Context, apps []*app) error {
	b, err := m.prepared(ctx, apps...)
	if err == nil {
		err = b.DoSnapshotSet(ctx)
	}
	if err != nil {
		return errors.Join(err, b.AbortBackup(ctx), b.Release(ctx))
	}
	return errors.Join(checkStatus(ctx, b), b.BackupComplete(ctx), b.Release(ctx))
}

func drawPlan(rt *rapid.T) []string {
	points := []sim.Point{vss.PointProviderEndPrepare, vss.PointProviderPreCommit, vss.PointProviderCommit, vss.PointProviderPostCommit,
		vss.PointProviderPreFinalCommit, vss.PointProviderPostFinalCommit, vss.PointVolumeFlush, vss.PointVolumeHold, vss.PointFreeze, vss.PointThaw}
	var plan []string
	for range rapid.IntRange(0, 2).Draw(rt, "faults") {
		p := rapid.SampledFrom(points).Draw(rt, "point")
		o := rapid.SampledFrom([]string{"err=0x80042306", "delay=30s", "delay=70s", "kill=h1/B", "kill=h1/backup"}).Draw(rt, "outcome")
		plan = append(plan, string(p)+" "+o)
	}
	return plan
}

func drawAnswers(rt *rapid.T, a *app) {
	for e := vss.EventPrepareBackup; e <= vss.EventBackupShutdown; e++ {
		switch rapid.SampledFrom([]string{"", "", "", "", "", "false", "failure", "slow", "panic"}).Draw(rt, fmt.Sprintf("%s at %v", a.name, e)) {
		case "false":
			a.fails(e, retryable)
		case "failure":
			a.sets(e, retryable)
		case "slow":
			a.sleeps(e, 40*time.Second)
		case "panic":
			a.on[e] = func(context.Context, any) error { panic("drawn") }
		}
	}
}

// checkHeard checks the order of what one writer was told in one session.
func checkHeard(rt *rapid.T, a *app) {
	i := slices.Index(a.heard, "Freeze")
	if i >= 0 && !a.actor.Dead() {
		n := 0
		for _, h := range a.heard[i+1:] {
			if h == "Thaw" || h == "Abort" {
				n++
			}
		}
		thawed := slices.Contains(a.heard, "Thaw")
		aborted := slices.Contains(a.heard, "Abort")
		if n == 0 || n > 1 && !(thawed && aborted) {
			rt.Fatalf("%s heard %v", a.name, a.heard)
		}
	}
	if i := slices.Index(a.heard, "Abort"); i >= 0 {
		for _, h := range a.heard[i+1:] {
			if h != "BackupShutdown" {
				rt.Fatalf("%s heard %v", a.name, a.heard)
			}
		}
	}
}

// checkMoves checks every move of every writer in the trace against the table.
func checkMoves(rt *rapid.T, tr sim.Trace) {
	moves := vss.WriterMoves()
	at := make(map[string]string)
	for _, e := range tr {
		if e.Get("state") == "" || e.Kind == "vss/identify.end" || e.Get("outcome") == "abandoned" {
			continue
		}
		key := e.Actor + e.Get("session")
		from := at[key]
		if from == "" {
			from = vss.StateStable.String()
		}
		ok := slices.ContainsFunc(moves, func(m vss.WriterMove) bool {
			return m.From.String() == from && m.Event.Kind()+".end" == e.Kind && m.Outcome.String() == e.Get("outcome") && m.To.String() == e.Get("state")
		})
		// A window that ran out between events has no end of its own.
		expired := e.Get("state") == vss.StateFailedAtFreeze.String() && from == vss.StateWaitingForThaw.String()
		if !ok && !expired {
			rt.Fatalf("from %s: %v", from, e)
		}
		at[key] = e.Get("state")
	}
}
