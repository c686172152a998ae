package hyperv_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// goFiles parses the Go files of the module whose names fit, by path from its
// root.
func goFiles(t *testing.T, fits func(path string) bool) map[string]*ast.File {
	t.Helper()
	root := ".."
	out := make(map[string]*ast.File)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (name == "testdata" || strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		rel, err := filepath.Rel(root, path)
		if rel = filepath.ToSlash(rel); err != nil || d.IsDir() || !strings.HasSuffix(rel, ".go") || !fits(rel) {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out[rel], err = parser.ParseFile(token.NewFileSet(), rel, src, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no source")
	}
	return out
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

var testName = regexp.MustCompile(`(?m)^func (TestR([0-9]+)_\w*)\(`)

// testsOfRequirements finds the tests that name a requirement, wherever they are in
// the module: "hyperv.TestR1_EverythingRunsThroughVSS", by number.
func testsOfRequirements(t *testing.T) map[int][]string {
	t.Helper()
	found := make(map[int][]string)
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if name := d.Name(); err == nil && d.IsDir() && file != ".." && (name == "testdata" || strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !isTest(file) {
			return err
		}
		src, err := os.ReadFile(file)
		room, _ := filepath.Rel("..", filepath.Dir(file))
		for _, m := range testName.FindAllSubmatch(src, -1) {
			n, bad := strconv.Atoi(string(m[2]))
			if _, known := hyperv.RequirementByID("R" + string(m[2])); bad != nil || !known {
				t.Errorf("%s: %s tests no requirement", file, m[1])
			}
			found[n] = append(found[n], filepath.ToSlash(room)+"."+string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range found {
		slices.Sort(list)
	}
	return found
}

// TestRequirementsHaveTests demands a named test for every requirement, and that
// the table in REQUIREMENTS.md lists them.
func TestRequirementsHaveTests(t *testing.T) {
	tested := testsOfRequirements(t)
	var b strings.Builder
	b.WriteString("# The requirements, and the tests that hold them\n\nThe numbers are those of `hyperv.Requirements`; they come from the page\n" +
		"\"" + hyperv.Document + "\".\n" +
		"This file is written by `go test ./hyperv -run TestRequirementsHaveTests -rewrite`, and the same test fails when a\nrequirement has no test of its name or the table is not up to date.\n\n" +
		"| | Requirement | Tests |\n|---|---|---|\n")
	for _, r := range hyperv.Requirements() {
		list := tested[r.Number]
		if len(list) == 0 {
			t.Errorf("%s has no test: %s", r.ID(), r.Statement)
		}
		tests := "`" + strings.Join(list, "`, `") + "`"
		statement := r.Statement
		if r.Inferred {
			statement += " *(inferred)*"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.ID(), strings.ReplaceAll(statement, "|", `\|`), tests)
	}
	const file = "REQUIREMENTS.md"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || strings.ReplaceAll(string(got), "\r\n", "\n") != b.String() {
		t.Errorf("%s is not up to date (write it with -rewrite): %v", file, err)
	}
}

func TestRequirementsAreListed(t *testing.T) {
	list := hyperv.Requirements()
	if len(list) != 68 {
		t.Fatalf("%d requirements", len(list))
	}
	seen := make(map[string]string)
	for i, r := range list {
		if r.Number != i+1 || r.ID() != "R"+strconv.Itoa(i+1) {
			t.Errorf("requirement %d stands at %d", r.Number, i+1)
		}
		if found, ok := hyperv.RequirementByID(r.ID()); !ok || found != r {
			t.Errorf("%s is not found by its name", r.ID())
		}
		if s := r.Statement; !strings.HasSuffix(strings.TrimRight(s, ")"), ".") || strings.Contains(s, "  ") || strings.TrimSpace(s) != s {
			t.Errorf("%s is no sentence: %q", r.ID(), s)
		}
		if was := seen[r.Statement]; was != "" {
			t.Errorf("%s says what %s says", r.ID(), was)
		}
		seen[r.Statement] = r.ID()
		if section, _, ok := strings.Cut(r.Place, ","); !ok && section != "Writer details" || section == "" {
			t.Errorf("%s has the place %q", r.ID(), r.Place)
		}
	}
	for _, id := range []string{"", "R", "R0", "R69", "R01", "R+1", "1", "r1", "R1 ", "RR1", "R-1"} {
		if r, ok := hyperv.RequirementByID(id); ok {
			t.Errorf("%q is %s", id, r.ID())
		}
	}
	list[0].Statement = "changed"
	if hyperv.Requirements()[0].Statement == "changed" {
		t.Error("the list is shared")
	}
	if !strings.Contains(hyperv.Document, "Backing Up and Restoring Virtual Machines") {
		t.Errorf("the document is %q", hyperv.Document)
	}
}

var ruleName = regexp.MustCompile(`^R[0-9]+$`)

// TestCitedRulesAreKnown looks at every string of the library that is a rule's
// name, and at the rules that a trace cites.
func TestCitedRulesAreKnown(t *testing.T) {
	cited := make(map[string]bool)
	for path, file := range goFiles(t, func(path string) bool { return !isTest(path) }) {
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil || !ruleName.MatchString(text) {
				return true
			}
			if _, known := hyperv.RequirementByID(text); !known {
				t.Errorf("%s cites %s", path, text)
			}
			cited[text] = true
			return true
		})
	}
	l := newLab(t)
	l.running("db", withLedger(), onSwitch(l.lan))
	l.running("web", stopped)
	l.mustRestore(l.mustBackup())
	rules := 0
	for _, e := range l.w.Trace() {
		if e.Rule == "" {
			continue
		}
		rules++
		if !cited[e.Rule] {
			t.Errorf("nobody cites the rule of %v", e)
		}
	}
	if rules == 0 {
		t.Error("no event cites a rule")
	}
}

// The kinds of events that do what a requirement demands cite it.
func TestEventsCiteTheirRules(t *testing.T) {
	l := newLab(t)
	l.lun("lun0", false)
	l.lun("iqn.test", false)
	l.running("db", withDisk(hyperv.DiskConfig{PassThrough: "lun0"}), withDisk(hyperv.DiskConfig{Initiator: "iqn.test"}), onSwitch(l.lan), onSwitch(l.h.AddSwitch("DMZ")))
	l.running("web", stopped)
	l.paused("pause")
	target := l.mustBackup()
	l.h.RemoveSwitch(l.h.Switches()[1].ID)
	l.mustRestore(target)
	for kind, rules := range map[string][]string{
		"service/start": {"R22"}, "hyperv/decide": {"R4"}, "hyperv/reason": {"R12", "R15"}, "hyperv/save": {"R25"}, "hyperv/child-snapshot": {"R26"}, "hyperv/child-snapshot.end": {"R28"},
		"hyperv/freeze": {"R29"}, "hyperv/thaw": {"R30"}, "hyperv/bring-back": {"R31", "R32"}, "hyperv/roll-back": {"R33"}, "hyperv/excluded-disk": {"R39", "R40"},
		"hyperv/turn-off": {"R44"}, "vm/delete": {"R45"}, "hyperv/file-restore-status": {"R48"}, "vm/register": {"", "R51"}, "vm/link": {"", "R52"}, // none where a machine is created
		"hyperv/compare-vhd": {"R54"}, "vm/connect": {"R57"}, "vm/disconnect": {"R58"},
	} {
		var got []string
		for _, e := range l.w.Trace().Select(kind) {
			if !slices.Contains(got, e.Rule) {
				got = append(got, e.Rule)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, rules) {
			t.Errorf("%s cites %v, want %v", kind, got, rules)
		}
	}
}

// The wall: what the host does cannot depend on clusters, because nothing that it
// is made of knows any. And a backup that runs says nothing of one.
func TestR59_TheHostKnowsNothingOfClusters(t *testing.T) {
	below := func(path string) bool {
		room, _, _ := strings.Cut(path, "/")
		return !isTest(path) && room != "cluster" && room != "examples"
	}
	for path, file := range goFiles(t, below) {
		for _, i := range file.Imports {
			if strings.Contains(i.Path.Value, "/cluster") {
				t.Errorf("%s imports %s", path, i.Path.Value)
			}
		}
	}
	l := newLab(t)
	l.running("db")
	l.running("web", stopped)
	l.mustRestore(l.mustBackup())
	for _, e := range l.events(func(e sim.Event) bool { return strings.Contains(e.Kind, "cluster") }) {
		t.Errorf("%v", e)
	}
}
