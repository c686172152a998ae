package volume_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct{ path, drive, rest string }{
		{`D:\VMs\sql01.xml`, "D", `\VMs\sql01.xml`},
		{`d:/VMs\.\\a\..\sql01.xml\`, "D", `\VMs\sql01.xml`},
		{`\VMs`, "", `\VMs`},
		{`VMs`, "", `\VMs`},
		{``, "", `\`},
		{`C:`, "C", `\`},
		{`C:\..\..\x`, "C", `\x`},
		{`C:\\x`, "C", `\x`},
		{`\\?\C:\x`, "C", `\x`},
		{`\??\C:\x`, "C", `\x`},
		{`\COM\com0.txt`, "", `\COM\com0.txt`},
		{`\.hidden\..a`, "", `\.hidden\..a`},
	} {
		drive, rest, err := volume.Split(c.path)
		if drive != c.drive || rest != c.rest || err != nil {
			t.Errorf("Split(%s) = %q, %q, %v, want %q, %q", c.path, drive, rest, err, c.drive, c.rest)
		}
	}
}

func TestInvalidNames(t *testing.T) {
	for _, path := range []string{
		`C:x`, `\\server\share`, `\\?\Volume{66841cd4-6ded-4f4b-8f17-fd23f8ddc3de}\x`, `//x`,
		`a:b`, `a?`, `a*`, `a<`, `a>`, `a|`, `a"`, "a\x00", "a\x1f", `a.`, `a `, `...`, `. `, "a\xff",
		`CON`, `con.txt`, `Nul .x.y`, `\x\LPT1\y`, `com9`, `COM¹`, `lpt³.a`, `CONIN$`, `conout$`, `aux`, `PRN`,
		strings.Repeat("a", 256), strings.Repeat("😀", 128),
	} {
		_, _, err := volume.Split(path)
		wantCode(t, err, volume.ErrInvalidName)
		wantCode(t, volume.New(volume.Config{}).Mkdir(path), volume.ErrInvalidName)
	}
	for _, path := range []string{strings.Repeat("a", 255), strings.Repeat("😀", 127), strings.Repeat("ä", 255), "CONX", "COM", "COM10", "LPT¹1"} {
		must(t, volume.New(volume.Config{}).Mkdir(path))
	}
	_, _, err := volume.Split(strings.Repeat(`\a`, 16384))
	wantCode(t, err, volume.ErrFilenameTooLong)
}

func TestPathHelpers(t *testing.T) {
	for _, c := range []struct{ path, dir, base string }{
		{`D:\VMs\a.xml`, `D:\VMs`, `a.xml`}, {`D:\VMs\`, `D:\`, `VMs`}, {`D:\`, `D:\`, ``}, {`D:`, `D:`, ``},
		{`\VMs/x`, `\VMs`, `x`}, {`\VMs`, `\`, `VMs`}, {`\`, `\`, ``}, {`VMs`, ``, `VMs`}, {``, ``, ``},
	} {
		if dir, base := volume.Dir(c.path), volume.Base(c.path); dir != c.dir || base != c.base {
			t.Errorf("%s: Dir %q, Base %q, want %q, %q", c.path, dir, base, c.dir, c.base)
		}
	}
	for _, c := range []struct {
		want  string
		elems []string
	}{
		{`D:\VMs\a`, []string{"D:", "VMs", "a"}}, {`D:\VMs`, []string{`D:\`, `\VMs`}}, {`\a`, []string{"", `\`, "a"}},
		{``, nil}, {`a\b\`, []string{"a", `b\`, ``}},
	} {
		if got := volume.Join(c.elems...); got != c.want {
			t.Errorf("Join(%q) = %s, want %s", c.elems, got, c.want)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`D:\VMs\ÄRGER`, `d:/vms/./ärger/`, true}, {`D:\VMs\a`, `D:/VMs/a`, true}, {`D:\a`, `E:\a`, false}, {`\a`, `D:\a`, false},
		{`\a`, `\ab`, false}, {`a?`, `A?`, false}, {`a?`, `a?`, true}, {`\straße`, `\STRASSE`, false},
	} {
		if got := volume.Equal(c.a, c.b); got != c.want {
			t.Errorf("Equal(%s, %s) = %v", c.a, c.b, got)
		}
	}
}

func TestNamesAndPaths(t *testing.T) {
	for _, c := range []struct{ path, name, back string }{
		{`d:\VMs\a`, "D/VMs/a", `D:\VMs\a`}, {`D:\`, "D", `D:\`},
	} {
		name, err := volume.Name(c.path)
		must(t, err)
		path, err := volume.Path(name)
		must(t, err)
		if name != c.name || path != c.back {
			t.Errorf("%s: Name is %s, and Path of that %s", c.path, name, path)
		}
	}
	for path, want := range map[string]string{`\`: ".", `\VMs\a`: "VMs/a"} {
		if got, err := volume.Name(path); got != want || err != nil {
			t.Errorf("Name(%s) = %s, %v", path, got, err)
		}
	}
	for _, name := range []string{"", ".", "VMs", "/D", "D/", "D/a:b", `D\a`, "1/a"} {
		if path, err := volume.Path(name); err == nil {
			t.Errorf("Path(%q) = %s, want an error", name, path)
		}
	}
	_, err := volume.Clean("C:x")
	wantCode(t, err, volume.ErrInvalidName)
	_, err = volume.Name("C:x")
	wantCode(t, err, volume.ErrInvalidName)
}

// FuzzPath looks for a path that Clean accepts but does not bring into one form,
// or that the other helpers see differently.
func FuzzPath(f *testing.F) {
	for _, s := range []string{`D:\VMs\sql01`, `a/../b`, `\\?\C:\x`, `nul.txt`, `\??\`, "ä\\Ö", `C:`, `C:..`, `. \ `, "ſ\\K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		clean, err := volume.Clean(path)
		if err != nil {
			return
		}
		if again, err := volume.Clean(clean); again != clean || err != nil {
			t.Fatalf("Clean(%q) = %q, but Clean of that %q, %v", path, clean, again, err)
		}
		if !volume.Equal(path, clean) || volume.Fold(volume.Fold(clean)) != volume.Fold(clean) {
			t.Fatalf("%q is not equal to its clean form %q, or folds twice", path, clean)
		}
		drive, rest, err := volume.Split(path)
		if err != nil || strings.ContainsAny(rest, `/:?*"<>|`) || rest[0] != '\\' {
			t.Fatalf("Split(%q) = %q, %q, %v", path, drive, rest, err)
		}
		name, err := volume.Name(path)
		if err != nil || !fs.ValidPath(name) {
			t.Fatalf("Name(%q) = %q, %v", path, name, err)
		}
		if base := volume.Base(clean); base != "" && volume.Join(volume.Dir(clean), base) != clean {
			t.Fatalf("Dir and Base of %q do not join to it", clean)
		}
		v := volume.New(volume.Config{})
		if err := v.MkdirAll(rest); err != nil {
			t.Fatalf("MkdirAll(%q): %v", rest, err)
		}
		info, err := v.Stat(volume.Fold(rest))
		if err != nil || rest != `\` && info.Name() != volume.Base(rest) {
			t.Fatalf("%q cannot be found by its upper case: %v", rest, err)
		}
	})
}
