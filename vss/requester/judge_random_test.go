package requester_test

import (
	"flag"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A configText draws the configuration of a writer.
type configText struct {
	*rapid.T
	strings.Builder
	writer int
	chain  bool
	sets   [][3]string // path, specification, recursive
}

func (c *configText) chance(n int) bool { return rapid.IntRange(0, n-1).Draw(c.T, "chance") == 0 }

func (c *configText) yes(p bool) string {
	if p {
		return "yes"
	}
	return "no"
}

func oneOf(c *configText, from ...string) string { return rapid.SampledFrom(from).Draw(c.T, "word") }

// drawConfig draws a configuration. Restores of chains come over the files of the
// image before, so that they go with methods that replace files.
func drawConfig(t *rapid.T, writer int) string {
	c := &configText{T: t, writer: writer}
	c.chain = !c.chance(3)
	methods := []string{"RESTORE_IF_CAN_REPLACE", "RESTORE_IF_CAN_BE_REPLACED", "CUSTOM", "REPLACE_AT_REBOOT_IF_CANNOT_REPLACE"}
	if !c.chain {
		methods = append(methods, "RESTORE_IF_NOT_THERE", "RESTORE_TO_ALTERNATE_LOCATION")
	}
	components := c.components()
	method := oneOf(c, methods...)
	fmt.Fprintf(c, `<TestWriter deleteFiles="%s" deletePartialFiles="%s" deleteDifferencedFiles="%s" supportsCopy="%s" supportsNewTarget="%s" supportsIncremental="%s" supportsDifferential="%s">`,
		c.yes(!c.chance(4)), c.yes(c.chance(2)), c.yes(c.chance(2)), c.yes(c.chance(2)), c.yes(c.chance(2)), c.yes(c.chain), c.yes(c.chain && c.chance(2)))
	fmt.Fprintf(c, `<RestoreMethod method="%s" writerRestore="%s">`, method, oneOf(c, "always", "always", "ifReplaceFails", "never"))
	if !c.chain && (method == "RESTORE_TO_ALTERNATE_LOCATION" || c.chance(2)) {
		for i, s := range c.sets {
			fmt.Fprintf(c, `<AlternateLocationMapping path="%s" filespec="%s" recursive="%s" alternatePath="E:\alt\w%d\m%d"/>`, s[0], s[1], s[2], c.writer, i)
		}
	}
	c.WriteString("</RestoreMethod>")
	for _, s := range c.sets {
		if c.chance(4) && s[1] == "*" {
			fmt.Fprintf(c, `<ExcludeFile path="%s" filespec="%s" recursive="%s"/>`, s[0], oneOf(c, "*.tmp", "t*"), s[2])
		}
	}
	c.WriteString(components + "</TestWriter>")
	return c.String()
}

func (c *configText) components() string {
	var b strings.Builder
	paths := []string{"", "", `a`, `a\b`, `b`}
	names := []string{"a", "b", "c", "d"}
	seen := make(map[string]bool)
	selectable := false
	for i := range rapid.IntRange(1, 4).Draw(c.T, "components") {
		path, name := oneOf(c, paths...), oneOf(c, names...)
		if seen[path+`\`+name] {
			continue
		}
		seen[path+`\`+name] = true
		chosen := !c.chance(3)
		selectable = selectable || chosen
		fmt.Fprintf(&b, `<Component componentType="filegroup" logicalPath="%s" componentName="%s" selectable="%s" selectableForRestore="%s">`,
			path, name, c.yes(chosen), c.yes(c.chance(2)))
		for k := range rapid.IntRange(1, 2).Draw(c.T, "sets") {
			c.fileSet(&b, fmt.Sprintf(`%s:\w%d\c%d\s%d`, oneOf(c, "C", "D", "E"), c.writer, i, k))
		}
		b.WriteString("</Component>")
	}
	return b.String()
}

// fileSet draws a file set, and what the writer says about files of it.
func (c *configText) fileSet(b *strings.Builder, dir string) {
	spec := oneOf(c, "*", "*", "*.dat", "f?.bin", "named.txt")
	recursive := c.yes(spec != "named.txt" && c.chance(2))
	c.sets = append(c.sets, [3]string{dir, spec, recursive})
	alternate := ""
	if c.chance(4) {
		alternate = fmt.Sprintf(` alternatePath="E:\spit\w%d\s%d"`, c.writer, len(c.sets))
	}
	changes := c.chain && c.chance(3)
	mask := c.yes(!changes)
	fmt.Fprintf(b, `<ComponentFile path="%s" filespec="%s" recursive="%s" incBackupRequired="%s" diffBackupRequired="%s"%s/>`,
		dir, spec, recursive, mask, mask, alternate)
	switch {
	case changes:
		fmt.Fprintf(b, `<DifferencedFile path="%s" filespec="%s" recursive="%s" %s/>`, dir, spec, recursive,
			oneOf(c, "", `year="2008" month="6" day="27" minute="30"`))
	case alternate == "" && c.chance(3):
		name := strings.ReplaceAll(strings.ReplaceAll(spec, "*", "one"), "?", "o")
		fmt.Fprintf(b, `<PartialFile path="%s" filespec="%s" ranges="%s"/>`, dir, name, oneOf(c, "0:16, 100:7", "0x20:0x40", `File=`+dir+`R\r.bin`))
	}
}

// drawnCases is how many cases are tried unless -rapid.checks asks for another
// number than its default.
const drawnCases = 30

// TestJudgedRandom: the reference requester keeps every rule with whatever
// writers.
func TestJudgedRandom(t *testing.T) {
	checks, left := flag.Lookup("rapid.checks"), drawnCases
	rapid.Check(t, func(t *rapid.T) {
		if left--; left < 0 && checks.Value.String() == checks.DefValue {
			return
		}
		c := vsstest.JudgeCase{Name: "drawn"}
		var texts []string
		for i := range rapid.IntRange(1, 2).Draw(t, "writers") {
			text := drawConfig(t, i)
			texts = append(texts, text)
			config, err := vsstest.ReadJudgeConfig(strings.NewReader(text))
			if err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			c.Configs = append(c.Configs, *config)
		}
		if err := vsstest.TestRequester(reference(nil), c); err != nil {
			left = math.MaxInt // so that it can be made smaller
			t.Fatalf("%v\nwith %s", err, strings.Join(texts, "\n"))
		}
	})
}
