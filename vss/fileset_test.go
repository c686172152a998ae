package vss

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMatchFileName(t *testing.T) {
	for _, row := range []struct {
		spec, name string
		want       bool
	}{
		{"*", "", true}, {"*", "a.b", true}, {"*.*", "noextension", true},
		{"a.VHD", "A.vhd", true}, {"*.vhd", "disk.VHD", true}, {"*.vhd", "disk.vhdx", false},
		{"disk?.vhd", "disk1.vhd", true}, {"disk?.vhd", "disk.vhd", false}, {"?", "ä", true}, {"?", "語", true},
		{"*a*b*c", "xxaxxbxxbc", true}, {"*a*b*c", "xxaxxbxxb", false}, {"", "", true}, {"", "a", false}, {"a", "", false},
		{"Ä.txt", "ä.TXT", true}, {"[a]", "a", false},
	} {
		if got := MatchFileName(row.spec, row.name); got != row.want {
			t.Errorf("%q fits %q: %v", row.name, row.spec, got)
		}
	}
}

// TestMatchAgainstTheDefinition compares the matcher with one that tries
// everything.
func TestMatchAgainstTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := rapid.StringOfN(rapid.SampledFrom([]rune("aAb?*.")), 0, 8, -1).Draw(t, "spec")
		name := rapid.StringOfN(rapid.SampledFrom([]rune("aAb.")), 0, 8, -1).Draw(t, "name")
		want := spec == "*.*" || slowMatch(strings.ToUpper(spec), strings.ToUpper(name))
		if got := MatchFileName(spec, name); got != want {
			t.Fatalf("%q fits %q: %v", name, spec, got)
		}
	})
}

func slowMatch(spec, name string) bool {
	switch {
	case spec == "":
		return name == ""
	case spec[0] == '*':
		return slowMatch(spec[1:], name) || name != "" && slowMatch(spec, name[1:])
	case name == "":
		return false
	}
	return (spec[0] == '?' || spec[0] == name[0]) && slowMatch(spec[1:], name[1:])
}

func TestMatchIsQuickOnHostilePatterns(t *testing.T) {
	spec, name := strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 4000)
	if MatchFileName(spec, name) {
		t.Error("fits")
	}
}

func TestExpandEnvironment(t *testing.T) {
	env := map[string]string{"SystemRoot": `C:\Windows`, "Empty": "", "again": "%SystemRoot%", "CASE": "first", "case": "second"}
	for in, want := range map[string]string{
		`%systemroot%\System32`: `C:\Windows\System32`,
		`%unknown%\x`:           `%unknown%\x`,
		`100% %SYSTEMROOT%`:     `100% C:\Windows`,
		`%Empty%x%Empty%`:       `x`,
		`%again%`:               `%SystemRoot%`,
		`%case%`:                `first`,
		`%`:                     `%`, `%%`: `%%`, ``: ``, `plain`: `plain`,
	} {
		if got := ExpandEnvironment(in, env); got != want {
			t.Errorf("%q expands to %q, want %q", in, got, want)
		}
	}
}

func TestFileSpecs(t *testing.T) {
	a := FileSpec{`D:\VMs\`, "*.vhd", true}
	if a.String() != `D:\VMs\...\*.vhd` || (FileSpec{`D:`, "x", false}).String() != `D:\x` {
		t.Errorf("prints %v", a)
	}
	if !a.Same(FileSpec{`d:\vms`, "*.VHD", true}) || a.Same(FileSpec{`D:\VMs`, "*.vhd", false}) || a.Same(FileSpec{`D:\VMs\x`, "*.vhd", true}) {
		t.Error("file specifications are not compared by their words without case")
	}
	if got := (FileSet{FileSpec: a, AlternatePath: `E:\Copy`}).Source(); got != (FileSpec{`E:\Copy`, "*.vhd", true}) {
		t.Errorf("is read from %v", got)
	}
	for _, bad := range []FileSpec{{"", "*", false}, {`C:\*`, "x", false}, {`C:\a?`, "x", false}, {`C:\`, "", false}, {`C:\`, `a\b`, false}} {
		if bad.problem() == "" {
			t.Errorf("%+v is accepted", bad)
		}
	}
	for _, good := range []FileSpec{a, {`\\?\Volume{1}\`, "?", false}, {`\\server\share`, "*", true}, {`%SystemRoot%`, "x", false}, {`\rooted`, "*", true}} {
		if problem := good.problem(); problem != "" {
			t.Errorf("%+v: %s", good, problem)
		}
	}
}

func TestVolumesOfPaths(t *testing.T) {
	for _, row := range [][3]string{
		{`D:\a\b`, `D:`, `\a\b`}, {`D:`, `D:`, ``},
		{`\\?\Volume{1}\a`, `\\?\Volume{1}`, `\a`}, {`\\?\Volume{1}`, `\\?\Volume{1}`, ``},
		{`\\server\share\a\b`, `\\server\share`, `\a\b`}, {`\\server\share`, `\\server\share`, ``},
		{`\\server`, `\\server`, ``}, {`\\`, `\\`, ``}, {`\rooted`, ``, `\rooted`}, {`relative`, ``, `relative`}, {``, ``, ``},
	} {
		if volume, rest := cutVolume(row[0]); volume != row[1] || rest != row[2] {
			t.Errorf("%s is %s and %s, want %s and %s", row[0], volume, rest, row[1], row[2])
		}
	}
}

// disks is a host's view: drives C and D, and directories without a file.
var disks = fstest.MapFS{
	"C/Windows/System32/config/SAM":  {},
	"C/Windows/System32/config/sam2": {},
	"C/Windows/notepad.exe":          {},
	"D/VMs/db/disk.vhd":              {},
	"D/VMs/db/disk.avhd":             {},
	"D/VMs/db/Snapshots":             {Mode: fs.ModeDir},
	"D/VMs/web/disk.vhd":             {},
	"D/VMs/web/link":                 {Mode: fs.ModeSymlink},
	"D/VMs/readme.txt":               {},
	"D/VMs/temp/cache/empty":         {Mode: fs.ModeDir},
	"D/Copy/db/disk.vhd":             {},
	"E":                              {Mode: fs.ModeDir},
}

func TestExpandFileSet(t *testing.T) {
	env := map[string]string{"SystemRoot": `C:\Windows`, "vms": `D:\VMs`}
	all := FileSet{FileSpec: FileSpec{`D:\VMs\`, "*", true}}
	for _, row := range []struct {
		name     string
		set      FileSet
		excludes []FileSpec
		want     string // Windows paths, and names in the file system where they differ
	}{
		{"one file", FileSet{FileSpec: FileSpec{`d:\vms\DB`, "DISK.vhd", false}}, nil, `d:\vms\DB\disk.vhd`},
		{"a pattern", FileSet{FileSpec: FileSpec{`D:\VMs\db`, "*.?vhd", false}}, nil, `D:\VMs\db\disk.avhd`},
		{"a tree", all, nil, `D:\VMs\readme.txt D:\VMs\db\disk.avhd D:\VMs\db\disk.vhd D:\VMs\db\Snapshots/ D:\VMs\temp\cache\empty/ D:\VMs\web\disk.vhd D:\VMs\web\link`},
		{"variables", FileSet{FileSpec: FileSpec{`%SYSTEMROOT%\system32\config`, "*", false}}, nil, `C:\Windows\system32\config\SAM C:\Windows\system32\config\sam2`},
		{"an excluded pattern", all, []FileSpec{{`d:\vms\`, "*.avhd", true}, {`D:\VMs`, "*.vhd", false}},
			`D:\VMs\readme.txt D:\VMs\db\disk.vhd D:\VMs\db\Snapshots/ D:\VMs\temp\cache\empty/ D:\VMs\web\disk.vhd D:\VMs\web\link`},
		{"an excluded tree", all, []FileSpec{{`%VMS%\db`, "*", true}, {`D:\VMs\temp`, "*", true}}, `D:\VMs\readme.txt D:\VMs\web\disk.vhd D:\VMs\web\link`},
		{"an excluded directory", all, []FileSpec{{`D:\VMs\db`, "*", false}, {`D:\VMs\temp\cache`, "empty", false}}, `D:\VMs\readme.txt D:\VMs\web\disk.vhd D:\VMs\web\link`},
		{"excluded on every volume", all, []FileSpec{{`\VMs\db`, "*", true}, {`\vms\TEMP`, "*", true}}, `D:\VMs\readme.txt D:\VMs\web\disk.vhd D:\VMs\web\link`},
		{"an excluded name that only begins so", FileSet{FileSpec: FileSpec{`D:\VMs\web`, "*", true}}, []FileSpec{{`D:\VMs\we`, "*", true}}, `D:\VMs\web\disk.vhd D:\VMs\web\link`},
		{"an alternate path", FileSet{FileSpec: FileSpec{`D:\VMs`, "*", true}, AlternatePath: `D:\copy\`}, nil, `D:\VMs\db\disk.vhd=D/Copy/db/disk.vhd`},
		{"excluded by the original path alone", FileSet{FileSpec: FileSpec{`D:\VMs`, "*", true}, AlternatePath: `D:\Copy`},
			[]FileSpec{{`D:\Copy`, "*", true}}, `D:\VMs\db\disk.vhd=D/Copy/db/disk.vhd`},
		{"excluded at the original path", FileSet{FileSpec: FileSpec{`D:\VMs`, "*", true}, AlternatePath: `D:\Copy`},
			[]FileSpec{{`D:\VMs\db`, "disk.*", false}}, ``},
		{"a pattern without files", FileSet{FileSpec: FileSpec{`D:\VMs`, "*.bak", false}}, nil, ``},
		{"a pattern without a directory", FileSet{FileSpec: FileSpec{`F:\none`, "*", true}}, nil, ``},
		{"a named file that is excluded", FileSet{FileSpec: FileSpec{`D:\VMs`, "readme.txt", false}}, []FileSpec{{`D:\VMs`, "*", false}}, ``},
		{"a name found below", FileSet{FileSpec: FileSpec{`D:\VMs`, "disk.avhd", true}}, nil, `D:\VMs\db\disk.avhd D:\VMs\db\Snapshots/ D:\VMs\temp\cache\empty/`},
		{"an empty tree", FileSet{FileSpec: FileSpec{`D:\VMs\db\snapshots`, "*", true}}, nil, `D:\VMs\db\snapshots/`},
		{"an empty tree that is excluded", FileSet{FileSpec: FileSpec{`D:\VMs\db\snapshots`, "*", true}}, []FileSpec{{`D:\VMs\db`, "snap*", false}}, ``},
		{"an empty directory", FileSet{FileSpec: FileSpec{`D:\VMs\db\snapshots`, "*", false}}, nil, ``},
		{"an empty drive", FileSet{FileSpec: FileSpec{`E:\`, "*", true}}, nil, ``},
		{"a whole drive", FileSet{FileSpec: FileSpec{`C:\`, "*.exe", true}}, nil, `C:\Windows\notepad.exe`},
		{"a whole drive, without a backslash", FileSet{FileSpec: FileSpec{`c:`, "*.exe", true}}, nil, `c:\Windows\notepad.exe`},
	} {
		found, err := ExpandFileSet(disks, "", row.set, ExpandOptions{Excludes: row.excludes, Environment: env})
		if got := foundText(found); err != nil || got != row.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", row.name, got, err, row.want)
		}
	}
}

// foundText prints files as Windows paths, directories with a slash, and the name
// in the file system where it is not the one the path says.
func foundText(files []FoundFile) string {
	var list []string
	for _, f := range files {
		text := f.Path
		if f.Type.IsDir() {
			text += "/"
		}
		if !strings.EqualFold(strings.ReplaceAll(strings.ReplaceAll(f.Path, ":", ""), `\`, "/"), f.Name) {
			text += "=" + f.Name
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func TestExpandBelowARoot(t *testing.T) {
	d, err := fs.Sub(disks, "D")
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{`D:\`, `d:`, `\\?\Volume{7}\`, `\\server\share`} {
		set := FileSet{FileSpec: FileSpec{strings.TrimSuffix(strings.ToUpper(root), `\`) + `\VMs\web`, "*.vhd", false}}
		found, err := ExpandFileSet(d, root, set, ExpandOptions{Excludes: []FileSpec{{`\VMs\db`, "*", true}}})
		if err != nil || len(found) != 1 || found[0].Name != "VMs/web/disk.vhd" || found[0].Path != set.Path+`\disk.vhd` {
			t.Errorf("below %s: %v, %v", root, found, err)
		}
		// the exclusion without a drive is found behind every kind of volume
		found, err = ExpandFileSet(d, root, set, ExpandOptions{Excludes: []FileSpec{{`\vms\WEB`, "*", true}}})
		if err != nil || len(found) != 0 {
			t.Errorf("below %s, excluded: %v, %v", root, found, err)
		}
	}
	// folding may change the number of bytes
	names := fstest.MapFS{"x": {}}
	found, err := ExpandFileSet(names, `\\s\ⱥⱥⱥ`, FileSet{FileSpec: FileSpec{`\\s\ȺȺȺ\`, "x", false}}, ExpandOptions{})
	if err != nil || len(found) != 1 || found[0].Path != `\\s\ȺȺȺ\x` {
		t.Errorf("%v, %v", found, err)
	}
}

func TestExpandFailures(t *testing.T) {
	for _, row := range []struct {
		root string
		spec FileSpec
		code HRESULT
	}{
		{"", FileSpec{`D:\VMs`, "missing.vhd", false}, ErrObjectNotFound},
		{"", FileSpec{`D:\VMs`, "missing.vhd", true}, ErrObjectNotFound},
		{"", FileSpec{`D:\none`, "disk.vhd", false}, ErrObjectNotFound},
		{"", FileSpec{`D:\VMs\readme.txt`, "disk.vhd", false}, ErrObjectNotFound},
		{`C:\`, FileSpec{`D:\VMs`, "*", false}, ErrObjectNotFound},
		{`C:\`, FileSpec{`C:\..\D`, "*", false}, ErrInvalidArg},
		{"", FileSpec{`D:\.\VMs`, "*", false}, ErrInvalidArg},
		{"", FileSpec{"D:\\\xff", "*", false}, ErrInvalidArg},
	} {
		found, err := ExpandFileSet(disks, row.root, FileSet{FileSpec: row.spec}, ExpandOptions{})
		var e *Error
		if !errors.Is(err, row.code) || !errors.As(err, &e) || e.Op != "ExpandFileSet" || found != nil {
			t.Errorf("%v: %v, %v; want %v", row.spec, found, err, row.code)
		}
	}
	_, err := ExpandFileSet(disks, "", FileSet{FileSpec: FileSpec{`D:\VMs`, "missing.vhd", false}}, ExpandOptions{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	_, err = ExpandFileSet(brokenFS{}, "", FileSet{FileSpec: FileSpec{`D:\VMs`, "*", true}}, ExpandOptions{})
	if !errors.Is(err, errBroken) || HRESULTOf(err) != ErrUnexpected {
		t.Errorf("a broken disk: %v", err)
	}
}

var errBroken = errors.New("broken disk")

type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, errBroken }

// TestExpandAgainstTheDefinition compares the search with a walk over everything.
func TestExpandAgainstTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		element := rapid.SampledFrom([]string{"a", "b.x", "aa"})
		paths := rapid.SliceOfN(rapid.SliceOfN(element, 1, 4), 0, 8).Draw(t, "files")
		fsys := fstest.MapFS{}
		for _, p := range paths {
			if name := "D/" + strings.Join(p, "/"); !conflicts(fsys, name) {
				fsys[name] = &fstest.MapFile{}
			}
		}
		files := func(label string) FileSpec {
			dir := rapid.SliceOfN(element, 0, 2).Draw(t, label)
			return FileSpec{`D:\` + strings.ToUpper(strings.Join(dir, `\`)), rapid.SampledFrom([]string{"*", "a*", "?.x"}).Draw(t, label), rapid.Bool().Draw(t, label)}
		}
		set, exclude := files("set"), files("exclude")
		found, err := ExpandFileSet(fsys, "", FileSet{FileSpec: set}, ExpandOptions{Excludes: []FileSpec{exclude}})
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, f := range found {
			got = append(got, strings.ToUpper(f.Path))
		}
		for name := range fsys {
			if path := strings.Replace(strings.ReplaceAll(strings.ToUpper(name), "/", `\`), `D\`, `D:\`, 1); covers(set, path) && !covers(exclude, path) {
				want = append(want, path)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%v without %v (-want +got):\n%s", set, exclude, diff)
		}
	})
}

// conflicts tells whether a name is a directory of another or the other way round.
func conflicts(fsys fstest.MapFS, name string) bool {
	for other := range fsys {
		if strings.HasPrefix(other+"/", name+"/") || strings.HasPrefix(name+"/", other+"/") {
			return true
		}
	}
	return false
}

func covers(f FileSpec, path string) bool {
	i := strings.LastIndexByte(path, '\\')
	dir, above := path[:i], strings.TrimSuffix(f.Path, `\`)
	return MatchFileName(f.Spec, path[i+1:]) && (dir == above || f.Recursive && strings.HasPrefix(dir, above+`\`))
}

// lister is a file system whose root lists entries of any name.
type lister struct{ names []string }

func (l lister) Open(string) (fs.File, error) { return nil, fs.ErrNotExist }

func (l lister) ReadDir(string) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	for _, name := range l.names {
		list = append(list, fs.FileInfoToDirEntry(liar{name}))
	}
	return list, nil
}

// liar is a directory of a name that no directory has.
type liar struct{ name string }

func (i liar) Name() string       { return i.name }
func (i liar) Size() int64        { return 0 }
func (i liar) Mode() fs.FileMode  { return fs.ModeDir | 0o755 }
func (i liar) ModTime() time.Time { return time.Time{} }
func (i liar) IsDir() bool        { return true }
func (i liar) Sys() any           { return nil }

func TestExpandRefusesNamesThatLeadElsewhere(t *testing.T) {
	for _, name := range []string{".", "..", "a/b"} {
		set := FileSet{FileSpec: FileSpec{Path: `D:\`, Spec: "*", Recursive: true}}
		if found, err := ExpandFileSet(lister{[]string{name}}, `D:\`, set, ExpandOptions{}); !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%q: %v, %v", name, found, err)
		}
	}
}

// namedFiles finds names in whatever case, and counts how often a directory was listed
// as a whole.
type namedFiles struct {
	fstest.MapFS
	unsupported bool
	listed      int
}

func (n *namedFiles) ReadDir(dir string) ([]fs.DirEntry, error) {
	n.listed++
	return n.MapFS.ReadDir(dir)
}

func (n *namedFiles) ReadNamed(dir, name string) ([]fs.DirEntry, error) {
	if n.unsupported {
		return nil, fmt.Errorf("%s: %w", dir, errors.ErrUnsupported)
	}
	all, err := n.MapFS.ReadDir(dir)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool { return !strings.EqualFold(e.Name(), name) }), err // K is the Kelvin sign, too
}

// A file that is named is asked for by its name, and found as in a list.
func TestExpandAsksForNames(t *testing.T) {
	const kelvin = "\u212a"
	files := fstest.MapFS{"D/VMs/disk.vhd": {}, "D/VMs/Disk.VHD": {}, "D/VMs/k": {}, "D/VMs/" + kelvin: {}, "D/VMs/deep/disk.vhd": {}, "D/VMs/folder/x": {}}
	for _, row := range []struct {
		spec   FileSpec
		listed int
	}{
		{FileSpec{`D:\VMs`, "DISK.vhd", false}, 0}, {FileSpec{`D:\VMs`, "K", false}, 0}, {FileSpec{`D:\VMs`, kelvin, false}, 0},
		{FileSpec{`D:\VMs`, "folder", false}, 0}, {FileSpec{`D:\VMs`, "none", false}, 0}, {FileSpec{`d:\vms`, "disk.vhd", false}, 0}, {FileSpec{`D:\none`, "*", false}, 0},
		{FileSpec{`D:\VMs`, "disk.*", false}, 1}, {FileSpec{`D:\VMs`, "disk.vhd", true}, 3},
	} {
		for _, excludes := range [][]FileSpec{nil, {{`D:\VMs`, "k", false}}} {
			opt := ExpandOptions{Excludes: excludes}
			want, errWant := ExpandFileSet(files, "", FileSet{FileSpec: row.spec}, opt)
			n := &namedFiles{MapFS: files}
			got, err := ExpandFileSet(n, "", FileSet{FileSpec: row.spec}, opt)
			if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(err) != fmt.Sprint(errWant) || n.listed != row.listed {
				t.Errorf("%v: %v, want %v; %d lists, want %d (-list +names):\n%s", row.spec, err, errWant, n.listed, row.listed, diff)
			}
			n = &namedFiles{MapFS: files, unsupported: true}
			if got, _ := ExpandFileSet(n, "", FileSet{FileSpec: row.spec}, opt); cmp.Diff(want, got) != "" || n.listed == 0 {
				t.Errorf("%v: %v where names are not found, %d lists", row.spec, got, n.listed)
			}
		}
	}
}
