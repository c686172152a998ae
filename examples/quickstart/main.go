// Quickstart backs up a simulated Hyper-V host with four virtual machines,
// destroys them, and restores them from the backup's files: once on the host
// itself and once on another host in a fresh world.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -out backup -trace trace.jsonl -seed 7
//	go run ./examples/quickstart -vhd disk.vhd
//	go run ./examples/quickstart -list-faults
//	go run ./examples/quickstart -fault vss/freeze=err=0x800423F4
//
// It prints what happens and a verdict. The exit status is 0 if every check
// held, 1 if one did not, 2 for bad flags or a bad image, and 3 if a fault was
// injected and everything ended as it should.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

// Exit statuses.
const (
	exitGood = iota
	exitFailed
	exitUsage
	exitFault
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the flags say.
type options struct {
	vhd        string
	out        string
	seed       uint64
	seeded     bool
	trace      string
	fault      string
	listFaults bool
}

func parse(args []string) (o options, help string, err error) {
	var text strings.Builder
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(&text)
	f.StringVar(&o.vhd, "vhd", "", "attach a copy of this VHD `file` (fixed or dynamic) to sql01")
	f.StringVar(&o.out, "out", "", "keep the backup in this `directory`")
	f.Uint64Var(&o.seed, "seed", 0, "draw the order of events and all choices from this `number`")
	f.StringVar(&o.trace, "trace", "", "write the trace to this `file` as JSON Lines")
	f.BoolVar(&o.listFaults, "list-faults", false, "list the points at which a fault can be injected")
	f.Func("fault", "inject one fault, as `point[=outcome]`", func(s string) error {
		if o.fault != "" {
			return errors.New("there is a fault already; only one can be injected")
		}
		o.fault = s
		return nil
	})
	if err := f.Parse(args); err != nil {
		return o, text.String(), err
	}
	if f.NArg() > 0 {
		return o, "", fmt.Errorf("unexpected argument %q", f.Arg(0))
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
	case o.listFaults:
		err = listFaults(stdout)
		if err == nil {
			return exitGood
		}
	}
	var status int
	if err == nil {
		status, err = simulate(o, stdout)
	}
	if err == nil {
		return status
	}
	fmt.Fprintf(stderr, "quickstart: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// A usageError is a mistake in what the program was asked for.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// simulate runs the whole story.
func simulate(o options, stdout io.Writer) (status int, err error) {
	var opts []sim.Option
	if o.seeded {
		opts = append(opts, sim.Seed(o.seed))
	}
	var faults []sim.Fault
	if o.fault != "" {
		f, err := parseFault(o.fault)
		if err != nil {
			return 0, &usageError{err}
		}
		faults = append(faults, f)
	}
	image, err := o.image()
	if err != nil {
		return 0, &usageError{err}
	}
	target, done, err := o.target()
	if err != nil {
		return 0, &usageError{err}
	}
	defer func() { err = errors.Join(err, done()) }()

	w := sim.New(opts...)
	save, err := o.traceFile(w)
	if err != nil {
		return 0, &usageError{err}
	}
	defer func() { err = errors.Join(err, save(), w.Close()) }()
	s := &story{ctx: context.Background(), w: w, out: stdout, target: target, image: image, faults: faults}
	return s.tell()
}

// image opens the file given with -vhd and makes sure that it is one.
func (o options) image() (*image, error) {
	if o.vhd == "" {
		return nil, nil
	}
	info, err := os.Stat(o.vhd)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", o.vhd)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(o.vhd)
	if err != nil {
		return nil, err
	}
	// As it will be attached: an image that is sound enough to be read but not to
	// be written is refused here.
	disk, err := vhd.OpenFile(readOnly{f, info.Size()})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", o.vhd, err), f.Close())
	}
	return &image{name: o.vhd, file: f, size: info.Size(), disk: disk}, nil
}

// readOnly is a file of the operating system that an image is opened in but never
// written to.
type readOnly struct {
	*os.File
	size int64
}

func (f readOnly) Size() int64                        { return f.size }
func (f readOnly) Resize(int64) error                 { return fs.ErrPermission }
func (f readOnly) WriteAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }

// target is where the backup goes: the directory given with -out, or one that is
// removed at the end.
func (o options) target() (requester.Files, func() error, error) {
	path, temporary := o.out, o.out == ""
	if temporary {
		var err error
		if path, err = os.MkdirTemp("", "shadowsim"); err != nil {
			return nil, nil, err
		}
	}
	d, err := requester.OpenDirectory(path)
	if err != nil {
		return nil, nil, err
	}
	if err := requester.CheckTarget(d); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), d.Close())
	}
	return d, func() error {
		err := d.Close()
		if temporary {
			err = errors.Join(err, os.RemoveAll(path))
		}
		return err
	}, nil
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

// points are the places where a fault can be injected in this program.
func points() []sim.FaultPoint { return append(hyperv.FaultPoints(), requester.FaultPoints()...) }

// listFaults prints the points that a run without faults reaches, and for which
// objects, and then the others.
func listFaults(out io.Writer) error {
	w := sim.New()
	defer func() { _ = w.Close() }()
	s := &story{ctx: context.Background(), w: w, out: io.Discard, target: &requester.Memory{}}
	if _, err := s.tell(); err != nil {
		return err
	}
	objects := make(map[sim.Point][]string)
	for _, h := range s.reached() {
		objects[h.Point] = append(objects[h.Point], h.On)
	}
	var rest []sim.FaultPoint
	for _, p := range points() {
		if len(objects[p.Point]) == 0 {
			rest = append(rest, p)
			continue
		}
		printPoint(out, p)
		fmt.Fprintf(out, "%-28s on %s\n", "", strings.Join(objects[p.Point], ", "))
	}
	fmt.Fprintln(out, "\nPoints that this story does not reach by itself:")
	for _, p := range rest {
		printPoint(out, p)
	}
	return nil
}

func printPoint(out io.Writer, p sim.FaultPoint) {
	fmt.Fprintf(out, "%-28s %s\n", p.Point, p.Doc)
	for _, outcome := range p.Outcomes {
		fmt.Fprintf(out, "%-28s   =%v\n", "", outcome)
	}
}

// parseFault reads point[=outcome], or a fault in full.
func parseFault(s string) (sim.Fault, error) {
	if strings.Contains(s, " ") {
		f, err := sim.ParseFault(s)
		if err != nil {
			return f, err
		}
		p, err := pointNamed(string(f.Point))
		if err == nil {
			err = offered(p, f.Outcome)
		}
		return f, err
	}
	name, outcome, given := strings.Cut(s, "=")
	p, err := pointNamed(name)
	if err != nil {
		return sim.Fault{}, err
	}
	f := sim.Fault{Point: p.Point}
	if given {
		if f.Outcome, err = sim.ParseOutcome(outcome); err == nil {
			err = offered(p, f.Outcome)
		}
		return f, err
	}
	if len(p.Outcomes) == 0 {
		return f, fmt.Errorf("fault point %s needs an outcome", name)
	}
	f.Outcome = p.Outcomes[0]
	return f, nil
}

// offered refuses a kind of outcome that means nothing at a point, such as the
// death of something that nobody starts again.
func offered(p sim.FaultPoint, o sim.Outcome) error {
	kind := func(o sim.Outcome) string { k, _, _ := strings.Cut(o.String(), "="); return k }
	for _, x := range p.Outcomes {
		if kind(x) == kind(o) && (x.Kill == o.Kill || o.Kill == "") {
			return nil
		}
	}
	return fmt.Errorf("%v is no outcome of %s; -list-faults lists them", o, p.Point)
}

func pointNamed(name string) (sim.FaultPoint, error) {
	for _, p := range points() {
		if string(p.Point) == name {
			return p, nil
		}
	}
	return sim.FaultPoint{}, fmt.Errorf("there is no fault point %q; -list-faults lists them", name)
}
