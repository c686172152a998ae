package requester_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// Files in the root of a volume, of a mounted one too, are backed up and restored as
// any others, and can be refused before anything is done.
func TestFilesInTheRootOfAVolume(t *testing.T) {
	l := newLab(t)
	mounted := volume.New(volume.Config{ID: [16]byte{9}})
	l.must(l.s.AddVolume(&drive{Volume: mounted, name: `C:\mnt\v\`}))
	l.must(l.files.MountFolder(`C:\mnt\v`, mounted.FS()))
	l.must(mounted.WriteFile(`\disk`, []byte("mounted")))
	l.write(`D:\disk`, "root", `D:\more`, "more", `D:\other\file`, "x", `E:\vm\disk`, "below")
	app := l.add(&app{name: "db", parts: []vss.ComponentInfo{
		group("root", `D:\disk`, `D:\other\*`, `d:\more`), group("below", `E:\vm\disk`), group("mounted", `C:\mnt\v\disk`),
	}})
	r := l.mustBackup()
	for i, want := range [][]string{{`D:\`}, nil, {`C:\mnt\v\`}} {
		if c := r.Components[i]; !slices.Equal(c.Roots, want) {
			t.Errorf("%s has files in the roots %q", c.FullPath(), c.Roots)
		}
	}
	refuse := func(b *requester.Backup) { b.RefuseRoots = true }
	for name, on := range map[string]string{"root": `D:\disk`, "mounted": `C:\mnt\v\disk`} {
		app.heard = nil
		_, err := l.backup(refuse, func(b *requester.Backup) { b.Select = is(name) })
		var e *requester.Error
		if !errors.Is(err, requester.ErrAtRoot) || !errors.As(err, &e) || e.Phase != "AddComponent" || e.On != name || !strings.Contains(err.Error(), on) {
			t.Errorf("%s: %v", name, err)
		}
		if slices.Contains(app.heard, "PrepareForBackup") {
			t.Errorf("%s: the writer heard %q", name, app.heard)
		}
		l.settled()
	}
	l.mustBackup(refuse, func(b *requester.Backup) { b.Select = is("below") })
	l.mustBackup()
	l.remove(`D:\disk`)
	l.must(mounted.Remove(`\disk`))
	l.mustRestore()
	l.has(`D:\disk`, "root")
	if b, err := mounted.ReadFile(`\disk`); string(b) != "mounted" {
		t.Errorf("%q, %v", b, err)
	}
}
