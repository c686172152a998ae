package volume_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/volume"
)

// A side is a volume, or a shadow copy, beside its model.
type side struct {
	v     *volume.Volume
	m     *model
	id    [16]byte
	files []*handle // open for writing
}

// A handle is a file that stays open for writing.
type handle struct {
	f *volume.File
	n *node
}

// A frozen is a file that was opened for reading, and what it has to read.
type frozen struct {
	f    *volume.File
	data []byte
}

// A machine drives a volume and its shadow copies beside their models.
type machine struct {
	live    *side
	shadows []*side
	frozen  []frozen
	fill    byte
	count   byte
	seen    map[string]int // rare states that a run must have had
}

var drawPath = rapid.Custom(func(t *rapid.T) string {
	elem := rapid.SampledFrom([]string{"a", "A", "b", "Dir", "dIR", "link", "Open", ".."})
	root := rapid.SampledFrom([]string{`\`, ``, `\`, `\dir\`, `Dir/`, `\link\`, `\dir\a/`, `link\DIR\`}).Draw(t, "root")
	return root + strings.Join(rapid.SliceOfN(elem, 1, 2).Draw(t, "elems"), `\`)
})

func (m *machine) pick(t *rapid.T) *side {
	if i := rapid.IntRange(-1, len(m.shadows)-1).Draw(t, "volume"); i >= 0 {
		return m.shadows[i]
	}
	return m.live
}

// pickHandle picks a file that is open for writing on any volume.
func (m *machine) pickHandle(t *rapid.T) (*side, *handle) {
	sides := slices.DeleteFunc(append([]*side{m.live}, m.shadows...), func(s *side) bool { return len(s.files) == 0 })
	if len(sides) == 0 {
		t.Skip("no file is open")
	}
	s := rapid.SampledFrom(sides).Draw(t, "volume")
	return s, s.files[rapid.IntRange(0, len(s.files)-1).Draw(t, "handle")]
}

func (m *machine) data(t *rapid.T) []byte {
	m.fill = m.fill%255 + 1
	return bytes.Repeat([]byte{m.fill}, rapid.SampledFrom([]int{0, 1, 100, 4095, 4096, 4097, 9000}).Draw(t, "bytes"))
}

// same checks a result against the codes that the model allows; none is success.
func (m *machine) same(t *rapid.T, what string, err error, want ...volume.Code) {
	t.Helper()
	want = slices.DeleteFunc(want, func(c volume.Code) bool { return c == 0 })
	got, is := errors.AsType[volume.Code](err)
	if err != nil && (!is || !slices.Contains(want, got)) || err == nil && len(want) > 0 {
		t.Fatalf("%s: %v, want one of %v", what, err, want)
	}
	m.seen[strings.SplitN(what, " ", 2)[0]+" "+got.Error()]++
}

// change runs a call on a side, unless it is sealed.
func (m *machine) change(t *rapid.T, s *side, what string, err error, model func() []volume.Code) {
	t.Helper()
	if s.m.sealed {
		m.same(t, what, err, volume.ErrWriteProtect)
		return
	}
	m.same(t, what, err, model()...)
}

func (m *machine) Mkdir(t *rapid.T) {
	s, p := m.pick(t), drawPath.Draw(t, "path")
	m.change(t, s, "Mkdir "+p, s.v.Mkdir(p), func() []volume.Code { return []volume.Code{s.m.mkdir(p)} })
}

func (m *machine) Symlink(t *rapid.T) {
	s, p, target := m.pick(t), drawPath.Draw(t, "path"), drawPath.Draw(t, "target")
	m.change(t, s, "Symlink "+p, s.v.Symlink(target, p), func() []volume.Code { return []volume.Code{s.m.symlink(target, p)} })
}

func (m *machine) WriteFile(t *rapid.T) {
	s, p, data := m.pick(t), drawPath.Draw(t, "path"), m.data(t)
	m.change(t, s, "WriteFile "+p, s.v.WriteFile(p, data), func() []volume.Code {
		return []volume.Code{s.m.set(p, data, clustersOf(0, len(data)))}
	})
}

func (m *machine) Adopt(t *rapid.T) {
	_, h := m.pickHandle(t)
	s, p := m.pick(t), drawPath.Draw(t, "path")
	m.change(t, s, "Adopt "+p, s.v.Adopt(p, h.f.Bytes()), func() []volume.Code {
		return []volume.Code{s.m.set(p, h.n.data, maps.Clone(h.n.clusters))}
	})
}

func (m *machine) Remove(t *rapid.T) {
	s, p := m.pick(t), drawPath.Draw(t, "path")
	m.change(t, s, "Remove "+p, s.v.Remove(p), func() []volume.Code { return s.m.remove(p, false) })
}

func (m *machine) RemoveAll(t *rapid.T) {
	s, p := m.pick(t), drawPath.Draw(t, "path")
	m.change(t, s, "RemoveAll "+p, s.v.RemoveAll(p), func() []volume.Code { return s.m.remove(p, true) })
}

func (m *machine) Rename(t *rapid.T) {
	s, old, new := m.pick(t), drawPath.Draw(t, "old"), drawPath.Draw(t, "new")
	m.change(t, s, "Rename "+old+" "+new, s.v.Rename(old, new), func() []volume.Code { return s.m.rename(old, new) })
}

func (m *machine) SetReadOnly(t *rapid.T) {
	s, p := m.pick(t), drawPath.Draw(t, "path")
	attrs := rapid.SampledFrom([]volume.Attributes{0, 0, volume.ReadOnly}).Draw(t, "attributes")
	m.change(t, s, "SetAttributes "+p, s.v.SetAttributes(p, attrs), func() []volume.Code {
		_, _, n, code := s.m.at(p, true)
		if code == 0 && n == nil {
			code = volume.ErrFileNotFound
		}
		if code == 0 {
			n.readOnly = attrs != 0
		}
		return []volume.Code{code}
	})
}

func (m *machine) SetQuota(t *rapid.T) {
	s, p := m.pick(t), drawPath.Draw(t, "path")
	limit := rapid.SampledFrom([]int{0, 1, 2, 4, 6}).Draw(t, "clusters") * clusterSize
	m.change(t, s, "SetQuota "+p, s.v.SetQuota(p, int64(limit)), func() []volume.Code {
		_, _, n, code := s.m.at(p, true)
		switch {
		case code == 0 && n == nil:
			code = volume.ErrFileNotFound
		case code == 0 && n.kind != 'd':
			code = volume.ErrDirectory
		case code == 0:
			n.quota = limit
		}
		return []volume.Code{code}
	})
}

func (m *machine) OpenForWriting(t *rapid.T) {
	s, p := m.pick(t), drawPath.Draw(t, "path")
	mode := volume.ReadWrite | rapid.SampledFrom([]volume.Access{0, volume.OpenAlways, volume.CreateNew, volume.Truncate | volume.OpenAlways}).Draw(t, "mode")
	f, err := s.v.OpenFile(p, mode, volume.Exclusive)
	m.change(t, s, "OpenFile "+p, err, func() []volume.Code {
		n, code := s.m.open(p, mode)
		if code == 0 {
			n.writers++
			s.files = append(s.files, &handle{f, n})
		}
		return []volume.Code{code}
	})
}

func (m *machine) OpenForReading(t *rapid.T) {
	s, p := m.pick(t), drawPath.Draw(t, "path")
	f, err := s.v.Open(p)
	n, code := s.m.open(p, volume.Read)
	m.same(t, "Open "+p, err, code)
	if code == 0 {
		m.frozen = append(m.frozen, frozen{f, slices.Clone(n.data)})
	}
}

func (m *machine) Close(t *rapid.T) {
	s, h := m.pickHandle(t)
	if rapid.IntRange(0, 3).Draw(t, "stay") > 0 {
		t.Skip("most files stay open for long")
	}
	m.same(t, "Close", h.f.Close())
	h.n.writers--
	s.files = slices.DeleteFunc(s.files, func(x *handle) bool { return x == h })
}

func (m *machine) WriteAt(t *rapid.T) {
	s, h := m.pickHandle(t)
	off, data := rapid.IntRange(0, 12000).Draw(t, "off"), m.data(t)
	_, err := h.f.WriteAt(data, int64(off))
	m.change(t, s, "WriteAt", err, func() []volume.Code { return []volume.Code{s.m.write(h.n, off, data)} })
	if s == m.live && len(m.shadows) > 0 && err == nil {
		m.seen["written while open across a shadow copy"]++
	}
}

func (m *machine) Resize(t *rapid.T) {
	s, h := m.pickHandle(t)
	size := rapid.IntRange(0, 20000).Draw(t, "size")
	m.change(t, s, "Resize", h.f.Resize(int64(size)), func() []volume.Code {
		h.n.resize(size)
		h.settle()
		return nil
	})
}

// settle takes the clusters from the model that the file gave back because
// nothing but zeros was left in them, which it need not.
func (h *handle) settle() {
	for i := range h.n.clusters {
		from := i * clusterSize
		zero := len(bytes.Trim(h.n.data[from:min(from+clusterSize, len(h.n.data))], "\x00")) == 0
		kept := false
		for range h.f.Extents(int64(from), clusterSize) {
			kept = true
		}
		if zero && !kept {
			delete(h.n.clusters, i)
		}
	}
}

func (m *machine) Discard(t *rapid.T) {
	s, h := m.pickHandle(t)
	off := rapid.IntRange(0, len(h.n.data)).Draw(t, "off")
	size := rapid.IntRange(0, len(h.n.data)-off).Draw(t, "size")
	m.change(t, s, "Discard", h.f.Discard(int64(off), int64(size)), func() []volume.Code {
		h.n.discard(off, size)
		h.settle()
		return nil
	})
}

func (m *machine) SetCapacity(t *rapid.T) {
	clusters := rapid.IntRange(0, 12).Draw(t, "clusters")
	m.live.v.SetCapacity(int64(clusters) * clusterSize)
	m.live.m.capacity = clusters * clusterSize
}

func (m *machine) CreateShadow(t *rapid.T) {
	if len(m.shadows) == 3 {
		t.Skip("enough shadow copies")
	}
	m.count++
	s := &side{m: m.live.m.clone(), id: [16]byte{m.count}}
	m.same(t, "CreateShadow", m.live.v.CreateShadow(s.id))
	var err error
	s.v, err = m.live.v.ShadowVolume(s.id)
	m.same(t, "ShadowVolume", err)
	m.shadows = append(m.shadows, s)
}

func (m *machine) pickShadow(t *rapid.T) int {
	if len(m.shadows) == 0 {
		t.Skip("no shadow copy")
	}
	return rapid.IntRange(0, len(m.shadows)-1).Draw(t, "shadow")
}

func (m *machine) SealShadow(t *rapid.T) {
	s := m.shadows[m.pickShadow(t)]
	m.same(t, "SealShadow", m.live.v.SealShadow(s.id))
	s.m.sealed = true
}

func (m *machine) DeleteShadow(t *rapid.T) {
	i := m.pickShadow(t)
	m.same(t, "DeleteShadow", m.live.v.DeleteShadow(m.shadows[i].id))
	m.shadows = slices.Delete(m.shadows, i, i+1)
}

// start makes a volume with a directory, a file that is open and a link, and an
// unsealed shadow copy in which a file is open, too.
func (m *machine) start(t *rapid.T) {
	for _, s := range []*side{m.live, nil} {
		if s == nil {
			m.CreateShadow(t)
			s = m.shadows[0]
		} else {
			m.same(t, "Mkdir", s.v.Mkdir(`\Dir`), s.m.mkdir(`\Dir`))
			m.same(t, "Symlink", s.v.Symlink(`dir`, `\link`), s.m.symlink(`dir`, `\link`))
		}
		f, err := s.v.OpenFile(`\dir\open`, volume.ReadWrite|volume.OpenAlways, volume.Exclusive)
		n, code := s.m.open(`\dir\open`, volume.ReadWrite|volume.OpenAlways)
		m.same(t, "OpenFile", err, code)
		n.writers++
		s.files = append(s.files, &handle{f, n})
	}
}

// Check compares everything with the models.
func (m *machine) Check(t *rapid.T) {
	m.live.check(t)
	for i, s := range m.shadows {
		s.check(t)
		next := m.live.m
		if i+1 < len(m.shadows) {
			next = m.shadows[i+1].m
		}
		if got, least := m.live.v.ShadowUsage(s.id), s.m.differs(next)*clusterSize; got < int64(least) {
			t.Fatalf("the diff area of shadow copy %d holds %d bytes, at least %d are needed", i, got, least)
		}
	}
	for _, f := range m.frozen {
		if data := make([]byte, len(f.data)+1); true {
			n, err := f.f.ReadAt(data, 0)
			if err != io.EOF || !bytes.Equal(data[:n], f.data) {
				t.Fatalf("an open file changed: %d bytes, %v, want %d", n, err, len(f.data))
			}
		}
	}
}

func (s *side) check(t *rapid.T) {
	t.Helper()
	if got, want := s.v.Free(), s.m.free(); got != int64(want) {
		t.Fatalf("%d bytes free, want %d", got, want)
	}
	s.m.root.each(func(n *node) { s.checkNode(t, n) })
	for _, h := range s.files {
		if equal, err := disk.Equal(h.f, bytes.NewReader(h.n.data)); !equal || h.f.Size() != int64(len(h.n.data)) {
			t.Fatalf("an open file of %d bytes differs from the model's %d, %v", h.f.Size(), len(h.n.data), err)
		}
	}
}

func (s *side) checkNode(t *rapid.T, n *node) {
	name := strings.Join(n.path(), "/")
	if name == "" {
		name = "."
	}
	info, err := s.v.FS().Lstat(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	attrs := info.(*volume.Info).Attributes()
	if n != s.m.root && info.Name() != n.name || (attrs&volume.ReadOnly != 0) != n.readOnly {
		t.Fatalf("%s is %v, %v", name, info, attrs)
	}
	if path, err := s.v.Resolve(name); n.kind != 'l' && path != `\`+strings.Join(n.path(), `\`) {
		t.Fatalf("%s resolves to %s, %v", name, path, err)
	}
	switch n.kind {
	case 'd':
		quota := volume.Quota{Limit: int64(n.quota)}
		if n.quota > 0 {
			quota.Used = int64(n.used())
		}
		if got, err := s.v.QuotaOf(name); got != quota || err != nil {
			t.Fatalf("the quota of %s is %+v, want %+v, %v", name, got, quota, err)
		}
		left := max(0, min(s.m.free(), n.allowance()))
		if got, err := s.v.FreeBelow(name); got != int64(left) || err != nil {
			t.Fatalf("%d bytes are free below %s, want %d, %v", got, name, left, err)
		}
		list, err := s.v.FS().ReadDir(name)
		var got, want []string
		for _, d := range list {
			got = append(got, d.Name())
		}
		for _, kid := range n.kids {
			want = append(want, kid.name)
		}
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s has %q, want %q, %v", name, got, want, err)
		}
	case 'l':
		target, err := s.v.Readlink(name)
		if err != nil || target != strings.ReplaceAll(n.target, "/", `\`) || info.Mode().Type() != fs.ModeSymlink {
			t.Fatalf("%s leads to %s, want %s, %v", name, target, n.target, err)
		}
	case 'f':
		data, err := fs.ReadFile(s.v.FS(), name)
		if err != nil || !bytes.Equal(data, n.data) || info.(*volume.Info).Allocated() != int64(len(n.clusters)*clusterSize) {
			t.Fatalf("%s has %d bytes, %v, want %d in %d clusters, %v", name, len(data), info, len(n.data), len(n.clusters), err)
		}
	}
}

// TestAgainstModel runs random calls on a volume, its shadow copies and files
// that stay open over all of it, and compares every one with a plain model after
// each call.
func TestAgainstModel(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		const capacity = 30 * clusterSize
		m := &machine{
			live: &side{v: volume.New(volume.Config{Capacity: capacity}), m: newModel(capacity)},
			seen: seen,
		}
		m.start(t)
		actions := map[string]func(*rapid.T){
			"Mkdir": m.Mkdir, "Symlink": m.Symlink, "WriteFile": m.WriteFile, "Adopt": m.Adopt, "Remove": m.Remove,
			"RemoveAll": m.RemoveAll, "Rename": m.Rename, "SetReadOnly": m.SetReadOnly, "SetQuota": m.SetQuota, "OpenForWriting": m.OpenForWriting,
			"OpenForReading": m.OpenForReading, "Close": m.Close, "WriteAt": m.WriteAt, "WriteAt2": m.WriteAt,
			"Resize": m.Resize, "Discard": m.Discard, "SetCapacity": m.SetCapacity, "CreateShadow": m.CreateShadow,
			"SealShadow": m.SealShadow, "DeleteShadow": m.DeleteShadow, "": m.Check,
		}
		for range 4 { // longer runs than by default
			t.Repeat(actions)
		}
	})
	calls := 0
	for _, n := range seen {
		calls += n
	}
	for _, state := range []string{
		"written while open across a shadow copy", "WriteAt ERROR_WRITE_PROTECT (19)", "WriteAt ERROR_DISK_FULL (112)",
		"WriteFile ERROR_DISK_FULL (112)", "Rename ERROR_ACCESS_DENIED (5)",
	} {
		t.Logf("%s: %d", state, seen[state])
		if seen[state] == 0 && calls >= 5000 {
			t.Errorf("no run had %q", state)
		}
	}
}
