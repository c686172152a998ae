package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/vss"
)

const maxOpening = 1 << 30

type args struct {
	data, log string
	accounts  int
	opening   int64
	rest      time.Duration
	level     vss.ApplicationLevel
	window    time.Duration
	veto      vss.Event
	vetoes    bool
	hr        vss.HRESULT
	slow      time.Duration
}

// An ArgError is an argument of the program that it does not understand.
type ArgError struct {
	Name, Value string
	Err         error // what is wrong, or nil if there is no such argument
}

// Error names the argument and what is wrong with it.
func (e *ArgError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("ledger: there is no argument %q", e.Name)
	}
	return fmt.Sprintf("ledger: %s=%s: %v", e.Name, e.Value, e.Err)
}

// Unwrap returns what is wrong.
func (e *ArgError) Unwrap() error { return e.Err }

func parseArgs(given map[string]string) (args, error) {
	a := args{data: "C:", accounts: 64, opening: 1000, rest: 100 * time.Millisecond, hr: vss.ErrWriterErrorNonRetryable}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		known, err := a.set(name, given[name])
		if err != nil || !known {
			return a, &ArgError{Name: name, Value: given[name], Err: err}
		}
	}
	if a.log == "" {
		a.log = a.data
	}
	return a, nil
}

func (a *args) set(name, value string) (known bool, err error) {
	switch name {
	case "data":
		a.data = value
	case "log":
		a.log = value
	case "accounts":
		var n int64
		n, err = number(value, 2, maxAccounts)
		a.accounts = int(n)
	case "opening":
		a.opening, err = number(value, 1, maxOpening)
	case "rest":
		a.rest, err = positive(value)
	case "window":
		a.window, err = positive(value)
	case "slow":
		a.slow, err = positive(value)
	case "level":
		a.level, err = level(value)
	case "veto":
		a.vetoes = true
		a.veto, err = event(value)
	case "hr":
		a.hr, err = vss.ParseHRESULT(value)
	default:
		return false, nil
	}
	return true, err
}

func number(s string, least, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && (n < least || n > most) {
		err = fmt.Errorf("not between %d and %d", least, most)
	}
	return n, err
}

func positive(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("not a length of time")
	}
	return d, err
}

func level(s string) (vss.ApplicationLevel, error) {
	switch s {
	case "front-end":
		return vss.LevelFrontEnd, nil
	case "back-end":
		return vss.LevelBackEnd, nil
	case "system":
		return vss.LevelSystem, nil
	}
	return 0, fmt.Errorf("not front-end, back-end or system")
}

// vetoable are the events that the writer can be told to refuse.
var vetoable = []vss.Event{vss.EventIdentify, vss.EventPrepareBackup, vss.EventPrepareSnapshot, vss.EventFreeze,
	vss.EventThaw, vss.EventPostSnapshot, vss.EventBackupComplete}

func event(s string) (vss.Event, error) {
	for _, e := range vetoable {
		if strings.TrimPrefix(e.Kind(), "vss/") == s {
			return e, nil
		}
	}
	return 0, fmt.Errorf("not an event that can be refused")
}
