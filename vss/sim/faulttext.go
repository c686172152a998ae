package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func (o Outcome) String() string {
	switch {
	case o.Err != 0:
		return fmt.Sprintf("err=0x%08X", o.Err)
	case o.Delay != 0:
		return "delay=" + o.Delay.String()
	case o.Hang:
		return "hang"
	case o.Kill == ".":
		return "kill"
	default:
		return "kill=" + o.Kill
	}
}

func (f Fault) String() string {
	s := string(f.Point)
	if f.On != "" {
		s += " on=" + f.On
	}
	if f.Nth > 0 {
		s += " nth=" + strconv.Itoa(f.Nth)
	}
	if f.From > 0 {
		s += " from=" + strconv.Itoa(f.From)
	}
	return s + " " + f.Outcome.String()
}

// ParseFault reads a fault as [Fault.String] prints it.
func ParseFault(s string) (Fault, error) {
	fields := strings.Fields(s)
	if len(fields) < 2 || strings.Contains(fields[0], "=") {
		return Fault{}, fmt.Errorf("sim: fault %q: want a point and an outcome", s)
	}
	f := Fault{Point: Point(fields[0])}
	seen := make(map[string]bool)
	for _, word := range fields[1:] {
		key, value, _ := strings.Cut(word, "=")
		kind := key
		switch key {
		case "err", "delay", "hang", "kill":
			kind = "outcome"
		case "nth", "from":
			kind = "count"
		}
		if seen[kind] {
			return Fault{}, fmt.Errorf("sim: fault %q: more than one %s", s, kind)
		}
		seen[kind] = true
		if err := f.set(key, value, word); err != nil {
			return Fault{}, fmt.Errorf("sim: fault %q: %w", s, err)
		}
	}
	if !seen["outcome"] {
		return Fault{}, fmt.Errorf("sim: fault %q: no outcome", s)
	}
	return f, nil
}

func (f *Fault) set(key, value, word string) (err error) {
	switch key {
	case "on":
		f.On = value
		if value == "" {
			err = errors.New("on= names nothing")
		}
	case "nth":
		f.Nth, err = positive(value)
	case "from":
		f.From, err = positive(value)
	default:
		f.Outcome, err = ParseOutcome(word)
	}
	return err
}

func positive(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a positive number", s)
	}
	return n, nil
}

// ParseOutcome reads an outcome as [Outcome.String] prints it.
func ParseOutcome(s string) (Outcome, error) {
	key, value, has := strings.Cut(s, "=")
	switch {
	case key == "hang" && !has:
		return Outcome{Hang: true}, nil
	case key == "kill" && !has:
		return Outcome{Kill: "."}, nil
	case key == "kill" && value != "":
		return Outcome{Kill: value}, nil
	case key == "delay":
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return Outcome{}, fmt.Errorf("%q is not a delay", value)
		}
		return Outcome{Delay: d}, nil
	case key == "err":
		hex, ok := strings.CutPrefix(strings.ToLower(value), "0x")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || n == 0 {
			return Outcome{}, fmt.Errorf("%q is not an error code such as 0x800423F4", value)
		}
		return Outcome{Err: uint32(n)}, nil
	}
	return Outcome{}, fmt.Errorf("%q is no outcome (err=0x…, delay=…, hang, kill, kill=actor)", s)
}
