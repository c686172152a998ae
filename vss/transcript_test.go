package vss_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts in testdata")

// transcript prints what happened, one line for each event of writers, providers
// and volumes, the beginning of a call that has nothing between it and its end
// left out.
func transcript(tr sim.Trace) string {
	var b strings.Builder
	for i, e := range tr {
		if i+1 < len(tr) && tr[i+1].Kind == e.Kind+".end" && tr[i+1].Actor == e.Actor {
			continue
		}
		line := fmt.Sprintf("%-6v %-14s %s", e.Time, e.Actor, strings.TrimSuffix(e.Kind, ".end"))
		if strings.HasPrefix(e.Kind, "vss/") || strings.HasPrefix(e.Kind, "provider/") {
			if !strings.HasSuffix(e.Kind, ".end") && i+1 < len(tr) && hasEnd(tr[i+1:], e) {
				line += " …"
			}
		} else if hasEnd(tr[i+1:], e) {
			line += " …"
		}
		for _, a := range e.Attrs {
			switch v := a.Value(); a.Key {
			case "session", "instance", "set", "writer", "provider":
			case "outcome":
				if v != "true" {
					line += " " + v
				}
			case "state":
				line += " " + strings.TrimPrefix(v, "VSS_WS_")
			case "hr", "result":
				if v != "S_OK" {
					line += " " + v
				}
			case "on":
				if strings.HasSuffix(v, `\`) {
					line += " " + v
				}
			default:
				line += " " + a.Key + "=" + v
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func hasEnd(rest sim.Trace, e sim.Event) bool {
	for _, o := range rest {
		if o.Kind == e.Kind+".end" && o.Actor == e.Actor {
			return true
		}
	}
	return false
}

// compare checks a transcript against testdata/NAME.txt, whose first lines, up to
// the dashes, tell a newcomer what is going on.
func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	want, err := os.ReadFile(path)
	if err != nil && !*rewrite {
		t.Fatal(err)
	}
	prose, _, _ := strings.Cut(string(want), "----\n")
	all := []byte(prose + "----\n" + got)
	if *rewrite {
		if err := os.WriteFile(path, all, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, all) {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}

// The reference traces: two writers, F at the front end and B at the back end,
// and the system provider.
func TestReferenceTraces(t *testing.T) {
	retry := vss.ErrWriterErrorRetryable
	for _, tt := range []struct {
		name   string
		plan   []string
		setUp  func(m *machine)
		script func(ctx context.Context, m *machine) error
	}{
		{name: "backup-happy"},
		{name: "backup-veto-prepare", setUp: func(m *machine) { m.b.fails(vss.EventPrepareSnapshot, retry) }},
		{name: "backup-veto-freeze", setUp: func(m *machine) { m.f.fails(vss.EventFreeze, retry) }},
		{name: "backup-slow-freeze", setUp: func(m *machine) { m.f.sleeps(vss.EventFreeze, 90*time.Second) }},
		{name: "backup-provider-veto", plan: []string{"provider/commit err=0x80042306"}},
		{name: "backup-hold-too-long", plan: []string{"provider/commit delay=11s"}},
		{name: "abort-before-snapshot", script: abortBefore},
		{name: "abort-after-snapshot", script: abortAfter},
		{name: "requester-dies", script: dieCopying},
		{name: "second-requester", script: secondRequester},
		{name: "restore-happy", script: restoreScript},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, vss.ServiceConfig{}, sim.Plan(tt.plan...))
			if tt.setUp != nil {
				tt.setUp(m)
			}
			script := tt.script
			if script == nil {
				script = func(ctx context.Context, m *machine) error { _, err := m.backup(ctx); return err }
			}
			err := m.as(func(ctx context.Context) error { return script(ctx, m) })
			m.must(m.w.Advance(time.Minute))
			got := transcript(m.w.Trace()) + fmt.Sprintf("result: %v\n", err)
			compare(t, tt.name, got)
			m.settled()
		})
	}
}

func abortBefore(ctx context.Context, m *machine) error {
	b, err := m.prepared(ctx, m.f, m.b)
	return errors.Join(err, b.AbortBackup(ctx), b.Release(ctx))
}

func abortAfter(ctx context.Context, m *machine) error {
	b, err := m.prepared(ctx, m.f, m.b)
	return errors.Join(err, b.DoSnapshotSet(ctx), b.AbortBackup(ctx), b.Release(ctx))
}

func dieCopying(ctx context.Context, m *machine) error {
	b, err := m.prepared(ctx, m.f, m.b)
	if err := errors.Join(err, b.DoSnapshotSet(ctx)); err != nil {
		return err
	}
	m.requester.Kill()
	return nil
}

func secondRequester(ctx context.Context, m *machine) error {
	first, err := m.prepared(ctx, m.f, m.b)
	if err != nil {
		return err
	}
	second, err := m.prepared(ctx, m.f, m.b)
	if !errors.Is(err, vss.ErrSnapshotSetInProgress) {
		return fmt.Errorf("the second requester: %v", err)
	}
	return errors.Join(second.Release(ctx), first.DoSnapshotSet(ctx), first.BackupComplete(ctx), first.Release(ctx))
}

func restoreScript(ctx context.Context, m *machine) error {
	xml, err := m.backup(ctx)
	if err != nil {
		return err
	}
	return m.restore(ctx, xml)
}

// restore puts everything back that a document holds.
func (m *machine) restore(ctx context.Context, xml []byte) (err error) {
	b, err := m.restoring(ctx, xml)
	if b == nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Release(ctx)) }()
	if err != nil {
		return err
	}
	return steps(
		func() error { return b.PreRestore(ctx) },
		func() error { return checkStatus(ctx, b) },
		func() error { return b.SetFileRestoreStatus(ctx, m.f.key(), vss.FilesAll) },
		func() error { return b.SetFileRestoreStatus(ctx, m.b.key(), vss.FilesAll) },
		func() error { return b.PostRestore(ctx) },
		func() error { return checkStatus(ctx, b) },
	)
}

func newReader(xml []byte) *bytes.Reader { return bytes.NewReader(xml) }
