package trace

import (
	"bufio"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// Columns grow with what stands in them up to these widths; what is longer
// pushes the rest of its line to the right.
const (
	maxActor   = 40
	maxKind    = 32
	maxDetails = 64
)

// Text writes a transcript that a newcomer can follow, one line an event: when,
// who, what, the details, and the rule that made it happen. A time stands at the
// first of its events alone.
func Text(w io.Writer, t sim.Trace) error {
	b := bufio.NewWriter(w)
	l := newLayout(t)
	last := time.Duration(-1)
	for _, e := range t {
		when := ""
		if e.Time != last {
			when = e.Time.String()
		}
		last = e.Time
		b.WriteString(l.line(when, e))
		b.WriteByte('\n')
	}
	return b.Flush()
}

// A layout is the widths of the columns.
type layout struct{ time, actor, kind, details int }

func newLayout(traces ...sim.Trace) layout {
	var l layout
	for _, t := range traces {
		for _, e := range t {
			l.time = max(l.time, utf8.RuneCountInString(e.Time.String()))
			l.actor = max(l.actor, min(maxActor, utf8.RuneCountInString(e.Actor)))
			l.kind = max(l.kind, min(maxKind, utf8.RuneCountInString(e.Kind)))
			if e.Rule != "" {
				l.details = max(l.details, min(maxDetails, utf8.RuneCountInString(details(e))))
			}
		}
	}
	return l
}

func (l layout) line(when string, e sim.Event) string {
	var b strings.Builder
	pad(&b, when, l.time)
	pad(&b, e.Actor, l.actor)
	pad(&b, e.Kind, l.kind)
	if e.Rule == "" {
		b.WriteString(details(e))
	} else {
		pad(&b, details(e), l.details)
		b.WriteString(e.Rule)
	}
	return strings.TrimRight(b.String(), " ")
}

// pad writes s and blanks up to the width, and two more.
func pad(b *strings.Builder, s string, width int) {
	b.WriteString(s)
	for n := utf8.RuneCountInString(s); n < width+2; n++ {
		b.WriteByte(' ')
	}
	if utf8.RuneCountInString(s) >= width+2 {
		b.WriteString("  ")
	}
}

func details(e sim.Event) string {
	var b strings.Builder
	for i, a := range e.Attrs {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return b.String()
}
