package hyperv

import (
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// eventBack tells that a machine which the writer had saved does again what it did
// before.
const eventBack = "hyperv/back"

// A Downtime is how long a machine did not do what it did, because a backup had
// saved it: from the request to save it until it was back, in virtual time.
type Downtime struct {
	Host     string
	VM       string // its name
	From, To time.Duration
}

// Duration is the length of the downtime.
func (d Downtime) Duration() time.Duration { return d.To - d.From }

// Downtimes reads from a trace how long the backups in it kept machines down, in
// the order in which they came back; a machine that did not come back is not
// among them. Machines that are backed up by a snapshot inside have no downtime,
// and neither have those that did not execute.
func Downtimes(tr sim.Trace) []Downtime {
	var out []Downtime
	for _, e := range tr {
		if e.Kind != eventBack {
			continue
		}
		down, err := time.ParseDuration(e.Get("down"))
		if err != nil {
			continue
		}
		host, _, _ := strings.Cut(e.Actor, "/")
		out = append(out, Downtime{Host: host, VM: e.Get("vm"), From: e.Time - down, To: e.Time})
	}
	return out
}
