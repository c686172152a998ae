// Cluster tells what backup and restore do to virtual machines of a failover
// cluster: once the way that goes wrong, and once with the remedy.
//
//	go run ./examples/cluster                        a backup behind the cluster's back
//	go run ./examples/cluster -remedy                the same, saved through the cluster first
//	go run ./examples/cluster -story restore         a restore over resources that are online
//	go run ./examples/cluster -story csv             one shared volume, two backups
//	go run ./examples/cluster -story crash -seed 7   a node dies in the middle of a backup
//	go run ./examples/cluster -story partition       the network between the nodes breaks
//
// It prints what happens, the rules that made it so, and a verdict. The exit
// status is 0 if all went well and every check held, 1 if a check did not hold, 2
// for bad flags, and 3 if things went wrong as the story wants it and everything
// ended as it should.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

// Exit statuses.
const (
	exitGood = iota
	exitFailed
	exitUsage
	exitTrouble
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the flags say.
type options struct {
	story  string
	remedy bool
	seed   uint64
	seeded bool
	trace  string
}

func parse(args []string) (o options, help string, err error) {
	var text strings.Builder
	f := flag.NewFlagSet("cluster", flag.ContinueOnError)
	f.SetOutput(&text)
	f.StringVar(&o.story, "story", "backup", "tell this `story`: "+strings.Join(storyNames(), ", "))
	f.BoolVar(&o.remedy, "remedy", false, "do it the right way")
	f.Uint64Var(&o.seed, "seed", 0, "draw the order of events and all choices from this `number`")
	f.StringVar(&o.trace, "trace", "", "write the trace to this `file` as JSON Lines")
	if err := f.Parse(args); err != nil {
		return o, text.String(), err
	}
	if f.NArg() > 0 {
		return o, "", fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if storyNamed(o.story) == nil {
		return o, "", fmt.Errorf("there is no story %q, but %s", o.story, strings.Join(storyNames(), ", "))
	}
	f.Visit(func(x *flag.Flag) { o.seeded = o.seeded || x.Name == "seed" })
	return o, "", nil
}

func run(args []string, stdout, stderr io.Writer) int {
	o, help, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		return exitGood
	case err != nil:
		err = &usageError{err}
	default:
		var status int
		if status, err = simulate(o, stdout); err == nil {
			return status
		}
	}
	fmt.Fprintf(stderr, "cluster: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// A usageError is a mistake in what the program was asked for.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// simulate tells one story.
func simulate(o options, stdout io.Writer) (status int, err error) {
	var opts []sim.Option
	if o.seeded {
		opts = append(opts, sim.Seed(o.seed))
	}
	w := sim.New(opts...)
	save, err := o.traceFile(w)
	if err != nil {
		return 0, errors.Join(&usageError{err}, w.Close())
	}
	defer func() { err = errors.Join(err, save(), w.Close()) }()
	s := &stage{ctx: context.Background(), w: w, out: stdout, remedy: o.remedy}
	s.witness = o.remedy || o.story != "partition"
	if err := s.build(); err != nil {
		return 0, err
	}
	if err := storyNamed(o.story)(s); err != nil {
		return 0, err
	}
	return s.verdict(), nil
}

// traceFile makes the file for the trace, and returns what fills it at the end.
func (o options) traceFile(w *sim.World) (save func() error, err error) {
	if o.trace == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(o.trace)
	if err != nil {
		return nil, err
	}
	return func() error { return errors.Join(trace.JSONLines(f, w.Trace()), f.Close()) }, nil
}
