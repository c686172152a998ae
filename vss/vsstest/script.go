package vsstest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A script is what happens in one run, a step after another, each as it is
// written: a verb, then key=value words. The step "fault ..." plans a fault, as
// [sim.Fault] prints it. The step "order ..." at the end is the recorded order
// of processes.
type script []step

type step string

const (
	faultVerb = "fault"
	orderVerb = "order"
	between   = "; "
)

// line is the whole script as one line.
func (s script) line() string {
	parts := make([]string, len(s))
	for i, st := range s {
		parts[i] = string(st)
	}
	return strings.Join(parts, between)
}

func parseScript(line string) script {
	var s script
	for part := range strings.SplitSeq(line, strings.TrimSpace(between)) {
		if part = strings.TrimSpace(part); part != "" {
			s = append(s, step(part))
		}
	}
	return s
}

func (s step) verb() string {
	v, _, _ := strings.Cut(string(s), " ")
	return v
}

func (s step) rest() string {
	_, r, _ := strings.Cut(string(s), " ")
	return r
}

// get is the value of a word, or "".
func (s step) get(key string) string {
	for _, w := range strings.Fields(string(s)) {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			return v
		}
	}
	return ""
}

// with adds a word; none if the value is empty.
func (s step) with(key, value string) step {
	if value == "" {
		return s
	}
	return s + step(" "+key+"="+value)
}

func faultStep(f sim.Fault) step { return step(faultVerb + " " + f.String()) }

// faults are the faults that the script plans.
func (s script) faults() ([]sim.Fault, error) {
	var out []sim.Fault
	var errs []error
	for _, st := range s {
		if st.verb() == faultVerb {
			f, err := sim.ParseFault(st.rest())
			out, errs = append(out, f), append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

// acts is the script without faults and order.
func (s script) acts() script {
	var out script
	for _, st := range s {
		if v := st.verb(); v != faultVerb && v != orderVerb {
			out = append(out, st)
		}
	}
	return out
}

// order is the option that repeats the recorded order, nil without one.
func (s script) order() (sim.Option, error) {
	for _, st := range s {
		if st.verb() == orderVerb {
			r, err := sim.ParseRecording(st.rest())
			if err != nil {
				return nil, fmt.Errorf("vsstest: %w", err)
			}
			return sim.Replay(r), nil
		}
	}
	return nil, nil
}

func (s script) ordered() bool { return len(s) > 0 && s[len(s)-1].verb() == orderVerb }

// smaller lists scripts that have a step less, or a word less, the shorter ones
// first. None is empty.
func (s script) smaller() []script {
	var out []script
	for i := range s {
		if len(s) > 1 {
			out = append(out, append(append(script{}, s[:i]...), s[i+1:]...))
		}
	}
	for i, st := range s {
		words := strings.Fields(string(st))
		if st.verb() == faultVerb || st.verb() == orderVerb {
			continue
		}
		for j := 1; j < len(words); j++ {
			less := append(append([]string{}, words[:j]...), words[j+1:]...)
			t := append(script{}, s...)
			t[i] = step(strings.Join(less, " "))
			out = append(out, t)
		}
	}
	return out
}
