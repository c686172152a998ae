package requester_test

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// A cutting target loses the shadow copies when it gets the first file, as when the
// diff area is full.
type cutting struct {
	*requester.Memory
	l *lab
}

func (c *cutting) Create(name string) (io.WriteCloser, error) {
	if strings.HasPrefix(name, "files/") {
		v := c.l.drives["D"]
		for _, id := range v.Shadows() {
			_ = v.DeleteShadow(id)
		}
	}
	return c.Memory.Create(name)
}

// Where the shadow copy itself is gone nothing is missing that may be: neither a file
// that may have been merged, nor all files of a wildcard. The backup fails.
func TestShadowCopyIsGone(t *testing.T) {
	for _, last := range []string{`D:\db\x.avhd`, `D:\log\*`} {
		l := newLab(t)
		l.write(`D:\db\data`, "rows", `D:\db\x.avhd`, "precious", `D:\log\1`, "precious")
		l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\db\data`, last)}})
		_, err := l.backup(func(b *requester.Backup) {
			b.Target = &cutting{l.target, l}
			b.MayBeMissing = func(_ *vss.WriterMetadata, path string) bool { return strings.HasSuffix(path, ".avhd") }
		})
		if e, ok := errors.AsType[*requester.Error](err); !ok || e.Phase != "copy" || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", last, err)
		}
	}
}

// A boaster says that a file is longer than any can be.
type boaster struct {
	fs.FS
	name string
}

type boastfulFile struct{ fs.File }

type boastfulInfo struct{ fs.FileInfo }

func (boastfulInfo) Size() int64 { return math.MaxInt64 / 2 }

func (f boastfulFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return boastfulInfo{info}, err
}

func (b boaster) Open(name string) (fs.File, error) {
	f, err := b.FS.Open(name)
	if err == nil && name == b.name {
		f = boastfulFile{f}
	}
	return f, err
}

// The size that a source claims for a text is believed when it has been read.
func TestSourceThatBoasts(t *testing.T) {
	for _, name := range []string{requester.SecurityName, requester.MissingName, requester.DocumentName} {
		l := newLab(t)
		l.write(`D:\db\data`, "rows")
		l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\db\data`)}})
		l.mustBackup()
		if name != requester.DocumentName {
			put(t, l.target, name, "D\\db\\data\r\nD:\r\n")
		}
		_, err := l.restore(func(r *requester.Restore) { r.Source = boaster{l.target, name} })
		if p := l.w.Panics(); len(p) > 0 {
			t.Errorf("%s: %v, %v", name, err, p)
		}
	}
}

// A link comes back with its own descriptor.
func TestSecurityOfALinkComesBack(t *testing.T) {
	l := newLab(t)
	l.write(`D:\db\data`, "rows")
	l.must(l.drives["D"].Symlink(`data`, `\db\link`))
	l.must(l.drives["D"].SetLinkSecurity(`\db\link`, admins))
	l.secure(`D:\db\data`, users)
	l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\db\data`, `D:\db\link`)}})
	l.mustBackup()
	l.remove(`D:\db\link`)
	l.mustRestore()
	info, err := l.drives["D"].Lstat(`\db\link`)
	l.must(err)
	if got := info.Security(); got != admins {
		t.Errorf("the link has %q", got)
	}
}
