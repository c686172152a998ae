package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// TestFailureAlgorithm plays the stories in testdata/failure. Each is one world:
// prose and commands, dashes, and what the cluster did up to the next empty line.
func TestFailureAlgorithm(t *testing.T) {
	files, err := filepath.Glob("testdata/failure/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d transcripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(b), "\r\n", "\n")
			s := &stage{t: t, lights: make(map[string]*light)}
			var blocks []string
			for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
				input, _, dashes := strings.Cut(block+"\n", "----\n")
				if dashes {
					input += "----\n" + s.play(input)
				}
				blocks = append(blocks, strings.TrimSuffix(input, "\n"))
			}
			got := strings.Join(blocks, "\n\n") + "\n"
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(text, got); diff != "" {
				t.Errorf("-rewrite writes it anew; -want +got\n%s", diff)
			}
		})
	}
}

// A light is a resource that does what a story wants.
type light struct {
	broken map[string]bool // it cannot come online on these nodes
	sick   bool            // it is not alive, until it comes online again
	dim    bool            // it does not look alive
	slow   time.Duration
}

var errLight = errors.New("the light is out")

func (*light) TypeName() string { return "Light" }

func (l *light) Online(ctx context.Context, n *cluster.Node) error {
	if err := sim.Sleep(ctx, l.slow); err != nil {
		return err
	}
	if l.broken[n.Name()] {
		return errLight
	}
	l.sick = false
	return nil
}

func (l *light) Offline(context.Context, *cluster.Node) error { return nil }

func (l *light) Terminate(context.Context, *cluster.Node) {}

func (l *light) LooksAlive(ctx context.Context, n *cluster.Node) error {
	if l.dim {
		return errLight
	}
	return l.IsAlive(ctx, n)
}

func (l *light) IsAlive(_ context.Context, n *cluster.Node) error {
	if l.sick || l.broken[n.Name()] {
		return errLight
	}
	return nil
}

// A stage is where a story is played.
type stage struct {
	t      *testing.T
	w      *sim.World
	c      *cluster.Cluster
	lights map[string]*light
	shown  int
	out    strings.Builder
}

func (s *stage) play(input string) string {
	s.out.Reset()
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if err := s.do(words[0], words[1:]); err != nil {
			s.show()
			fmt.Fprintf(&s.out, "%s: %v\n", words[0], err)
		}
	}
	s.show()
	return s.out.String()
}

func (s *stage) show() {
	if s.w == nil {
		return
	}
	trace := s.w.Trace()
	for _, e := range trace[s.shown:] {
		if what := sentence(e); what != "" && strings.HasPrefix(e.Kind, "cluster/") {
			who, _, _ := strings.Cut(e.Actor, "/")
			fmt.Fprintf(&s.out, "%9.1fs  %-4s %s\n", e.Time.Seconds(), strings.TrimSuffix(who, "#2"), what)
		}
	}
	s.shown = len(trace)
}

// do runs one command:
//
//	nodes N [witness] [2012]       a new cluster
//	group NAME NODE KEY=VALUE...   with properties
//	resource NAME GROUP KEY=VALUE...
//	online NAME, offline NAME      of a group or resource
//	sick NAME                      it fails now and is well when it is restarted
//	break NAME [NODE...]           it fails, and on these nodes (all) it cannot come online
//	dim NAME                       it does not look alive, but is
//	slow NAME DURATION             it takes so long to come online
//	mend NAME
//	kill NODE, join NODE, pause NODE, resume NODE
//	split NODE,NODE... NODE...     the network falls apart
//	heal
//	stop NODE                      its cluster service ends, the computer does not
//	move GROUP [NODE]
//	run DURATION                   let time pass
//	look                           how everything stands
func (s *stage) do(command string, args []string) error {
	ctx := s.t.Context()
	switch command {
	case "nodes":
		return s.form(args)
	case "group":
		return s.group(args[0], args[1], args[2:])
	case "resource":
		return s.resource(args[0], args[1], args[2:])
	case "online", "offline":
		return s.bring(command, args[0])
	case "sick":
		s.lights[args[0]].sick = true
	case "dim":
		s.lights[args[0]].dim = true
	case "break":
		for _, n := range s.c.Nodes() {
			if len(args) == 1 || slices.Contains(args[1:], n.Name()) {
				s.lights[args[0]].broken[n.Name()] = true
			}
		}
	case "slow":
		d, err := time.ParseDuration(args[1])
		s.lights[args[0]].slow = d
		return err
	case "mend":
		*s.lights[args[0]] = light{broken: make(map[string]bool)}
	case "kill":
		s.c.Node(args[0]).Host().Actor().Kill()
	case "join":
		if h := s.c.Node(args[0]).Host(); !h.Actor().Dead() {
			return s.c.Join(ctx, args[0], h)
		}
		h, err := hyperv.NewHost(s.w, hyperv.HostConfig{Name: args[0]})
		if err != nil {
			return err
		}
		return s.c.Join(ctx, args[0], cluster.HyperV(h))
	case "split":
		var sides [][]string
		for _, a := range args {
			sides = append(sides, strings.Split(a, ","))
		}
		return s.c.Partition(sides...)
	case "heal":
		return s.c.Heal(ctx)
	case "stop":
		s.c.Node(args[0]).Actor().Kill()
	case "pause":
		return s.c.Pause(ctx, args[0])
	case "resume":
		return s.c.Resume(ctx, args[0])
	case "move":
		return s.c.Group(args[0]).Move(ctx, strings.Join(args[1:], ""), cluster.MoveSave)
	case "run":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		return s.w.Advance(d)
	case "look":
		s.look()
	default:
		return fmt.Errorf("no command")
	}
	return nil
}

func (s *stage) form(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	s.w, s.shown = sim.New(), 0
	s.t.Cleanup(func() { _ = s.w.Close() })
	var c cluster.Config
	for i := range n {
		h, err := hyperv.NewHost(s.w, hyperv.HostConfig{Name: fmt.Sprintf("h%d", i+1)})
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, cluster.NodeConfig{Name: h.Name(), Host: cluster.HyperV(h)})
	}
	c.Witness = slices.Contains(args, "witness")
	if slices.Contains(args, "2012") {
		c.Version = cluster.W2012
	}
	s.c, err = cluster.New(s.w, c)
	return err
}

func (s *stage) group(name, node string, args []string) error {
	p := cluster.DefaultGroupProperties()
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "preferred":
			p.PreferredOwners = strings.Split(value, ",")
		case "class":
			p.AntiAffinityClassNames = strings.Split(value, ",")
		case "threshold":
			p.FailoverThreshold = uint32(n)
		case "failback":
			p.AutoFailbackType = cluster.AllowFailback
			if from, to, ok := strings.Cut(value, "-"); ok {
				p.FailbackWindowStart, _ = strconv.Atoi(from)
				p.FailbackWindowEnd, _ = strconv.Atoi(to)
			}
		default:
			return fmt.Errorf("no property %s", key)
		}
	}
	_, err := s.c.AddGroup(name, node, &p)
	return err
}

func (s *stage) resource(name, group string, args []string) error {
	p := cluster.DefaultResourceProperties()
	c := cluster.ResourceConfig{Name: name, Type: &light{broken: make(map[string]bool)}, Properties: &p}
	s.lights[name] = c.Type.(*light)
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		n, _ := strconv.Atoi(value)
		d, _ := time.ParseDuration(value)
		switch key {
		case "needs":
			for dep := range strings.SplitSeq(value, ",") {
				c.DependsOn = append(c.DependsOn, s.c.Resource(dep))
			}
		case "action":
			p.RestartAction = cluster.RestartAction(n)
		case "threshold":
			p.RestartThreshold = uint32(n)
		case "period":
			p.RestartPeriod = d
		case "retry":
			if p.RetryPeriodOnFailure = d; value == "never" {
				p.RetryPeriodOnFailure = cluster.Never
			}
		case "pending":
			p.PendingTimeout = d
		case "owners":
			p.PossibleOwners = strings.Split(value, ",")
		default:
			return fmt.Errorf("no property %s", key)
		}
	}
	_, err := s.c.Group(group).AddResource(c)
	return err
}

func (s *stage) bring(command, name string) error {
	ctx := s.t.Context()
	g, r := s.c.Group(name), s.c.Resource(name)
	switch {
	case g != nil && command == "online":
		return g.Online(ctx)
	case g != nil:
		return g.Offline(ctx)
	case command == "online":
		return r.Online(ctx)
	}
	return r.Offline(ctx)
}

func (s *stage) look() {
	s.show()
	for _, g := range s.c.Groups() {
		fmt.Fprintf(&s.out, "group %s on %s: %v\n", g.Name(), g.Owner().Name(), g.State())
		for _, r := range g.Resources() {
			fmt.Fprintf(&s.out, "  %s: %v\n", r.Name(), r.State())
		}
	}
}
