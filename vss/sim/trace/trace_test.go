package trace_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

func sample() sim.Trace {
	return sim.Trace{
		{Seq: 1, Actor: "h1/vmms", Kind: "vss/freeze", Rule: "R29", Attrs: []sim.Attr{sim.S("writer", "Microsoft Hyper-V VSS Writer")}},
		{Seq: 2, Actor: "h1/vss/swprv", Kind: "provider/commit", Attrs: []sim.Attr{sim.N("snapshots", 2)}},
		{Seq: 3, Time: 1500 * time.Millisecond, Actor: "h1/vmms", Kind: "vss/thaw", Attrs: []sim.Attr{sim.S("message", "")}},
	}
}

func ExampleText() {
	_ = trace.Text(os.Stdout, sample())
	// Output:
	//               0s  h1/vmms       vss/freeze writer="Microsoft Hyper-V VSS Writer"  [R29]
	//                   h1/vss/swprv  provider/commit snapshots=2
	//             1.5s  h1/vmms       vss/thaw message=""
}

func ExampleJSONLines() {
	_ = trace.JSONLines(os.Stdout, sample()[:1])
	// Output:
	// {"seq":1,"ns":0,"actor":"h1/vmms","kind":"vss/freeze","rule":"R29","attrs":[{"key":"writer","text":"Microsoft Hyper-V VSS Writer"}]}
}

func ExampleDiff() {
	a := sample()
	b := append(sim.Trace{a[0], {Actor: "h1/vmms", Kind: "fault"}}, a[2])
	fmt.Print(trace.Diff(a, b, trace.Options{Context: 1}))
	// Output:
	//           0s  h1/vmms                      vss/freeze writer="Microsoft Hyper-V VSS Writer"  [R29]
	// -          0s  h1/vss/swprv                 provider/commit snapshots=2
	// +          0s  h1/vmms                      fault
	//          1.5s  h1/vmms                      vss/thaw message=""
}

func drawTrace(t *rapid.T, name string) sim.Trace {
	n := rapid.IntRange(0, 12).Draw(t, name)
	out := make(sim.Trace, n)
	for i := range out {
		out[i] = sim.Event{Seq: uint64(i + 1), Actor: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "actor"), Kind: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "kind")}
		if rapid.Bool().Draw(t, "attr") {
			out[i].Attrs = []sim.Attr{sim.S("s", rapid.String().Draw(t, "text")), sim.N("n", rapid.Int64().Draw(t, "number"))}
		}
	}
	return out
}

func TestJSONLinesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawTrace(t, "events")
		var b bytes.Buffer
		if err := trace.JSONLines(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := trace.ReadJSONLines(&b)
		if err != nil || len(got) != len(want) || got.Digest() != want.Digest() {
			t.Errorf("read back %v, %v (-want +got):\n%s", got, err, cmp.Diff(want, got))
		}
	})
}

// TestDiffIsAnEditScript: what is common and what is only in the first make the
// first run, and likewise the second.
func TestDiffIsAnEditScript(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawTrace(t, "first"), drawTrace(t, "second")
		d := trace.Diff(a, b, trace.Options{Context: 100})
		if d == "" {
			if len(a) != len(b) || a.String() != b.String() {
				t.Fatalf("no difference between\n%v\nand\n%v", a, b)
			}
			return
		}
		var first, second strings.Builder
		for line := range strings.Lines(d) {
			if line[0] != '+' {
				first.WriteString(line[1:])
			}
			if line[0] != '-' {
				second.WriteString(line[1:])
			}
		}
		if first.String() != a.String() || second.String() != b.String() {
			t.Errorf("the difference of\n%v\nand\n%v\nis\n%s", a, b, d)
		}
	})
}

func TestDiffIgnoresTimes(t *testing.T) {
	a, b := sample(), sample()
	b[0].Time = time.Hour
	if d := trace.Diff(a, b, trace.Options{IgnoreTime: true}); d != "" {
		t.Errorf("a difference: %s", d)
	}
	if d := trace.Diff(a, b, trace.Options{}); d == "" {
		t.Error("no difference")
	}
}

func TestDiffOfLongRunsIsBounded(t *testing.T) {
	var a, b sim.Trace
	for i := range 3000 {
		a = append(a, sim.Event{Actor: "a", Kind: fmt.Sprint("only here ", i)})
		b = append(b, sim.Event{Actor: "b", Kind: fmt.Sprint("only there ", i)})
	}
	if n := strings.Count(trace.Diff(a, b, trace.Options{}), "\n"); n != 6000 {
		t.Errorf("%d lines", n)
	}
}

func FuzzReadJSONLines(f *testing.F) {
	var b bytes.Buffer
	if err := trace.JSONLines(&b, sample()); err != nil {
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
