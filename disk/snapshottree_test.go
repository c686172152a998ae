package disk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"pgregory.net/rapid"
)

// grown is a snapshot tree beside plain copies.
type grown struct {
	t      *disk.SnapshotTree
	bytes  []byte
	parent string
	names  []string
	saved  map[string][]byte
	below  map[string]string
	count  int
}

func (m *grown) pick(t *rapid.T) string {
	if len(m.names) == 0 {
		t.Skip("no snapshot")
	}
	return rapid.SampledFrom(m.names).Draw(t, "snapshot")
}

func (m *grown) Write(t *rapid.T) {
	off, n := place(t, int64(len(m.bytes)))
	p := slices.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, "fill"))}, int(n))
	if _, err := m.t.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
	copy(m.bytes[off:], p)
}

func (m *grown) Take(t *rapid.T) {
	m.count++
	name := fmt.Sprint("s", m.count)
	if err := m.t.Take(name); err != nil {
		t.Fatal(err)
	}
	m.names = append(m.names, name)
	m.saved[name], m.below[name], m.parent = slices.Clone(m.bytes), m.parent, name
}

func (m *grown) Revert(t *rapid.T) {
	name := m.pick(t)
	if err := m.t.Revert(name); err != nil {
		t.Fatal(err)
	}
	m.bytes, m.parent = slices.Clone(m.saved[name]), name
}

func (m *grown) Delete(t *rapid.T) {
	name := m.pick(t)
	if err := m.t.Delete(name); err != nil {
		t.Fatal(err)
	}
	m.names = slices.DeleteFunc(m.names, func(x string) bool { return x == name })
	for _, x := range m.names {
		if m.below[x] == name {
			m.below[x] = m.below[name]
		}
	}
	if m.parent == name {
		m.parent = m.below[name]
	}
	if err := m.t.Delete(name); !errors.Is(err, disk.ErrNoSnapshot) {
		t.Fatalf("deleted twice: %v", err)
	}
}

func (m *grown) Fork(t *rapid.T) {
	name := m.pick(t)
	s, err := m.t.Fork(name)
	if err != nil {
		t.Fatal(err)
	}
	checkBytes(t, &twin{store: s, bytes: m.saved[name]})
	if _, err := s.WriteAt([]byte("not part of the tree"), 0); err != nil {
		t.Fatal(err)
	}
}

func (m *grown) Check(t *rapid.T) {
	checkBytes(t, &twin{store: m.t, bytes: m.bytes})
	var names []string
	for name, parent := range m.t.All() {
		names = append(names, name)
		if parent != m.below[name] {
			t.Fatalf("%s stands on %q, want %q", name, parent, m.below[name])
		}
		s, err := m.t.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		checkBytes(t, &twin{store: s, bytes: m.saved[name]})
	}
	if !slices.Equal(names, m.names) || m.t.Parent() != m.parent {
		t.Fatalf("%q, the store on %q; want %q, on %q", names, m.t.Parent(), m.names, m.parent)
	}
	if len(names) > 0 {
		name := m.pick(t)
		if _, err := m.t.Changed(name); err != nil {
			t.Fatal(err)
		}
		s, err := m.t.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		checkDiff(t, &twin{store: m.t, bytes: m.bytes}, &twin{store: s, bytes: m.saved[name]})
	}
}

func TestSnapshotTreeEqualsPlainCopies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(100, 40000).Draw(t, "size")
		m := &grown{t: disk.NewSnapshotTree(disk.NewMemory(size)), bytes: make([]byte, size), saved: map[string][]byte{}, below: map[string]string{}}
		t.Repeat(rapid.StateMachineActions(m))
	})
}

func TestSnapshotTreeRefuses(t *testing.T) {
	tree := disk.NewSnapshotTree(disk.NewMemory(100))
	if err := tree.Take("a"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Take("a"); !errors.Is(err, disk.ErrExists) {
		t.Errorf("taken twice: %v", err)
	}
	_, open := tree.Open("b")
	_, fork := tree.Fork("b")
	_, changed := tree.Changed("b")
	for _, err := range []error{open, fork, changed, tree.Revert("b"), tree.Delete("b")} {
		if !errors.Is(err, disk.ErrNoSnapshot) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a snapshot that is not there: %v", err)
		}
	}
	if err := disk.NewSnapshotTree(plain{disk.NewMemory(100)}).Take("a"); !errors.Is(err, disk.ErrUnsupported) {
		t.Errorf("a store that takes no snapshots: %v", err)
	}
}

// TestDeletedSnapshotsLeaveNothing takes and deletes by the thousand.
func TestDeletedSnapshotsLeaveNothing(t *testing.T) {
	got := memoryUsed(3, func(int) any {
		tree := disk.NewSnapshotTree(disk.NewMemory(1 << 20))
		for i := range 3000 {
			mustWrite(t, tree, int64(i%200)*4096, "changed")
			if err := tree.Take(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
			if i >= 2 {
				if err := tree.Delete(fmt.Sprint(i - 2)); err != nil {
					t.Fatal(err)
				}
			}
		}
		return tree
	})
	if got > 60000 {
		t.Errorf("200 short pages and two snapshots take %.0f bytes", got)
	}
}
