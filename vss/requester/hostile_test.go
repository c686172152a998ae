package requester_test

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A hostile source has good documents, and below its files whatever it likes: each
// directory has one entry, of one name and type.
type hostile struct {
	*requester.Memory
	entry string
	mode  fs.FileMode
}

func (h hostile) Stat(name string) (fs.FileInfo, error) {
	if !strings.HasPrefix(name, requester.FilesName) {
		return h.Memory.Stat(name)
	}
	return hostileEntry{h.entry, fs.ModeDir}, nil
}

func (h hostile) ReadDir(name string) ([]fs.DirEntry, error) {
	switch {
	case !strings.HasPrefix(name, requester.FilesName):
		return h.Memory.ReadDir(name)
	case strings.Count(name, "/") > 4:
		return nil, nil
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(hostileEntry{h.entry, h.mode})}, nil
}

func (h hostile) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, requester.FilesName) {
		name = requester.DocumentName // something to read
	}
	return h.Memory.Open(name)
}

func (h hostile) ReadLink(string) (string, error) { return h.entry, nil }

type hostileEntry struct {
	name string
	mode fs.FileMode
}

// A guarded destination reports names that no restore may write to.
type guarded struct {
	*requester.Memory
	t testing.TB
}

func (g guarded) check(name string) {
	g.t.Helper()
	volume, _, _ := strings.Cut(name, "/")
	drive := len(volume) == 1 && "A" <= volume && volume <= "Z"
	if !fs.ValidPath(name) || strings.ContainsAny(name, `\:`) || !drive && !strings.HasPrefix(volume, "Volume{") {
		g.t.Errorf("the restore writes to %q", name)
	}
}

func (g guarded) Create(name string) (io.WriteCloser, error) {
	g.check(name)
	return g.Memory.Create(name)
}

func (g guarded) Mkdir(name string) error {
	g.check(name)
	return g.Memory.Mkdir(name)
}

func (g guarded) Symlink(target, name string) error {
	g.check(name)
	return g.Memory.Symlink(target, name)
}

func (g guarded) Remove(name string) error {
	g.check(name)
	return g.Memory.Remove(name)
}

// hostileRestore restores a file set at path to a new target, if there is one,
// from a source with such entries.
func hostileRestore(t testing.TB, destination requester.Files, path, target, entry string, mode fs.FileMode, raw []byte) (*requester.Report, error) {
	w := sim.New(sim.NoTrace())
	defer func() { _ = w.Close() }()
	s := vss.NewService(w.Actor("h1"), vss.ServiceConfig{})
	id := vss.WriterIdentity{WriterID: guid.GUID{1}, InstanceID: guid.GUID{2}, FriendlyName: "w"}
	m := vss.NewWriterMetadata(id)
	m.Restore = &vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreNever}
	m.Components = []vss.ComponentInfo{{ComponentKey: vss.ComponentKey{Name: "c"}, Type: vss.ComponentFileGroup, Selectable: true,
		Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: path, Spec: "*", Recursive: true}}}}}
	doc := &vss.BackupComponentsDocument{SelectComponents: true}
	rec := doc.AddWriter(vss.WriterRecord{WriterID: id.WriterID, InstanceID: id.InstanceID})
	if _, err := rec.AddComponent(vss.ComponentRecord{ComponentKey: m.Components[0].ComponentKey, Type: vss.ComponentFileGroup}); err != nil {
		t.Fatal(err)
	}
	source := hostile{&requester.Memory{}, entry, mode}
	var metadata, document bytes.Buffer
	if m.WriteXML(&metadata) != nil || doc.WriteXML(&document) != nil {
		return nil, nil // XML cannot say this
	}
	if len(raw) > 0 {
		document.Reset()
		document.Write(raw)
	}
	for name, data := range map[string][]byte{requester.WritersName + "/w.xml": metadata.Bytes(), requester.DocumentName: document.Bytes()} {
		if dir, _, ok := strings.Cut(name, "/"); ok {
			if err := source.Mkdir(dir); err != nil {
				t.Fatal(err)
			}
		}
		f, err := source.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	r := &requester.Restore{Service: s, Source: source, Destination: destination}
	if target != "" {
		r.NewTarget = func(*vss.WriterMetadata, *vss.ComponentInfo, vss.FileSet) (string, bool) { return target, true }
	}
	report, err := r.Run(t.Context())
	if left := s.Leftovers(); len(left) > 0 || len(w.Panics()) > 0 {
		t.Errorf("left over: %q, panics %v", left, w.Panics())
	}
	return report, err
}

var hostileSeeds = []struct {
	path, target, entry string
	mode                fs.FileMode
}{
	{`D:\x`, ``, "good", 0},
	{`D:\x`, `E:\`, "good", fs.ModeDir},
	{`D:\x`, ``, "..", 0},
	{`D:\x`, ``, "..", fs.ModeDir},
	{`D:\x`, ``, ".", fs.ModeDir},
	{`D:\x`, ``, `..\..\..\evil`, 0},
	{`D:\x`, ``, `../../../evil`, 0},
	{`D:\x`, ``, `/etc/evil`, fs.ModeSymlink},
	{`D:\x`, ``, `..`, fs.ModeSymlink},
	{`D:\x`, ``, `C:\evil`, 0},
	{`D:\x`, ``, ``, 0},
	{`D:\..\..\evil`, ``, "good", 0},
	{`..\..`, ``, "good", 0},
	{`\\server\share`, ``, "good", 0},
	{`\\?\Volume{..}\x`, ``, "good", 0},
	{`\\?\`, ``, "good", 0},
	{``, ``, "good", 0},
	{`\`, ``, "good", 0},
	{`D:`, ``, "good", fs.ModeDir},
	{`/etc`, ``, "good", 0},
	{`D:\x`, `..\..\evil`, "good", 0},
	{`D:\x`, `\\?\`, "good", 0},
	{`D:\x`, "\xb5:\\x", "good", 0}, // half of a letter is none
	{`D:\x`, `µ:\x`, "good", 0},
	{`%PATH%\x`, `%`, "%", 0},
}

// FuzzHostileSource: whatever the documents and names of a source are, a restore
// ends, without a panic, and writes to names below volumes alone.
func FuzzHostileSource(f *testing.F) {
	for _, s := range hostileSeeds {
		f.Add(s.path, s.target, s.entry, uint8(s.mode>>24), []byte(nil))
	}
	f.Add(`D:\x`, ``, "good", uint8(0), []byte("<BACKUP_COMPONENTS/>"))
	modes := []fs.FileMode{0, fs.ModeDir, fs.ModeSymlink, fs.ModeDevice}
	f.Fuzz(func(t *testing.T, path, target, entry string, mode uint8, raw []byte) {
		memory := &requester.Memory{}
		report, err := hostileRestore(t, guarded{memory, t}, path, target, entry, modes[mode%4], raw)
		if err == nil && report != nil {
			for _, c := range report.Components {
				if c.Status != vss.FilesAll {
					t.Errorf("%s is %v without an error", c.FullPath(), c.Status)
				}
			}
		}
	})
}

// TestHostileSource does the same with a directory of this computer.
func TestHostileSource(t *testing.T) {
	for _, s := range hostileSeeds {
		outside := t.TempDir()
		d, err := requester.OpenDirectory(filepath.Join(outside, "a", "b"))
		if err != nil {
			t.Fatal(err)
		}
		report, err := hostileRestore(t, d, s.path, s.target, s.entry, s.mode, nil)
		if good := s.entry == "good" && strings.HasPrefix(s.path, "D:") && !strings.Contains(s.path, ".."); good && s.target == "" && err != nil {
			t.Errorf("%+v: %v, %v", s, report, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for dir, only := range map[string]string{outside: "a", filepath.Join(outside, "a"): "b"} {
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 || entries[0].Name() != only {
				t.Errorf("%+v wrote outside: %v, %v", s, entries, err)
			}
		}
	}
}

func (e hostileEntry) Name() string       { return e.name }
func (e hostileEntry) Size() int64        { return 1 }
func (e hostileEntry) Mode() fs.FileMode  { return e.mode }
func (e hostileEntry) ModTime() time.Time { return time.Time{} }
func (e hostileEntry) IsDir() bool        { return e.mode.IsDir() }
func (e hostileEntry) Sys() any           { return nil }
