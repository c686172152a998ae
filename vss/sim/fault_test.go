package sim_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// reach asks at the points, one a second, and reports what came of it.
func reach(w *sim.World, asks ...string) []string {
	var got []string
	host := w.Actor("h1")
	for _, ask := range asks {
		point, path, _ := strings.Cut(ask, "@")
		a := w.Find("h1/" + path)
		if a == nil {
			a = host.Child(path)
		}
		p := a.Go("ask", func(ctx context.Context) error {
			c, cancel := sim.WithTimeout(ctx, time.Minute)
			defer cancel()
			start := sim.Now(ctx)
			err := sim.At(c, sim.Point(point))
			var f *sim.FaultError
			switch {
			case errors.As(err, &f):
				got = append(got, fmt.Sprintf("%#x", f.HRESULT()))
			case errors.Is(err, context.DeadlineExceeded):
				got = append(got, "hung")
			case err != nil:
				got = append(got, err.Error())
			default:
				got = append(got, (sim.Now(ctx) - start).String())
			}
			return nil
		})
		_ = p.Wait(context.Background())
	}
	return got
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		plan, asks, want, unreached string
	}{
		{"", "p@a p@b", "0s 0s", ""},
		{"p err=0x80070005", "p@a p@a p@b", "0x80070005 0s 0s", ""},
		{"p nth=2 err=0x1", "p@a p@b p@a", "0s 0x1 0s", ""},
		{"p from=2 err=0x1", "p@a p@b p@a", "0s 0x1 0x1", ""},
		{"p on=h1/b err=0x1", "p@a p@b p@b", "0s 0x1 0s", ""},
		{"p on=h1/* nth=2 err=0x1", "p@a q@a p@b", "0s 0s 0x1", ""},
		{"p on=*b* err=0x1", "p@a p@abc", "0s 0x1", ""},
		{"p on=h2/* err=0x1", "p@a p@b", "0s 0s", "p on=h2/* err=0x00000001"},
		{"p nth=3 hang", "p@a p@b", "0s 0s", "p nth=3 hang"},
		{"p delay=5s", "p@a p@a", "5s 0s", ""},
		{"p delay=5s;p delay=7s;p err=0x1", "p@a", "0x1", ""},
		{"p delay=5s;p delay=7s", "p@a", "12s", ""},
		{"p delay=61s", "p@a", "hung", ""},
		{"p hang", "p@a p@a", "hung 0s", ""},
		{"p kill", "p@a q@b", "sim: the process was killed 0s", ""},
		{"p kill=h1/b", "p@b q@a", "sim: the process was killed 0s", ""},
		{"p kill=h1/b", "q@b p@a q@b", "0s 0s 0s", ""},
		{"p kill=h9;p err=0x1", "p@a", "0x1", "p kill=h9"},
		{"p from=1 kill=h1/b;q nth=2 delay=1s", "q@b p@a p@a q@a", "0s 0s 0s 1s", ""},
	} {
		t.Run(c.plan, func(t *testing.T) {
			var plan []string
			for f := range strings.SplitSeq(c.plan, ";") {
				if f != "" {
					plan = append(plan, f)
				}
			}
			w := sim.New(sim.Plan(plan...))
			defer w.Close()
			if got := strings.Join(reach(w, strings.Fields(c.asks)...), " "); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
			var unreached []string
			for _, f := range w.Unreached() {
				unreached = append(unreached, f.String())
			}
			if got := strings.Join(unreached, ";"); got != c.unreached {
				t.Errorf("unreached: %s, want %s", got, c.unreached)
			}
			if len(w.Plan()) != len(plan) {
				t.Errorf("the plan is %v", w.Plan())
			}
		})
	}
}

func TestFaultsAreInTheTrace(t *testing.T) {
	w := sim.New(sim.Plan("vss/freeze on=h1/a delay=5s", "vss/freeze err=0x800423F4"))
	defer w.Close()
	reach(w, "vss/freeze@a")
	const want = `          0s  h1/a                         fault point=vss/freeze on=h1/a outcome=delay=5s
          5s  h1/a                         fault point=vss/freeze on=h1/a outcome=err=0x800423F4
`
	if got := strings.ReplaceAll(w.Trace().String(), `"`, ""); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	err := &sim.FaultError{Fault: w.Plan()[1], On: "h1/a"}
	if err.Error() != "vss/freeze on h1/a: injected error 0x800423F4" {
		t.Error(err)
	}
}

func TestHeal(t *testing.T) {
	w := sim.New(sim.Plan("p from=1 err=0x1", "never hang"))
	defer w.Close()
	if got := fmt.Sprint(reach(w, "p@a", "p@a")); got != "[0x1 0x1]" {
		t.Error(got)
	}
	w.Heal()
	if got := fmt.Sprint(reach(w, "p@a", "never@a")); got != "[0s 0s]" {
		t.Errorf("after healing: %s", got)
	}
	if u := w.Unreached(); len(u) != 1 || u[0].Point != "never" {
		t.Errorf("healing hides what was never reached: %v", u)
	}
	again, err := sim.ParseFault("p nth=2 err=0x2")
	if err != nil {
		t.Fatal(err)
	}
	w.Inject(again)
	if got := fmt.Sprint(reach(w, "p@a", "p@a", "p@a")); got != "[0s 0x2 0s]" {
		t.Errorf("after injecting another: %s", got)
	}
}

func TestHitsAndSingleFaults(t *testing.T) {
	w := sim.New()
	defer w.Close()
	reach(w, "q@b", "p@a", "p@b", "p@a")
	hits := w.Hits()
	if fmt.Sprint(hits) != "[{q h1/b 1 0} {p h1/a 2 0} {p h1/b 1 0}]" {
		t.Errorf("hits %v", hits)
	}
	points := []sim.FaultPoint{{Point: "p", Outcomes: []sim.Outcome{{Err: 5}, {Hang: true}}}, {Point: "never", Outcomes: []sim.Outcome{{Err: 5}}}}
	var got []string
	for _, f := range sim.SingleFaults(points, hits) {
		got = append(got, f.String())
	}
	const want = "p on=h1/a err=0x00000005;p on=h1/a hang;p on=h1/b err=0x00000005;p on=h1/b hang"
	if s := strings.Join(got, ";"); s != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
}

func TestParseFault(t *testing.T) {
	for line, want := range map[string]string{
		"vss/freeze on=h1/db/guest/ledger nth=2 err=0x800423F4": "",
		"disk/write on=h1/D: from=10 err=0x80070070":            "",
		"guest/answer delay=20m":                                "guest/answer delay=20m0s",
		"hyperv/save kill=h1/vmms":                              "",
		"p kill":                                                "",
		"p kill=.":                                              "p kill",
		"p  hang   on=x":                                        "p on=x hang",
		"p err=0xabc":                                           "p err=0x00000ABC",
	} {
		f, err := sim.ParseFault(line)
		if want == "" {
			want = line
		}
		if err != nil || f.String() != want {
			t.Errorf("%s: %s, %v", line, f, err)
		}
	}
	for _, line := range []string{
		"", "p", "err=0x1", "p=q err=0x1", "p err=1", "p err=0x0", "p err=0x100000000", "p err=0x", "p err=0x1 hang", "p hang hang",
		"p nth=0 hang", "p nth=-1 hang", "p nth=x hang", "p nth=1 nth=2 hang", "p nth=1 from=2 hang", "p on= hang", "p on=a on=b hang",
		"p delay=0s", "p delay=-1s", "p delay=x", "p delay", "p hang=", "p kill=", "p boom", "p on=a", "p what=1 hang",
	} {
		if f, err := sim.ParseFault(line); err == nil {
			t.Errorf("%q is read as %v", line, f)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Plan takes a malformed fault")
		}
	}()
	sim.Plan("nonsense")
}

func FuzzParseFault(f *testing.F) {
	for _, s := range []string{"vss/freeze on=h1/db nth=2 err=0x800423F4", "p from=3 delay=1h2m", "p hang", "p kill", "p kill=a=b", "p on=*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		fault, err := sim.ParseFault(line)
		if err != nil {
			return
		}
		again, err := sim.ParseFault(fault.String())
		if err != nil || again != fault {
			t.Errorf("%q prints as %q, which is read as %#v, %v", line, fault, again, err)
		}
	})
}

func FuzzParseOutcome(f *testing.F) {
	for _, s := range []string{"err=0x800423F4", "delay=1.5s", "hang", "kill", "kill=h1/vmms", "kill=."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := sim.ParseOutcome(s)
		if err != nil {
			return
		}
		if again, err := sim.ParseOutcome(o.String()); err != nil || again != o {
			t.Errorf("%q prints as %q, which is read as %#v, %v", s, o, again, err)
		}
	})
}

// Whatever an actor is called, a fault for it can be written down.
func FuzzPathsAreWords(f *testing.F) {
	for _, s := range []string{"db 1", "a/b", "x#2", "ä", "a\u00a0b", "\xff", "100%", "*", "\u2028", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		w := sim.New()
		defer w.Close()
		path := w.Actor("h1").Child(name).Path()
		f := sim.Fault{Point: "p", On: path, Outcome: sim.Outcome{Hang: true}}
		if again, err := sim.ParseFault(f.String()); err != nil || again != f {
			t.Errorf("%q: %q is read as %v, %v", name, f, again, err)
		}
		r := sim.Recording{{Name: name, N: 2, Chosen: 1}}
		if again, err := sim.ParseRecording(r.String()); err != nil || len(again) != 1 || again[0] != r[0] {
			t.Errorf("%q: %q is read as %v, %v", name, r, again, err)
		}
	})
}

func TestPathsAreUnique(t *testing.T) {
	w := sim.New()
	defer w.Close()
	h := w.Actor("h 1")
	var got []string
	for _, name := range []string{"db", "db", "db#2", "a/b", "a%2Fb", "db", "tab\t"} {
		got = append(got, h.Child(name).Path())
	}
	const want = "h%201/db h%201/db#2 h%201/db%232 h%201/a%2Fb h%201/a%252Fb h%201/db#3 h%201/tab%09"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
}
