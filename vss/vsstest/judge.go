package vsstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// JudgeClassID is the class of writers of the VSS test writer ("VSS Test Writer
// Tool").
var JudgeClassID = guid.MustParse("5affb034-969f-4919-8875-88f830d0ef89")

// A Judge is a strict writer that checks requesters, as the VSS test writer does.
// It is what its configuration says, and watches what requesters make of that:
//
//	config, err := vsstest.ReadJudgeConfig(file)
//	judge := vsstest.NewJudge(*config, vsstest.JudgeOptions{Files: host.Files()})
//	err = judge.Subscribe(service, host.Child("judge"))
//	… a backup, a disaster, a restore …
//	err = judge.Err() // every broken rule, as a sentence
//
// It remembers what its files are at Freeze, and after each restore looks whether
// the requester put back these bytes, to the right places, and nothing else. The
// calls of the requesters it reads from the world's trace.
type Judge struct {
	config  JudgeConfig
	options JudgeOptions
	files   judgeTree
	sub     *vss.Subscription
	world   *sim.World

	metadata *vss.WriterMetadata // as it identified itself last
	failed   map[vss.Event]int   // how often an event was refused
	sessions []*judgeSession
	images   map[string]*judgeImage // by stamp
	history  map[string]*judgeHistory
	restored map[string]*judgeRestored
	found    []*Violation
}

// JudgeOptions say how a judge stands in its machine.
type JudgeOptions struct {
	// Files are the live files of the machine, by names as D/dir/file. A file is
	// deleted or copied there, and looked at after a restore. Times and attributes
	// are checked where the files have them.
	Files requester.Files

	ClassID      guid.GUID // [JudgeClassID] if it is zero
	Name         string    // "TestWriter" if it is empty
	InstanceName string
	Environment  map[string]string // variables that paths may name
}

// A Violation is a rule that a requester broke.
type Violation struct {
	Writer  string
	Session string // the beginning of the session's identifier, as in the trace
	Call    string // the requester's call, or the event, with which it showed
	Fact    string // what the requester did or failed to do
}

// Error is one sentence.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s: in session %s, at %s, the requester %s", v.Writer, v.Session, v.Call, v.Fact)
}

// NewJudge makes a judge.
func NewJudge(c JudgeConfig, o JudgeOptions) *Judge {
	if o.ClassID == (guid.GUID{}) {
		o.ClassID = JudgeClassID
	}
	if o.Name == "" {
		o.Name = "TestWriter"
	}
	return &Judge{
		config: c, options: o, files: judgeTree{o.Files, o.Environment},
		failed: make(map[vss.Event]int), images: make(map[string]*judgeImage),
		history: make(map[string]*judgeHistory), restored: make(map[string]*judgeRestored),
	}
}

// Subscribe makes the judge a writer of a service, as the process a.
func (j *Judge) Subscribe(s *vss.Service, a *sim.Actor) error {
	sub, err := s.Subscribe(j, vss.WriterConfig{
		Actor: a, ClassID: j.options.ClassID, Name: j.options.Name, InstanceName: j.options.InstanceName,
		Usage: j.config.Usage, Source: vss.SourceOther,
	})
	j.sub, j.world = sub, a.World()
	return err
}

// Violations lists the broken rules that were found so far, each once, in order.
// Ask when the requester is done: a session that is under way counts as one that
// the requester has left.
func (j *Judge) Violations() []*Violation {
	j.judgeUnheard()
	list := slices.Clone(j.found)
	list = append(list, j.judgeChains()...)
	list = append(list, j.judgeCalls()...)
	var out []*Violation
	for _, v := range list {
		if !slices.ContainsFunc(out, func(o *Violation) bool { return *o == *v }) {
			out = append(out, v)
		}
	}
	return out
}

// Err joins the violations; it is nil if there are none.
func (j *Judge) Err() error {
	var errs []error
	for _, v := range j.Violations() {
		errs = append(errs, v)
	}
	return errors.Join(errs...)
}

// A judgeSession is what a judge knows about one session of a requester.
type judgeSession struct {
	name      string // the beginning of the identifier
	restore   bool
	typ       vss.BackupType // as the writer takes it
	partials  bool           // the requester can back up parts of files
	added     []vss.ComponentKey
	images    map[string]*judgeImage // by component
	failedAt  vss.Event              // of the event that was refused
	failedAny bool
	restores  []*judgePlan
	before    map[string]judgeFile // the live files at PreRestore
	looked    bool                 // at the files, after PostRestore or in its place
}

func (j *Judge) session(id guid.GUID, e vss.Event) *judgeSession {
	name := guid.String(id)[:8]
	for _, s := range j.sessions {
		if s.name == name {
			return s
		}
	}
	s := &judgeSession{name: name, restore: e == vss.EventPreRestore || e == vss.EventPostRestore, images: make(map[string]*judgeImage)}
	j.sessions = append(j.sessions, s)
	return s
}

// report notes a broken rule.
func (j *Judge) report(s *judgeSession, call, format string, args ...any) {
	j.found = append(j.found, &Violation{Writer: j.options.Name, Session: s.name, Call: call, Fact: fmt.Sprintf(format, args...)})
}

// refuse fails an event as the configuration has it.
func (j *Judge) refuse(s *judgeSession, e vss.Event) error {
	for _, f := range j.config.Fails {
		if f.Event != e || f.Times > 0 && j.failed[e] >= f.Times {
			continue
		}
		j.failed[e]++
		if s != nil && !s.failedAny {
			s.failedAt, s.failedAny = e, true
		}
		return f.code()
	}
	return nil
}

// Identify describes the configured writer.
func (j *Judge) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	if err := j.config.describe(ev.Metadata); err != nil {
		return err
	}
	if err := j.refuse(nil, vss.EventIdentify); err != nil {
		return err
	}
	j.metadata = ev.Metadata
	return nil
}

// component finds the configuration of a component.
func (j *Judge) component(key vss.ComponentKey) *JudgeComponent {
	for i := range j.config.Components {
		if j.config.Components[i].Same(key) {
			return &j.config.Components[i]
		}
	}
	return nil
}

// members lists a component and what comes along with it.
func (j *Judge) members(key vss.ComponentKey) []*JudgeComponent {
	list := []*JudgeComponent{j.component(key)}
	if j.metadata == nil || list[0] == nil {
		return nil
	}
	for _, m := range vss.NewComponentTree(j.metadata.Components).Members(key) {
		list = append(list, j.component(m))
	}
	return list
}

func componentName(key vss.ComponentKey) string {
	return strings.ToUpper(strings.Trim(key.FullPath(), `\`))
}
