package trace_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the files in testdata")

// golden compares got with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// backup is a run with all that a renderer has to show.
func backup() sim.Trace {
	const guest = "h1/sql01/guest"
	n := uint64(0)
	at := time.Duration(0)
	var t sim.Trace
	add := func(actor, kind, rule string, attrs ...sim.Attr) {
		n++
		t = append(t, sim.Event{Seq: n, Time: at, Actor: actor, Kind: kind, Rule: rule, Attrs: attrs})
	}
	add("h1/vss", "vss/prepare", "", sim.S("writer", "Microsoft Hyper-V VSS Writer"))
	add("h1/vmms", "hyperv/method", "R17", sim.S("vm", "sql01"), sim.S("method", "child"))
	add("h1/vmms", "hyperv/method", "R18", sim.S("vm", "files01"), sim.S("method", "saved"), sim.S("reason", "service stopped"))
	at = 1500 * time.Millisecond
	add(guest+"/ledger", "vss/freeze", "R29")
	add("h1", "panic", "", sim.S("value", "line one\nline \"two\""), sim.S("empty", ""), sim.N("code", -1))
	at = time.Minute
	add("h1/vss/swprv", "provider/commit", "", sim.N("snapshots", 2))
	add(guest+"/ledger", "vss/thaw", "R30", sim.S("grüße", "日本"))
	add("h1/"+strings.Repeat("deep/", 10)+"end", "a/kind/with/a/name/longer/than/its/column", "R99", sim.S("text", strings.Repeat("x", 80)))
	add("h1", "idle", "")
	return t
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := trace.Text(&b, backup()); err != nil {
		t.Fatal(err)
	}
	golden(t, "backup.txt", b.String())
	if err := trace.Text(&b, nil); err != nil {
		t.Error(err)
	}
}

func TestJSONLines(t *testing.T) {
	var b strings.Builder
	if err := trace.JSONLines(&b, backup()); err != nil {
		t.Fatal(err)
	}
	golden(t, "backup.jsonl", b.String())
}

// failing is a file that is full.
type failing struct{}

var errFull = errors.New("the disk is full")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestWriteErrors(t *testing.T) {
	long := make(sim.Trace, 1000)
	for _, events := range []sim.Trace{backup(), long} {
		if err := trace.Text(failing{}, events); err != errFull {
			t.Errorf("Text: %v", err)
		}
		if err := trace.JSONLines(failing{}, events); err != errFull {
			t.Errorf("JSONLines: %v", err)
		}
	}
}

func drawTrace(rt *rapid.T, name string, most int) sim.Trace {
	event := rapid.Custom(func(rt *rapid.T) sim.Event {
		e := sim.Event{
			Time:  time.Duration(rapid.IntRange(0, 2).Draw(rt, "time")),
			Actor: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "actor"),
			Kind:  rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "kind"),
		}
		if rapid.IntRange(0, 3).Draw(rt, "rare") == 0 {
			e.Rule = "R1"
			e.Attrs = []sim.Attr{sim.S("s", rapid.String().Draw(rt, "text")), sim.N("n", rapid.Int64().Draw(rt, "number")), sim.S("s", "again")}
		}
		return e
	})
	t := sim.Trace(rapid.SliceOfN(event, 0, most).Draw(rt, name))
	for i := range t {
		t[i].Seq = uint64(i + 1)
	}
	return t
}

func TestJSONLinesReadBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := drawTrace(rt, "events", 20)
		var b bytes.Buffer
		if err := trace.JSONLines(&b, want); err != nil {
			rt.Fatal(err)
		}
		got, err := trace.ReadJSONLines(&b)
		if err != nil || got.Digest() != want.Digest() || !cmp.Equal(got, want) && len(want) > 0 {
			rt.Errorf("read back %v, %v (-want +got):\n%s", got, err, cmp.Diff(want, got))
		}
	})
}

func TestReadJSONLinesRefuses(t *testing.T) {
	good := `{"seq":1,"ns":5,"actor":"a","kind":"k","future":{"x":[]}}` + "\n\n"
	for _, c := range []struct {
		text string
		line int
	}{
		{good, 0},
		{good + good, 0},
		{good + "x", 3},
		{good + "{}{}", 3},
		{good + `{"seq":-1}`, 3},
		{good + `{"ns":1.5}`, 3},
		{good + `{"attrs":{}}`, 3},
		{good + `{"attrs":[{"key":"k"}]}`, 3},
		{good + `{"attrs":[{"key":"k","text":"t","num":1}]}`, 3},
		{good + `{"attrs":[{"key":"k","num":1e99}]}`, 3},
		{`{"seq":1`, 1},
	} {
		_, err := trace.ReadJSONLines(strings.NewReader(c.text))
		var bad *trace.ReadError
		if errors.As(err, &bad) != (c.line > 0) || bad != nil && bad.Line != c.line || (err == nil) != (c.line == 0) {
			t.Errorf("%q: %v", c.text, err)
		}
		if bad != nil && (bad.Unwrap() == nil || !strings.HasPrefix(err.Error(), "trace: line ")) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
	if _, err := trace.ReadJSONLines(brokenReader{}); err != errFull {
		t.Errorf("a broken reader: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errFull }

func FuzzReadJSONLines(f *testing.F) {
	var b bytes.Buffer
	if err := trace.JSONLines(&b, backup()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("{\"attrs\":[{\"key\":\"x\"}]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		events, err := trace.ReadJSONLines(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := trace.JSONLines(&again, events); err != nil {
			t.Fatal(err)
		}
		if back, err := trace.ReadJSONLines(&again); err != nil || back.Digest() != events.Digest() {
			t.Errorf("%v, %v", back, err)
		}
	})
}
