package vsstest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A JudgeMachine is a machine with volumes C:, D: and E: and with judges as its
// writers, made for one case of [TestRequester].
type JudgeMachine struct {
	World   *sim.World
	Host    *sim.Actor
	Service *vss.Service

	// Files are the live files, by names as D/dir/file. They keep times and
	// attributes by a method SetMetadata, and a method Writable tells of a file
	// that is in use; [requester.Restore] knows both.
	Files requester.Files

	// Environment holds variables that paths of writers name.
	Environment map[string]string

	Judges []*Judge

	live *judgeHost
}

// judgeEnvironment are the variables of a JudgeMachine.
var judgeEnvironment = map[string]string{"SystemRoot": `C:\Windows`, "SystemDrive": `C:`, "ProgramFiles": `C:\Program Files`, "TestData": `D:\TestData`}

// newJudgeMachine makes a machine with a writer for each configuration.
func newJudgeMachine(w *sim.World, configs []JudgeConfig) (*JudgeMachine, error) {
	m := &JudgeMachine{World: w, Host: w.Actor("machine"), Environment: judgeEnvironment, live: &judgeHost{Memory: &requester.Memory{}, locked: make(map[string]bool)}}
	m.Files = m.live
	m.Service = vss.NewService(m.Host.Child("vss"), vss.ServiceConfig{Environment: m.Environment, CheckSelectability: true})
	for i, letter := range []string{"C", "D", "E"} {
		if err := m.live.Mkdir(letter); err != nil {
			return nil, err
		}
		v := &judgeVolume{host: m.live, letter: letter, id: [16]byte{15: byte(i + 1)}, shadows: make(map[[16]byte]fs.FS)}
		if err := m.Service.AddVolume(v); err != nil {
			return nil, err
		}
	}
	for i, c := range configs {
		o := JudgeOptions{Files: m.live, Environment: m.Environment, Name: fmt.Sprintf("TestWriter%d", i+1), ClassID: JudgeClassID}
		o.ClassID[15] += byte(i)
		j := NewJudge(c, o)
		if err := j.Subscribe(m.Service, m.Host.Child(o.Name)); err != nil {
			return nil, err
		}
		m.Judges = append(m.Judges, j)
	}
	return m, nil
}

// A judgeHost is the live files of a machine; files that are in use cannot be
// written, removed or renamed.
type judgeHost struct {
	*requester.Memory
	locked map[string]bool
}

// errInUse is what Windows says of a file that is in use.
const errInUse = vss.HRESULT(0x80070020)

func (h *judgeHost) free(op, name string) error {
	if h.locked[judgeKey(name)] {
		return &fs.PathError{Op: op, Path: name, Err: errInUse}
	}
	return nil
}

// Create makes an empty file or empties the one that is there.
func (h *judgeHost) Create(name string) (io.WriteCloser, error) {
	if err := h.free("create", name); err != nil {
		return nil, err
	}
	return h.Memory.Create(name)
}

// Remove removes a file, a link or an empty directory.
func (h *judgeHost) Remove(name string) error {
	if err := h.free("remove", name); err != nil {
		return err
	}
	return h.Memory.Remove(name)
}

// Rename gives a file another name.
func (h *judgeHost) Rename(old, new string) error {
	if err := h.free("rename", old); err != nil {
		return err
	}
	return h.Memory.Rename(old, new)
}

// Writable tells whether a file is in use.
func (h *judgeHost) Writable(name string) error { return h.free("open", name) }

// A judgeVolume is a volume of a judgeHost; a shadow copy is a copy of its files.
type judgeVolume struct {
	host    *judgeHost
	letter  string
	id      [16]byte
	order   [][16]byte
	shadows map[[16]byte]fs.FS
}

func (v *judgeVolume) ID() [16]byte                       { return v.id }
func (v *judgeVolume) Name() string                       { return v.letter + `:\` }
func (v *judgeVolume) FileSystem() string                 { return "NTFS" }
func (v *judgeVolume) FlushAndHold(context.Context) error { return nil }
func (v *judgeVolume) Release()                           {}
func (v *judgeVolume) Shadows() [][16]byte                { return v.order }

func (v *judgeVolume) CreateShadow(_ context.Context, id [16]byte) error {
	to := &requester.Memory{}
	err := fs.WalkDir(v.host, v.letter, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == v.letter {
			return err
		}
		return copyForShadow(to, name[len(v.letter)+1:], v.host, name, d)
	})
	v.shadows[id] = to
	v.order = append(v.order, id)
	return err
}

func copyForShadow(to *requester.Memory, as string, from *judgeHost, name string, d fs.DirEntry) error {
	if d.IsDir() {
		return to.Mkdir(as)
	}
	f, err := judgeTree{Files: from}.read(name)
	if err == nil && f.mode&fs.ModeSymlink != 0 {
		return to.Symlink(f.data, as)
	}
	if err == nil {
		err = judgeTree{Files: to}.write(as, f)
	}
	return err
}

func (v *judgeVolume) SealShadow(_ context.Context, id [16]byte) error {
	_, err := v.OpenShadow(id)
	return err
}

func (v *judgeVolume) OpenShadow(id [16]byte) (fs.FS, error) {
	if s := v.shadows[id]; s != nil {
		return s, nil
	}
	return nil, &fs.PathError{Op: "open", Path: v.Name(), Err: fs.ErrNotExist}
}

func (v *judgeVolume) DeleteShadow(_ context.Context, id [16]byte) error {
	if _, err := v.OpenShadow(id); err != nil {
		return err
	}
	delete(v.shadows, id)
	for i, o := range v.order {
		if o == id {
			v.order = append(v.order[:i:i], v.order[i+1:]...)
			break
		}
	}
	return nil
}

// tree is the live files as the trial writes them.
func (m *JudgeMachine) tree() judgeTree { return judgeTree{m.live, m.Environment} }

// pass lets time go by.
func (m *JudgeMachine) pass(d time.Duration) error { return m.World.Advance(d) }
