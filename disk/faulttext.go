package disk

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// String prints the outcome as [ParseFault] reads it.
func (o FaultOutcome) String() string {
	switch {
	case o.Err != 0:
		return fmt.Sprintf("err=0x%08X", o.Err)
	case o.Delay != 0:
		return "delay=" + o.Delay.String()
	case o.Torn != 0:
		return "torn=" + strconv.FormatInt(o.Torn, 10)
	case o.Keep != 0:
		return "drop=" + strconv.FormatInt(o.Keep, 10)
	}
	return "drop"
}

// String prints the fault as [ParseFault] reads it.
func (f Fault) String() string {
	s := string(f.Op)
	if f.At.Len > 0 {
		s += " at=" + strconv.FormatInt(f.At.Off, 10)
		if f.At.Len > 1 {
			s += "+" + strconv.FormatInt(f.At.Len, 10)
		}
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
	words := strings.Fields(s)
	if len(words) < 2 {
		return Fault{}, fmt.Errorf("disk: fault %q: want an operation and an outcome", s)
	}
	f := Fault{Op: Op(words[0])}
	seen := make(map[string]bool)
	for _, word := range words[1:] {
		kind, err := f.parseWord(word)
		if err == nil && seen[kind] {
			err = fmt.Errorf("more than one %s", kind)
		}
		if err != nil {
			return Fault{}, fmt.Errorf("disk: fault %q: %w", s, err)
		}
		seen[kind] = true
	}
	if err := f.check(); err != nil {
		return Fault{}, fmt.Errorf("disk: fault %q: %w", s, err)
	}
	return f, nil
}

// parseWord reads one word and tells what it is about.
func (f *Fault) parseWord(word string) (kind string, err error) {
	key, value, has := strings.Cut(word, "=")
	switch key {
	case "at":
		off, n, long := strings.Cut(value, "+")
		if !long {
			n = "1"
		}
		f.At.Off, err = number(off, 0)
		if err == nil {
			f.At.Len, err = number(n, 1)
		}
		return key, err
	case "nth", "from":
		n, err := number(value, 1)
		if n > 1<<30 {
			err = fmt.Errorf("%q is more than can be counted", value)
		}
		if key == "nth" {
			f.Nth = int(n)
		} else {
			f.From = int(n)
		}
		return "count", err
	}
	return "outcome", f.Outcome.parse(key, value, has, word)
}

func (o *FaultOutcome) parse(key, value string, has bool, word string) (err error) {
	switch key {
	case "err":
		hex, ok := strings.CutPrefix(strings.ToLower(value), "0x")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || n == 0 {
			return fmt.Errorf("%q is not an error code such as 0x80070070", value)
		}
		o.Err = uint32(n)
	case "delay":
		if o.Delay, err = time.ParseDuration(value); err != nil || o.Delay <= 0 {
			return fmt.Errorf("%q is not a delay", value)
		}
	case "torn":
		o.Torn, err = number(value, 1)
	case "drop":
		o.Drop = true
		if has {
			o.Keep, err = number(value, 1)
		}
	default:
		err = fmt.Errorf("%q is neither a place (at=), a count (nth=, from=) nor an outcome (err=0x…, delay=, torn=, drop, drop=)", word)
	}
	return err
}

func number(s string, least int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least {
		return 0, fmt.Errorf("%q is not a number of at least %d", s, least)
	}
	return n, nil
}
