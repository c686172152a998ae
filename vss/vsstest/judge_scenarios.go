package vsstest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/vss"
)

// A judgeScenario is a story that is told with writers it fits.
type judgeScenario struct {
	name string
	fits func(configs []JudgeConfig) bool
	run  func(t *judgeTrial)
}

// judgeSchema tells whether the first writer has a bit, and refuses nothing.
func judgeSchema(bit vss.BackupSchema) func([]JudgeConfig) bool {
	return func(c []JudgeConfig) bool { return c[0].Schema&bit == bit && !judgeRefuses(c) }
}

func judgeRefuses(configs []JudgeConfig) bool {
	return slices.ContainsFunc(configs, func(c JudgeConfig) bool { return len(c.Fails) > 0 })
}

var judgeScenarios = []judgeScenario{
	{"full backup, all files lost", judgeSchema(0), func(t *judgeTrial) {
		t.loseAndRestore(t.backup(vss.BackupFull, -1))
	}},
	{"full backup, files changed since", judgeSchema(0), func(t *judgeTrial) {
		image := t.backup(vss.BackupFull, -1)
		t.goOn(true)
		_ = t.restore(JudgedRestore{Images: []int{image}})
	}},
	{"full backup, a file in use", judgeSchema(0), func(t *judgeTrial) {
		image := t.backup(vss.BackupFull, -1)
		t.goOn(true)
		names := slices.DeleteFunc(sortedKeys(t.want), func(name string) bool { return t.steady[name] })
		t.live.locked[judgeKey(names[len(names)-1])] = true
		_ = t.restore(JudgedRestore{Images: []int{image}})
	}},
	{"two full backups, the older one restored", judgeSchema(0), func(t *judgeTrial) {
		image := t.backup(vss.BackupFull, -1)
		t.goOn(true)
		t.backup(vss.BackupFull, -1)
		t.loseAndRestore(image)
	}},
	{"copy backup", judgeSchema(vss.SchemaCopy), func(t *judgeTrial) {
		t.loseAndRestore(t.backup(vss.BackupCopy, -1))
	}},
	{"incremental chain", judgeSchema(vss.SchemaIncremental), func(t *judgeTrial) {
		chain := []int{t.backup(vss.BackupFull, -1)}
		t.goOn(false)
		if !slices.ContainsFunc(t.Judges, func(j *Judge) bool { return j.config.Schema&vss.SchemaCopy == 0 }) {
			t.backup(vss.BackupCopy, -1) // which changes nothing for those after it
		}
		for range 2 {
			t.goOn(false)
			chain = append(chain, t.backup(vss.BackupIncremental, chain[len(chain)-1]))
		}
		t.loseAndRestore(chain...)
	}},
	{"differential backups", judgeSchema(vss.SchemaDifferential), func(t *judgeTrial) {
		full := t.backup(vss.BackupFull, -1)
		t.goOn(false)
		t.backup(vss.BackupDifferential, full)
		t.goOn(false)
		t.loseAndRestore(full, t.backup(vss.BackupDifferential, full))
	}},
	{"log backup", judgeSchema(vss.SchemaLog), func(t *judgeTrial) {
		full := t.backup(vss.BackupFull, -1)
		t.goOn(false)
		t.loseAndRestore(full, t.backup(vss.BackupLog, full))
	}},
	{"new targets", func(c []JudgeConfig) bool {
		return judgeSchema(vss.SchemaNewTarget)(c) && c[0].Restore.WriterRestore != vss.WriterRestoreNever
	}, func(t *judgeTrial) {
		image := t.backup(vss.BackupFull, -1)
		t.loseAll()
		_ = t.restore(JudgedRestore{Images: []int{image}, NewTarget: func(set vss.FileSpec) string {
			path := strings.ReplaceAll(t.tree().name(set.Path), "/", `\`)
			return `E:\Elsewhere\` + path
		}})
	}},
	{"a subcomponent alone", func(c []JudgeConfig) bool {
		_, ok := judgeSubcomponent(c[0])
		return ok && !judgeRefuses(c)
	}, func(t *judgeTrial) {
		key, _ := judgeSubcomponent(t.Judges[0].config)
		image := t.backup(vss.BackupFull, -1)
		t.loseAll()
		_ = t.restore(JudgedRestore{Images: []int{image}, Subcomponent: &key})
	}},
	{"one component alone", func(c []JudgeConfig) bool {
		return !judgeRefuses(c) && len(judgeSelectable(c[0])) > 0
	}, func(t *judgeTrial) {
		for _, key := range judgeSelectable(t.Judges[0].config) {
			image := t.backup(vss.BackupFull, -1, key)
			t.loseAndRestore(image)
			t.goOn(false)
		}
	}},
	{"events refused", judgeRefuses, func(t *judgeTrial) {
		image := -1
		for range 4 {
			if image = t.backup(vss.BackupFull, -1); image >= 0 {
				break
			}
			t.goOn(true)
		}
		for range 3 {
			if image < 0 {
				return
			}
			t.loseAll()
			if t.restore(JudgedRestore{Images: []int{image}}) == nil {
				return
			}
		}
	}},
}

func judgeSelectable(c JudgeConfig) []vss.ComponentKey {
	var keys []vss.ComponentKey
	for i := range c.Components {
		if c.Components[i].Selectable {
			keys = append(keys, c.Components[i].ComponentKey)
		}
	}
	return keys
}

// judgeSubcomponent finds a component that can be restored without the one that
// brought it along.
func judgeSubcomponent(c JudgeConfig) (vss.ComponentKey, bool) {
	for i := range c.Components {
		sub := &c.Components[i]
		under := slices.ContainsFunc(c.Components, func(o JudgeComponent) bool { return o.Selectable && sub.IsDescendantOf(o.ComponentKey) })
		if sub.SelectableForRestore && under {
			return sub.ComponentKey, true
		}
	}
	return vss.ComponentKey{}, false
}

func (t *judgeTrial) loseAndRestore(images ...int) {
	t.loseAll()
	_ = t.restore(JudgedRestore{Images: images})
}

// populate makes the files that the writers speak of.
func (t *judgeTrial) populate() {
	for _, j := range t.Judges {
		for i := range j.config.Components {
			c := &j.config.Components[i]
			for set := range c.FileSets() {
				t.populateSet(set.FileSpec)
			}
			for _, p := range c.Partial {
				if _, file, err := vss.ParseRanges(p.Ranges); err == nil && file != "" {
					ranges := vss.AppendRangesFile(nil, []vss.Range{{Offset: 0, Length: 8}, {Offset: 100, Length: 20}})
					t.steady[t.tree().name(file)] = true
					t.put(t.tree().name(file), judgeFile{data: string(ranges), modified: t.World.Date()})
				}
				t.populateSet(vss.FileSpec{Path: p.Path, Spec: p.Name})
			}
		}
		for _, x := range j.config.Excludes {
			t.populateSet(x)
		}
	}
}

// populateSet makes files that fit a specification.
func (t *judgeTrial) populateSet(f vss.FileSpec) {
	dirs := []string{t.tree().name(f.Path)}
	if f.Recursive {
		dirs = append(dirs, dirs[0]+"/below", dirs[0]+"/below/deep")
	}
	words := []string{"one", "two"}
	if !strings.ContainsAny(f.Spec, "*?") {
		words = words[:1]
	}
	for _, dir := range dirs {
		for _, word := range words {
			name := dir + "/" + strings.ReplaceAll(strings.ReplaceAll(f.Spec, "*", word), "?", word[:1])
			if _, ok := t.want[name]; ok {
				continue
			}
			t.put(name, judgeFile{data: t.bytes(name), modified: t.World.Date(), attributes: 0x20 | 0x2*uint32(len(t.want)%2)})
		}
	}
}

// bytes are the bytes of a file at this step.
func (t *judgeTrial) bytes(name string) string {
	line := fmt.Sprintf("%s, state %d. ", name, t.steps)
	return strings.Repeat(line, 400/len(line)+1)
}

// goOn lets the applications work for an hour: files that were deleted are there
// again, and some change. Of files that an incremental backup has only parts of,
// only these change, and of those that it does not have nothing does, unless all
// are to change.
func (t *judgeTrial) goOn(all bool) {
	t.fail(t.pass(time.Hour))
	t.steps++
	for i, name := range sortedKeys(t.want) {
		f := t.want[name]
		parts, fixed := t.changes(name)
		switch {
		case t.steady[name], fixed && !all:
		case parts != nil && !all:
			data := []byte(f.data)
			for _, r := range parts {
				for k := r.Offset; k < r.Offset+r.Length && k < uint64(len(data)); k++ {
					data[k] = byte('0' + t.steps)
				}
			}
			f.data, f.modified = string(data), t.World.Date()
		case all || i%2 == t.steps%2:
			f.data, f.modified = t.bytes(name), t.World.Date()
		}
		t.put(name, f)
	}
}

// changes tells which parts of a file change between backups of a chain, nil for
// any, and whether nothing of it does.
func (t *judgeTrial) changes(name string) (parts []vss.Range, fixed bool) {
	key := judgeKey(name)
	for _, j := range t.Judges {
		for i := range j.config.Components {
			c := &j.config.Components[i]
			for _, p := range c.Partial {
				ranges, file, _ := vss.ParseRanges(p.Ranges)
				if !j.files.holds(vss.FileSpec{Path: p.Path, Spec: p.Name}, key) {
					continue
				}
				if file != "" {
					ranges = []vss.Range{{Offset: 0, Length: 8}, {Offset: 100, Length: 20}}
				}
				return ranges, false
			}
			if slices.ContainsFunc(c.Differenced, func(d vss.DifferencedFiles) bool { return j.files.holds(d.FileSpec, key) }) {
				return nil, false
			}
			for set := range c.FileSets() {
				const chain = vss.IncrementalBackupRequired | vss.DifferentialBackupRequired
				if j.files.holds(set.FileSpec, key) && set.Mask&chain != chain && len(c.LogFiles) == 0 {
					return nil, true
				}
			}
		}
	}
	return nil, false
}
