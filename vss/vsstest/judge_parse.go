package vsstest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/xmlite"
	"github.com/shadowsim/shadowsim/vss"
)

var judgeConfigLimits = xmlite.Limits{Size: 16 << 20, Depth: 16, Elements: 1 << 17, Attrs: 64}

// ReadJudgeConfig reads a configuration file of the VSS test writer as it is. What
// the writer's tool does not define is listed in Unknown and has no effect; what
// it defines and cannot be used is a [*JudgeConfigError]. Where the tool's page
// names no default, files are not deleted and everything is checked.
func ReadJudgeConfig(r io.Reader) (*JudgeConfig, error) {
	doc, err := xmlite.Parse(r, judgeConfigLimits)
	if err != nil {
		return nil, &JudgeConfigError{Err: err}
	}
	if doc.Root.Name != "TestWriter" {
		return nil, &JudgeConfigError{Element: doc.Root.Name, Problem: "the root element is not TestWriter"}
	}
	p := &judgeParser{config: &JudgeConfig{}}
	p.root(doc.Root)
	if p.err != nil {
		return nil, p.err
	}
	if err := p.config.check(); err != nil {
		return nil, err
	}
	return p.config, nil
}

// A judgeParser reads elements; the first thing that is wrong stays.
type judgeParser struct {
	config *JudgeConfig
	err    error
}

// A judgeElement is an element whose attributes are being read.
type judgeElement struct {
	*judgeParser
	n    *xmlite.Node
	seen []string
}

func (p *judgeParser) on(n *xmlite.Node) *judgeElement { return &judgeElement{judgeParser: p, n: n} }

func (e *judgeElement) fail(attribute, format string, args ...any) {
	if e.err == nil {
		e.err = &JudgeConfigError{Element: e.n.Name, Attribute: attribute, Problem: fmt.Sprintf(format, args...)}
	}
}

func (e *judgeElement) text(name string) string {
	e.seen = append(e.seen, name)
	v, _ := e.n.Attr(name)
	return v
}

// need is an attribute that must be there.
func (e *judgeElement) need(name string) string {
	v := e.text(name)
	if v == "" {
		e.fail(name, "the attribute is missing")
	}
	return v
}

func (e *judgeElement) yes(name string, otherwise bool) bool {
	switch v := e.text(name); strings.ToLower(v) {
	case "":
		return otherwise
	case "yes":
		return true
	case "no":
		return false
	default:
		e.fail(name, "%q is neither yes nor no", v)
	}
	return otherwise
}

func (e *judgeElement) number(name string) int {
	v := e.text(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		e.fail(name, "%q is no number", v)
	}
	return int(n)
}

// done notes attributes and children that are not known.
func (e *judgeElement) done(children ...string) {
	for _, a := range e.n.Attrs {
		if a.Name != "xmlns" && !strings.HasPrefix(a.Name, "xmlns:") && !slices.Contains(e.seen, a.Name) {
			e.config.Unknown = append(e.config.Unknown, fmt.Sprintf("%s has an attribute %s that is not known", e.n.Name, a.Name))
		}
	}
	for _, c := range e.n.Elements() {
		if !slices.Contains(children, c.Name) {
			e.config.Unknown = append(e.config.Unknown, fmt.Sprintf("%s holds an element %s that is not known", e.n.Name, c.Name))
		}
	}
}

func judgeEnum[E vss.Enum](e *judgeElement, name, otherwise string) E {
	v := e.text(name)
	if v == "" {
		v = otherwise
	}
	x, err := vss.ParseEnum[E](v)
	if err != nil {
		e.fail(name, "%q is not known", v)
	}
	return x
}

func (p *judgeParser) root(n *xmlite.Node) {
	e, c := p.on(n), p.config
	c.Usage = judgeEnum[vss.UsageType](e, "usage", "USER_DATA")
	c.Verbosity = e.text("verbosity")
	if !slices.Contains([]string{"", "low", "medium", "high"}, strings.ToLower(c.Verbosity)) {
		e.fail("verbosity", "%q is not known", c.Verbosity)
	}
	c.DeleteFiles = e.yes("deleteFiles", false)
	c.DeletePartialFiles = e.yes("deletePartialFiles", false)
	c.DeleteDifferencedFiles = e.yes("deleteDifferencedFiles", false)
	c.CheckIncludes = e.yes("checkIncludes", true)
	c.CheckExcludes = e.yes("checkExcludes", true)
	for _, s := range []struct {
		name string
		bit  vss.BackupSchema
	}{
		{"supportsCopy", vss.SchemaCopy}, {"supportsDifferential", vss.SchemaDifferential},
		{"supportsIncremental", vss.SchemaIncremental}, {"supportsLog", vss.SchemaLog}, {"supportsNewTarget", vss.SchemaNewTarget},
	} {
		if e.yes(s.name, true) {
			c.Schema |= s.bit
		}
	}
	for i, n := range n.Elements() {
		switch n.Name {
		case "RestoreMethod":
			if i > 0 {
				p.on(n).fail("", "it is not the first element")
			}
			p.restoreMethod(n)
		case "ExcludeFile":
			e := p.on(n)
			c.Excludes = append(c.Excludes, e.fileSpec())
			e.done()
		case "Component":
			p.component(n)
		case "FailEvent":
			p.failEvent(n)
		}
	}
	e.done("RestoreMethod", "ExcludeFile", "Component", "FailEvent")
}

func (e *judgeElement) fileSpec() vss.FileSpec {
	return vss.FileSpec{Path: e.need("path"), Spec: e.need("filespec"), Recursive: e.yes("recursive", false)}
}

func (p *judgeParser) restoreMethod(n *xmlite.Node) {
	e := p.on(n)
	r := &p.config.Restore
	r.Method = judgeEnum[vss.RestoreMethod](e, "method", "RESTORE_IF_CAN_BE_REPLACED")
	r.WriterRestore = judgeEnum[vss.WriterRestore](e, "writerRestore", "always")
	r.RebootRequired = e.yes("rebootRequired", false)
	r.Service, r.UserProcedure = e.text("service"), e.text("userProcedure")
	for _, n := range n.Elements() {
		if n.Name == "AlternateLocationMapping" {
			e := p.on(n)
			r.AlternateLocations = append(r.AlternateLocations, vss.FileMapping{FileSpec: e.fileSpec(), Destination: e.need("alternatePath")})
			e.done()
		}
	}
	e.done("AlternateLocationMapping")
}

func (p *judgeParser) component(n *xmlite.Node) {
	e := p.on(n)
	var c JudgeComponent
	c.Type = judgeEnum[vss.ComponentType](e, "componentType", "filegroup")
	c.LogicalPath, c.Name, c.Caption = e.text("logicalPath"), e.need("componentName"), e.text("caption")
	c.Selectable = e.yes("selectable", true)
	c.SelectableForRestore = e.yes("selectableForRestore", false)
	for _, n := range n.Elements() {
		e := p.on(n)
		switch n.Name {
		case "ComponentFile":
			e.componentFile(&c)
		case "Dependency":
			d := vss.Dependency{ComponentKey: vss.ComponentKey{LogicalPath: e.text("logicalPath"), Name: e.need("componentName")}}
			id, err := guid.Parse(e.need("writerId"))
			if err != nil {
				e.fail("writerId", "it is no GUID")
			}
			d.WriterID = id
			c.Dependencies = append(c.Dependencies, d)
		case "PartialFile":
			f := vss.FilePart{Path: e.need("path"), Name: e.need("filespec"), Ranges: e.need("ranges")}
			c.Partial = append(c.Partial, vss.PartialFile{FilePart: f, Metadata: e.text("metadata")})
			if _, _, err := vss.ParseRanges(f.Ranges); err != nil {
				e.fail("ranges", "%v", err)
			}
		case "DifferencedFile":
			c.Differenced = append(c.Differenced, vss.DifferencedFiles{FileSpec: e.fileSpec(), LastModified: e.moment()})
		default:
			continue
		}
		e.done()
	}
	e.done("ComponentFile", "Dependency", "PartialFile", "DifferencedFile")
	p.config.Components = append(p.config.Components, c)
}

// componentFile adds a file set. A file of a database that log backups alone need
// is one of its log files.
func (e *judgeElement) componentFile(c *JudgeComponent) {
	set := vss.FileSet{FileSpec: e.fileSpec(), AlternatePath: e.text("alternatePath")}
	for i, name := range []string{"full", "diff", "inc", "log"} {
		if e.yes(name+"BackupRequired", true) {
			set.Mask |= vss.FullBackupRequired << i
		}
		if e.yes(name+"SnapshotRequired", true) {
			set.Mask |= vss.FullSnapshotRequired << i
		}
	}
	switch {
	case c.Type == vss.ComponentFileGroup:
		c.Files = append(c.Files, set)
	case set.Mask&vss.AllBackupRequired == vss.LogBackupRequired:
		c.LogFiles = append(c.LogFiles, set)
	default:
		c.DatabaseFiles = append(c.DatabaseFiles, set)
	}
}

// moment reads a date and time; none at all is no moment.
func (e *judgeElement) moment() vss.Filetime {
	year, month, day := e.number("year"), e.number("month"), e.number("day")
	hour, minute, second := e.number("hour"), e.number("minute"), e.number("second")
	if year == 0 && month == 0 && day == 0 {
		return 0
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if t.Year() != year || int(t.Month()) != month || t.Day() != day || hour > 23 || minute > 59 || second > 59 || year < 1601 {
		e.fail("", "there is no such moment")
	}
	return vss.FiletimeOf(t)
}

// judgeEvents are the events that the language can name.
var judgeEvents = map[string]vss.Event{
	"Identify": vss.EventIdentify, "PrepareForBackup": vss.EventPrepareBackup, "PrepareForSnapshot": vss.EventPrepareSnapshot,
	"Freeze": vss.EventFreeze, "Thaw": vss.EventThaw, "PostSnapshot": vss.EventPostSnapshot, "Abort": vss.EventAbort,
	"BackupComplete": vss.EventBackupComplete, "PreRestore": vss.EventPreRestore, "PostRestore": vss.EventPostRestore,
}

func (p *judgeParser) failEvent(n *xmlite.Node) {
	e := p.on(n)
	name := e.need("writerEvent")
	ev, ok := judgeEvents[name]
	if !ok {
		e.fail("writerEvent", "%q is no event", name)
	}
	p.config.Fails = append(p.config.Fails, FailEvent{Event: ev, Retryable: e.yes("retryable", false), Times: e.number("numFailures")})
	e.done()
}
