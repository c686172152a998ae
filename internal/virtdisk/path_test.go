package virtdisk

import "testing"

func TestIsAbs(t *testing.T) {
	for path, want := range map[string]bool{
		`C:\a`: true, `c:/a`: true, `C:\`: true, `\\srv\share\a`: true, `\\?\C:\a`: true,
		`\\?\Volume{x}\a`: true, ``: false, `a`: false, `.\a`: false, `C:a`: false, `C:`: false,
		`\a`: false, `\\`: false, `1:\a`: false,
	} {
		if IsAbs(path) != want {
			t.Errorf("IsAbs(%q) = %v", path, !want)
		}
	}
}

func TestDirAndBase(t *testing.T) {
	for _, c := range [][3]string{
		{`C:\vm\a.vhd`, `C:\vm`, `a.vhd`},
		{`C:\a.vhd`, `C:\`, `a.vhd`},
		{`C:\`, `C:\`, ``},
		{`\\srv\share\a`, `\\srv\share\`, `a`},
		{`\\?\C:\vm\a`, `\\?\C:\vm`, `a`},
		{`.\a`, `.`, `a`},
		{`a`, ``, `a`},
		{`x/y/a`, `x/y`, `a`},
		{`x\a\\`, `x`, `a`},
		{``, ``, ``},
	} {
		if got := Dir(c[0]); got != c[1] {
			t.Errorf("Dir(%q) = %q, want %q", c[0], got, c[1])
		}
		if got := Base(c[0]); got != c[2] {
			t.Errorf("Base(%q) = %q, want %q", c[0], got, c[2])
		}
	}
}

func TestJoin(t *testing.T) {
	for _, c := range []struct {
		folder, path, want string
		ok                 bool
	}{
		{`C:\vm`, `.\a.vhd`, `C:\vm\a.vhd`, true},
		{`C:\vm\snap`, `..\a.vhd`, `C:\vm\a.vhd`, true},
		{`C:\vm`, `D:\a.vhd`, `D:\a.vhd`, true},
		{`C:\`, `a`, `C:\a`, true},
		{`C:\vm`, `..\..\a`, ``, false},
		{`\\srv\share\vm`, `..\..\a`, ``, false},
		{`vm/x`, `../a`, `vm\a`, true},
		{``, `a`, `a`, true},
		{``, `..\a`, ``, false},
		{`C:\vm`, ``, `C:\vm`, true},
	} {
		if got, ok := Join(c.folder, c.path); got != c.want || ok != c.ok {
			t.Errorf("Join(%q, %q) = %q, %v, want %q, %v", c.folder, c.path, got, ok, c.want, c.ok)
		}
	}
}

func TestRel(t *testing.T) {
	for _, c := range []struct {
		folder, target, want string
		ok                   bool
	}{
		{`C:\vm`, `C:\vm\a.vhd`, `.\a.vhd`, true},
		{`C:\vm`, `c:\VM\x\a.vhd`, `.\x\a.vhd`, true},
		{`C:\vm\snap`, `C:\vm\a.vhd`, `..\a.vhd`, true},
		{`C:\x\y`, `C:\z\a`, `..\..\z\a`, true},
		{`C:\a`, `C:\a`, `..\a`, true},
		{`C:\`, `C:\a`, `.\a`, true},
		{`C:\vm`, `D:\a`, ``, false},
		{`vm`, `C:\a`, ``, false},
		{`C:\vm`, `a`, ``, false},
		{`\\srv\s\vm`, `\\SRV\s\b\a`, `..\b\a`, true},
		{`\\srv\s\vm`, `\\srv\t\a`, ``, false},
	} {
		got, ok := Rel(c.folder, c.target)
		if got != c.want || ok != c.ok {
			t.Errorf("Rel(%q, %q) = %q, %v, want %q, %v", c.folder, c.target, got, ok, c.want, c.ok)
		}
		if !ok {
			continue
		}
		if back, ok := Join(c.folder, got); !ok || !equalPath(back, c.target) {
			t.Errorf("Join(%q, %q) = %q, want %q", c.folder, got, back, c.target)
		}
	}
}

func equalPath(a, b string) bool {
	rel, ok := Rel(a, b)
	return ok && rel == `..\`+Base(b)
}
