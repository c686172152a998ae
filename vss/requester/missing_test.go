package requester_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// A writer lists a log that is gone when the shadow copy is made. The backup does
// without, if it may, says so, and a restore of it finds nothing amiss; a file that
// the backup had and has lost is missed.
func TestFilesThatMayBeMissing(t *testing.T) {
	var asked []string
	logs := func(b *requester.Backup) {
		b.MayBeMissing = func(w *vss.WriterMetadata, path string) bool {
			asked = append(asked, w.Identity.FriendlyName+" "+path)
			return strings.HasSuffix(path, ".log")
		}
	}
	for _, row := range []struct {
		name, gone string
		may        func(b *requester.Backup)
		fails      bool
	}{
		{"a log", `D:\db\1.log`, logs, false},
		{"its folder too", `E:\logs`, logs, false},
		{"another file", `D:\db\data`, logs, true},
		{"a log in a backup of all files", `D:\db\1.log`, func(*requester.Backup) {}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			asked = nil
			l := newLab(t)
			l.write(`D:\db\data`, "rows", `D:\db\1.log`, "one", `E:\logs\2.log`, "two")
			app := l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\db\data`, `d:\DB\1.log`, `E:\logs\2.log`)}})
			app.does(vss.EventPrepareBackup, func(context.Context, any) error {
				l.remove(row.gone)
				return nil
			})
			r, err := l.backup(row.may)
			if row.fails {
				l.asFailed(err, "copy", fs.ErrNotExist)
				l.noDocument()
				l.settled()
				return
			}
			l.must(err)
			path := map[bool]string{true: `d:\DB\1.log`, false: `E:\logs\2.log`}[strings.HasPrefix(row.gone, "D")]
			if got := r.Components[0].Missing; !slices.Equal(got, []string{path}) || !slices.Equal(asked, []string{"db " + path}) {
				t.Errorf("missing are %q; asked for %q", got, asked)
			}
			l.write(`D:\db\data`, "changed")
			l.mustRestore()
			l.has(`D:\db\data`, "rows", path, "-")

			other := map[bool]string{true: "files/E/logs/2.log", false: "files/D/db/1.log"}[strings.HasPrefix(row.gone, "D")]
			l.must(l.target.Remove(other))
			_, err = l.restore()
			l.asFailed(err, "restore", fs.ErrNotExist)
		})
	}
}

// The next backup into the target says of itself alone what it does without.
func TestMissingFilesOfTheBackupBefore(t *testing.T) {
	l := newLab(t)
	l.write(`D:\db\data`, "rows")
	l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\db\data`, `D:\db\1.log`)}})
	may := func(b *requester.Backup) { b.MayBeMissing = func(*vss.WriterMetadata, string) bool { return true } }
	l.mustBackup(may)
	if text, err := fs.ReadFile(l.target, requester.MissingName); string(text) != "D\\db\\1.log\r\n" {
		t.Errorf("%q, %v", text, err)
	}
	other := &requester.Memory{}
	put(t, other, requester.MissingName, "D\\db\\1.log\r\n")
	if err := requester.CheckTarget(other); !errors.Is(err, requester.ErrNotATarget) {
		t.Errorf("a target with nothing but such a list: %v", err)
	}
	l.write(`D:\db\1.log`, "one")
	l.mustBackup(may)
	if _, err := fs.Stat(l.target, requester.MissingName); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the list of the backup before: %v", err)
	}
	for _, bad := range []string{"D\\..\\x\r\n", "\r\n", "\\D\\x"} {
		put(t, l.target, requester.MissingName, bad)
		_, err := l.restore()
		l.asFailed(err, "load", fs.ErrInvalid)
	}
}

// A file that several sets name, in whatever case, is missing once.
func TestMissingInSeveralSets(t *testing.T) {
	l := newLab(t)
	l.write(`D:\db\data`, "rows")
	l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\db\data`, `D:\db\1.log`, `d:\DB\1.log`)}})
	r := l.mustBackup(func(b *requester.Backup) { b.MayBeMissing = func(*vss.WriterMetadata, string) bool { return true } })
	text, err := fs.ReadFile(l.target, requester.MissingName)
	l.must(err)
	if n := strings.Count(string(text), "\n"); n != 1 || len(r.Components[0].Missing) != 1 {
		t.Errorf("%q, %q", text, r.Components[0].Missing)
	}
}
