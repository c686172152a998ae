package vsstest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// The fault points of a [Volume], asked for its name without the backslash
// ("D:").
const (
	PointWrite      sim.Point = "volume/write"
	PointTakeShadow sim.Point = "volume/take-shadow"
)

// flushTime is how long a flush of a [Volume] takes: time enough for a program
// that has not stopped to write.
const flushTime = time.Second

// A Volume is a volume for tests: files in memory, by names with slashes
// ("ledger/log"), and shadow copies of them. Every write is an event in the
// trace, waits while writes are held, and happens at one instant.
type Volume struct {
	name, fileSystem string
	id               guid.GUID
	hold             sim.Gate
	files            contents
	shadows          []*shadow
	onForeign        func(what string, err error)
	atHold           contents // what it held when writes were held last
	written          contents // what the kit's application left there
}

// contents are files by name. The bytes of a file are never changed.
type contents map[string][]byte

type shadow struct {
	id     guid.GUID
	files  contents
	sealed bool
}

// NewVolume makes an empty NTFS volume with a letter: "D:".
func NewVolume(letter string) *Volume {
	v := &Volume{name: letter + `\`, fileSystem: "NTFS", files: contents{}}
	v.hold.Name = "writes to " + letter
	copy(v.id[:], letter)
	return v
}

// ID is the volume's GUID, made of its letter.
func (v *Volume) ID() [16]byte { return v.id }

// Name is the root path.
func (v *Volume) Name() string { return v.name }

// FileSystem is "NTFS" unless SetFileSystem said otherwise.
func (v *Volume) FileSystem() string { return v.fileSystem }

// SetFileSystem makes the volume one of another kind.
func (v *Volume) SetFileSystem(name string) { v.fileSystem = name }

func (v *Volume) letter() string { return strings.TrimSuffix(v.name, `\`) }

// FlushAndHold takes a second and then makes writes wait.
func (v *Volume) FlushAndHold(ctx context.Context) error {
	if err := sim.Sleep(ctx, flushTime); err != nil {
		return err
	}
	v.hold.Shut()
	v.atHold = maps.Clone(v.files)
	return nil
}

// Release lets writes go on.
func (v *Volume) Release() { v.hold.Open() }

// Held tells whether writes wait.
func (v *Volume) Held() bool { return v.hold.IsShut() }

// WriteFile replaces a file, or makes it.
func (v *Volume) WriteFile(ctx context.Context, name string, data []byte) error {
	return v.write(ctx, "write", name, func() error {
		v.files[name] = slices.Clone(data)
		return nil
	})
}

// Append adds to the end of a file, or makes it.
func (v *Volume) Append(ctx context.Context, name string, data []byte) error {
	return v.write(ctx, "append", name, func() error {
		v.files[name] = append(v.files[name], data...) // copies see no more than what they had
		return nil
	})
}

// Remove deletes a file.
func (v *Volume) Remove(ctx context.Context, name string) error {
	return v.write(ctx, "remove", name, func() error {
		if _, ok := v.files[name]; !ok {
			return fs.ErrNotExist
		}
		delete(v.files, name)
		return nil
	})
}

func (v *Volume) write(ctx context.Context, op, name string, do func() error) error {
	if !fs.ValidPath(name) || name == "." {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	err := sim.AtOn(ctx, PointWrite, v.letter())
	if err == nil {
		err = v.hold.Pass(ctx)
	}
	if errors.Is(err, sim.ErrContext) && v.onForeign != nil {
		v.onForeign(fmt.Sprintf("%s %s%s", op, v.name, name), err)
	}
	if err == nil {
		sim.Emit(ctx, "volume/write", "", sim.S("volume", v.letter()), sim.S("file", name))
		err = do()
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: v.name + name, Err: err}
	}
	return nil
}

// ReadFile returns a file, as it is now.
func (v *Volume) ReadFile(name string) ([]byte, error) { return v.files.read(name) }

// Files is the volume as it is now; what is written later does not show.
func (v *Volume) Files() fs.FS { return &image{files: maps.Clone(v.files), sealed: true} }

func (c contents) read(name string) ([]byte, error) {
	data, ok := c[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(data), nil
}

func (v *Volume) find(id guid.GUID) (*shadow, error) {
	for _, s := range v.shadows {
		if s.id == id {
			return s, nil
		}
	}
	return nil, fmt.Errorf("shadow copy %s of %s: %w", guid.String(id), v.name, fs.ErrNotExist)
}

// CreateShadow takes a shadow copy of the files as they are.
func (v *Volume) CreateShadow(ctx context.Context, id [16]byte) error {
	if err := sim.AtOn(ctx, PointTakeShadow, v.letter()); err != nil {
		return err
	}
	v.shadows = append(v.shadows, &shadow{id: id, files: maps.Clone(v.files)})
	return nil
}

// SealShadow makes a shadow copy read-only.
func (v *Volume) SealShadow(_ context.Context, id [16]byte) error {
	s, err := v.find(id)
	if err == nil {
		s.sealed = true
	}
	return err
}

// DeleteShadow removes a shadow copy.
func (v *Volume) DeleteShadow(_ context.Context, id [16]byte) error {
	s, err := v.find(id)
	v.shadows = slices.DeleteFunc(v.shadows, func(o *shadow) bool { return o == s })
	return err
}

// OpenShadow shows a shadow copy. It is a [WritableFS] until it is sealed.
func (v *Volume) OpenShadow(id [16]byte) (fs.FS, error) {
	s, err := v.find(id)
	if err != nil {
		return nil, err
	}
	return (*shadowFS)(s), nil
}

// Shadows lists the shadow copies, oldest first.
func (v *Volume) Shadows() [][16]byte {
	var out [][16]byte
	for _, s := range v.shadows {
		out = append(out, s.id)
	}
	return out
}

// A WritableFS is a file system that a writer may change: a shadow copy in
// PostSnapshot. Once the copy is sealed the methods fail with fs.ErrPermission.
type WritableFS interface {
	fs.ReadFileFS
	// WriteFile makes a file, or replaces what is in it.
	WriteFile(name string, data []byte) error
	// Remove removes a file.
	Remove(name string) error
}

// A shadowFS is a shadow copy as writers and requesters see it.
type shadowFS shadow

func (s *shadowFS) image() *image { return &image{files: s.files, sealed: s.sealed} }

func (s *shadowFS) Open(name string) (fs.File, error)    { return s.image().Open(name) }
func (s *shadowFS) ReadFile(name string) ([]byte, error) { return s.image().ReadFile(name) }
func (s *shadowFS) WriteFile(name string, data []byte) (err error) {
	return s.image().WriteFile(name, data)
}
func (s *shadowFS) Remove(name string) error { return s.image().Remove(name) }

// An image is files as a file system.
type image struct {
	files  contents
	sealed bool
}

// NewImage makes a file system of files by name, for providers that keep the
// bytes of their shadow copies themselves. The map is the image's own from here
// on. It is a [WritableFS] as long as writable, if it is not nil, says so.
func NewImage(files map[string][]byte, writable func() bool) WritableFS {
	return &guarded{image: image{files: files}, writable: writable}
}

type guarded struct {
	image
	writable func() bool
}

func (g *guarded) now() *image {
	return &image{files: g.files, sealed: g.writable == nil || !g.writable()}
}

func (g *guarded) WriteFile(name string, data []byte) error { return g.now().WriteFile(name, data) }
func (g *guarded) Remove(name string) error                 { return g.now().Remove(name) }

func (i *image) Open(name string) (fs.File, error) {
	m := make(fstest.MapFS, len(i.files))
	for name, data := range i.files {
		m[name] = &fstest.MapFile{Data: data}
	}
	return m.Open(name)
}

func (i *image) ReadFile(name string) ([]byte, error) { return i.files.read(name) }

func (i *image) WriteFile(name string, data []byte) error {
	switch {
	case !fs.ValidPath(name) || name == ".":
		return &fs.PathError{Op: "write", Path: name, Err: fs.ErrInvalid}
	case i.sealed:
		return &fs.PathError{Op: "write", Path: name, Err: fs.ErrPermission}
	}
	i.files[name] = slices.Clone(data)
	return nil
}

func (i *image) Remove(name string) error {
	switch _, ok := i.files[name]; {
	case i.sealed:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrPermission}
	case !ok:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(i.files, name)
	return nil
}
