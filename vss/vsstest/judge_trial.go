package vsstest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A JudgedRequester is a requester that [TestRequester] tries: how it makes a
// backup of a machine, and how it restores one. It keeps what it backed up by the
// numbers of the orders.
type JudgedRequester struct {
	Backup  func(ctx context.Context, m *JudgeMachine, b JudgedBackup) error
	Restore func(ctx context.Context, m *JudgeMachine, r JudgedRestore) error
}

// A JudgedBackup is an order for a backup.
type JudgedBackup struct {
	Image int // the number of this backup
	Type  vss.BackupType
	Base  int                // the number of the backup to build on, -1 for none
	Only  []vss.ComponentKey // the components to choose of the first writer, with what they need; all of all writers if nil
}

// A JudgedRestore is an order for a restore.
type JudgedRestore struct {
	Images       []int                         // a chain of backups, the oldest first
	NewTarget    func(set vss.FileSpec) string // sends file sets elsewhere; nil leaves them
	Subcomponent *vss.ComponentKey             // if set, only this is restored
}

// A JudgeCase is a machine's writers.
type JudgeCase struct {
	Name    string
	Configs []JudgeConfig
}

//go:embed testdata/judge
var judgeFiles embed.FS

// JudgeCases returns the cases that come with the kit: each feature of the
// configuration language by itself, and several together. Each is a configuration
// file of the VSS test writer, or several for as many writers.
func JudgeCases() []JudgeCase {
	const dir = "testdata/judge"
	var cases []JudgeCase
	entries, err := judgeFiles.ReadDir(dir)
	if err != nil {
		panic("vsstest: " + err.Error()) // it is part of the program
	}
	for _, e := range entries {
		f, err := judgeFiles.Open(dir + "/" + e.Name())
		if err != nil {
			panic("vsstest: " + err.Error())
		}
		c, err := ReadJudgeConfig(f)
		_ = f.Close()
		if err != nil {
			panic("vsstest: " + e.Name() + ": " + err.Error())
		}
		name, _, _ := strings.Cut(e.Name(), ".")
		if n := len(cases); n > 0 && cases[n-1].Name == name {
			cases[n-1].Configs = append(cases[n-1].Configs, *c)
			continue
		}
		cases = append(cases, JudgeCase{name, []JudgeConfig{*c}})
	}
	return cases
}

// A JudgeFinding is what a requester did wrong in one scenario of a case: a
// [Violation], or a result that does not fit what happened.
type JudgeFinding struct {
	Case     string
	Scenario string
	Err      error
}

// Error names the case and the scenario, and says what was wrong.
func (f *JudgeFinding) Error() string { return f.Case + ": " + f.Scenario + ": " + f.Err.Error() }

// Unwrap gives what was found.
func (f *JudgeFinding) Unwrap() error { return f.Err }

// TestRequester tries a requester on machines with strict writers and returns all
// that it did wrong, joined, each as a [*JudgeFinding]. With no cases it tries all
// of [JudgeCases]. Every scenario has a machine and a requester of its own: full
// and copy backups, chains of incremental and differential ones, a few components
// alone; then files are lost, changed or in use, and restored, also to other
// places and in part; and writers refuse events.
//
//	err := vsstest.TestRequester(func() vsstest.JudgedRequester { … })
func TestRequester(newRequester func() JudgedRequester, cases ...JudgeCase) error {
	if len(cases) == 0 {
		cases = JudgeCases()
	}
	var errs []error
	for _, c := range cases {
		for _, s := range judgeScenarios {
			if !s.fits(c.Configs) {
				continue
			}
			for _, err := range c.try(s, newRequester()) {
				errs = append(errs, &JudgeFinding{c.Name, s.name, err})
			}
		}
	}
	return errors.Join(errs...)
}

// try runs one scenario in a world of its own.
func (c JudgeCase) try(s judgeScenario, r JudgedRequester) []error {
	w := sim.New()
	defer func() { _ = w.Close() }()
	m, err := newJudgeMachine(w, c.Configs)
	if err != nil {
		return []error{err}
	}
	t := &judgeTrial{JudgeMachine: m, requester: r, want: make(map[string]judgeFile), steady: make(map[string]bool)}
	t.populate()
	s.run(t)
	for _, j := range m.Judges {
		for _, v := range j.Violations() {
			if v.Session != noSession || !t.stopped {
				t.fail(v)
			}
		}
	}
	if left := m.Service.Leftovers(); len(left) > 0 {
		t.fail(fmt.Errorf("shadow copies are left over: %q", left))
	}
	return t.errs
}

// A judgeTrial is a scenario that runs.
type judgeTrial struct {
	*JudgeMachine
	requester JudgedRequester
	want      map[string]judgeFile // the files that the applications have, by name
	steady    map[string]bool      // files that never change
	steps     int
	images    []judgeTaken // by number
	stopped   bool         // a chain of restores had to end before its time
	errs      []error
}

// A judgeTaken is what is known about a backup.
type judgeTaken struct {
	state  map[string]judgeFile // what the applications had
	joined []bool               // which writers took part
	part   bool                 // not all components were ordered
}

func (t *judgeTrial) fail(err error) {
	if err != nil && !slices.ContainsFunc(t.errs, func(e error) bool { return e.Error() == err.Error() }) {
		t.errs = append(t.errs, err)
	}
}

// backup has the requester make a backup, and looks whether what it says of it is
// true. It returns the number, -1 for a backup that failed.
func (t *judgeTrial) backup(typ vss.BackupType, base int, only ...vss.ComponentKey) int {
	image := len(t.images)
	taken := judgeTaken{maps.Clone(t.want), make([]bool, len(t.Judges)), only != nil}
	t.images = append(t.images, taken)
	before := t.sessions()
	err := t.requester.Backup(context.Background(), t.JudgeMachine, JudgedBackup{Image: image, Type: typ, Base: base, Only: only})
	refused, joined := "", 0
	for i, j := range t.Judges {
		if len(j.sessions) == before[i] {
			continue
		}
		joined++
		j.heeds(t, typ, i, only)
		taken.joined[i] = true
		if s := j.sessions[len(j.sessions)-1]; s.failedAny && s.failedAt != vss.EventAbort {
			refused = fmt.Sprintf("%s refused %v", j.options.Name, s.failedAt)
		}
	}
	switch {
	case err == nil && refused != "":
		t.fail(fmt.Errorf("the requester reports a backup as good in which %s", refused))
	case err == nil && joined == 0:
		t.fail(errors.New("the requester reports a backup as good in which no writer took part"))
	case err != nil && refused == "" && joined > 0:
		t.fail(fmt.Errorf("the requester reports a backup as failed in which nothing went wrong: %w", err))
	}
	if err != nil {
		return -1
	}
	return image
}

// heeds looks whether a backup is the one that was ordered.
func (j *Judge) heeds(t *judgeTrial, typ vss.BackupType, writer int, only []vss.ComponentKey) {
	s := j.sessions[len(j.sessions)-1]
	if want := j.config.Schema.Effective(typ); s.typ != want {
		t.fail(fmt.Errorf("the requester makes a backup that is %v for %s, where %v was ordered", s.typ, j.options.Name, want))
	}
	if writer > 0 || only == nil {
		return
	}
	want, err := vss.NewComponentTree(j.metadata.Components).Choose(only...)
	t.fail(err)
	if !slices.Equal(want, s.added) {
		t.fail(fmt.Errorf("the requester backs up %q, where %q was ordered", s.added, want))
	}
}

// heeded looks whether a restore is the one that was ordered.
func (t *judgeTrial) heeded(s *judgeSession, r JudgedRestore) {
	for _, p := range s.restores {
		if r.Subcomponent != nil && !slices.ContainsFunc(p.record.Subcomponents, func(sub vss.RestoreSubcomponent) bool { return sub.Same(*r.Subcomponent) }) {
			t.fail(fmt.Errorf("the requester restores %s as a whole, where only %s was ordered", p.key.FullPath(), r.Subcomponent.FullPath()))
		}
		if r.NewTarget != nil && len(p.record.NewTargets) == 0 {
			t.fail(fmt.Errorf("the requester does not send %s to the new targets that were ordered", p.key.FullPath()))
		}
	}
}

func (t *judgeTrial) sessions() []int {
	var n []int
	for _, j := range t.Judges {
		n = append(n, len(j.sessions))
	}
	return n
}

// restore has the requester restore, and looks whether what it says of it is true.
func (t *judgeTrial) restore(r JudgedRestore) error {
	if slices.Contains(r.Images, -1) {
		return errors.New("there is no backup")
	}
	before := t.sessions()
	err := t.requester.Restore(context.Background(), t.JudgeMachine, r)
	last := t.images[r.Images[len(r.Images)-1]]
	impossible := ""
	for i, j := range t.Judges {
		_ = j.Violations() // look now, before the files change again
		sessions := j.sessions[before[i]:]
		never := j.config.Restore.WriterRestore == vss.WriterRestoreNever
		if method := j.config.Restore.Method; never && err != nil && (method == vss.MethodRestoreIfNotThere || method == vss.MethodRestoreToAlternateLocation) {
			impossible = j.options.Name + " cannot say whether its files had a place"
		}
		switch {
		case err != nil || !last.joined[i] || r.Subcomponent != nil && i > 0:
		case never && r.NewTarget == nil && r.Subcomponent == nil && !last.part:
			t.fail(t.lost(j, last.state))
		case len(sessions) < len(r.Images) && !never:
			t.fail(fmt.Errorf("%s hears of %d restores, where %d backups were to be restored", j.options.Name, len(sessions), len(r.Images)))
		}
		for _, s := range sessions {
			if i == 0 {
				t.heeded(s, r)
			}
			if s.failedAny {
				impossible = j.options.Name + " refused"
			}
			for _, p := range s.restores {
				if p.where == judgeNowhere {
					impossible = p.key.FullPath() + " has no place"
				}
			}
		}
	}
	t.stopped = t.stopped || impossible != "" || len(t.live.locked) > 0
	switch {
	case err == nil && impossible != "":
		t.fail(fmt.Errorf("the requester reports a restore as good in which %s", impossible))
	case err != nil && impossible == "" && len(t.live.locked) == 0:
		t.fail(fmt.Errorf("the requester reports a restore as failed in which nothing went wrong: %w", err))
	}
	return err
}

// lost tells of a file of a writer that is not as it was in the backup, where the
// writer itself does not look.
func (t *judgeTrial) lost(j *Judge, state map[string]judgeFile) error {
	if len(j.config.Restore.AlternateLocations) > 0 {
		return nil // a file may be there too
	}
	now, err := t.tree().all()
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(state) {
		want, held := j.backedUpAs(judgeKey(name), state[name])
		f, ok := now[judgeKey(name)]
		if d := f.differs(want, ok); d != "" && held && !t.excluded(name) {
			return fmt.Errorf("the requester reports a restore as good after which %s %s", name, d)
		}
	}
	return nil
}

// backedUpAs is a file as a backup has it, if it has it whole.
func (j *Judge) backedUpAs(name string, f judgeFile) (judgeFile, bool) {
	for i := range j.config.Components {
		c := &j.config.Components[i]
		for _, p := range c.Partial {
			if j.files.holds(vss.FileSpec{Path: p.Path, Spec: p.Name}, name) {
				return f, false
			}
		}
		for set := range c.FileSets() {
			if j.files.holds(set.FileSpec, name) {
				if set.AlternatePath != "" {
					f.data = strings.TrimSuffix(f.data, spitMark) + spitMark
				}
				return f, true
			}
		}
	}
	return f, false
}

func (t *judgeTrial) excluded(name string) bool {
	return slices.ContainsFunc(t.Judges, func(j *Judge) bool { return j.excluded(judgeKey(name)) })
}

// put writes a file, and notes that the applications have it.
func (t *judgeTrial) put(name string, f judgeFile) {
	t.want[name] = f
	t.fail(t.tree().write(name, f))
}

// loseAll removes all files.
func (t *judgeTrial) loseAll() {
	var names []string
	t.fail(fs.WalkDir(t.live, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	}))
	for _, name := range names {
		t.fail(t.live.Remove(name))
	}
}
