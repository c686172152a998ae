package trace

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A line is an event as it stands in a file. Attributes keep their order.
type line struct {
	Seq   uint64 `json:"seq"`
	Time  int64  `json:"ns"` // virtual nanoseconds since the world began
	Actor string `json:"actor"`
	Kind  string `json:"kind"`
	Rule  string `json:"rule,omitempty"`
	Attrs []attr `json:"attrs,omitempty"`
}

// An attr has a text or a number.
type attr struct {
	Key  string  `json:"key"`
	Text *string `json:"text,omitempty"`
	Num  *int64  `json:"num,omitempty"`
}

// JSONLines writes a trace as JSON Lines: one object an event, with seq, ns (the
// virtual time in nanoseconds), actor, kind, rule and attrs.
func JSONLines(w io.Writer, t sim.Trace) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for _, e := range t {
		l := line{Seq: e.Seq, Time: int64(e.Time), Actor: e.Actor, Kind: e.Kind, Rule: e.Rule}
		for _, a := range e.Attrs {
			if a.Number {
				l.Attrs = append(l.Attrs, attr{Key: a.Key, Num: &a.Num})
			} else {
				l.Attrs = append(l.Attrs, attr{Key: a.Key, Text: &a.Text})
			}
		}
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return out.Flush()
}

// maxLine bounds the length of a line that is read.
const maxLine = 16 << 20

// A ReadError is a line that is no event.
type ReadError struct {
	Line int // from 1
	Err  error
}

func (e *ReadError) Error() string { return fmt.Sprintf("trace: line %d: %v", e.Line, e.Err) }

// Unwrap is what is wrong with the line.
func (e *ReadError) Unwrap() error { return e.Err }

// ReadJSONLines reads what [JSONLines] wrote; a line that is no event is a
// [*ReadError]. Members that it does not know are skipped, and empty lines. Text
// that is not UTF-8 comes back with replacement characters.
func ReadJSONLines(r io.Reader) (sim.Trace, error) {
	var t sim.Trace
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for n := 1; in.Scan(); n++ {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var l line
		err := json.Unmarshal(in.Bytes(), &l)
		if err == nil {
			t, err = l.addTo(t)
		}
		if err != nil {
			return nil, &ReadError{n, err}
		}
	}
	return t, in.Err()
}

func (l line) addTo(t sim.Trace) (sim.Trace, error) {
	e := sim.Event{Seq: l.Seq, Time: time.Duration(l.Time), Actor: l.Actor, Kind: l.Kind, Rule: l.Rule}
	for _, a := range l.Attrs {
		switch {
		case (a.Text == nil) == (a.Num == nil):
			return nil, fmt.Errorf("attribute %q: wants a text or a number", a.Key)
		case a.Num != nil:
			e.Attrs = append(e.Attrs, sim.N(a.Key, *a.Num))
		default:
			e.Attrs = append(e.Attrs, sim.S(a.Key, *a.Text))
		}
	}
	return append(t, e), nil
}
