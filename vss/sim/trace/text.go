// Package trace renders the events of a world, reads them back, and tells two
// runs apart.
package trace

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Text writes a trace for people: a line an event, with the time where it has
// changed, who did it, what, the details, and the requirement that made it so.
func Text(w io.Writer, t sim.Trace) error {
	out := bufio.NewWriter(w)
	width := 0
	for _, e := range t {
		width = max(width, len(e.Actor))
	}
	last := time.Duration(-1)
	for _, e := range t {
		at := ""
		if e.Time != last {
			at, last = e.Time.String(), e.Time
		}
		fmt.Fprintf(out, "%16s  %-*s  %s", at, width, e.Actor, e.Kind)
		for _, a := range e.Attrs {
			fmt.Fprintf(out, " %s=%s", a.Key, quoted(a.Value()))
		}
		if e.Rule != "" {
			fmt.Fprintf(out, "  [%s]", e.Rule)
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\r\n\"=") {
		return fmt.Sprintf("%q", s)
	}
	return s
}
