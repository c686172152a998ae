package requester_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A twin is the reference requester with one realistic mistake.
type twin struct {
	name    string
	in      string                                                             // the configuration with which it is found
	says    string                                                             // what is found
	client  func(m *vsstest.JudgeMachine, c requester.Client) requester.Client // stands in between
	backup  func(m *vsstest.JudgeMachine, b *requester.Backup)
	restore func(m *vsstest.JudgeMachine, r *requester.Restore)
	chain   func(chain []fs.FS) []fs.FS
	then    func(err error) error
}

func (w *twin) runBackup(ctx context.Context, m *vsstest.JudgeMachine, b *requester.Backup) error {
	if w != nil && w.client != nil {
		b.Through(func(c requester.Client) requester.Client { return w.client(m, c) })
	}
	if w != nil && w.backup != nil {
		w.backup(m, b)
	}
	_, err := b.Run(ctx)
	if w != nil && w.then != nil {
		err = w.then(err)
	}
	return err
}

func (w *twin) runRestore(ctx context.Context, m *vsstest.JudgeMachine, r *requester.Restore, chain []fs.FS) error {
	if w != nil && w.client != nil {
		r.Through(func(c requester.Client) requester.Client { return w.client(m, c) })
	}
	if w != nil && w.restore != nil {
		w.restore(m, r)
	}
	var err error
	if w != nil && w.chain != nil {
		for i, source := range w.chain(chain) {
			r.Source, r.AdditionalRestores = source, i < len(chain)-1
			if _, err = r.Run(ctx); err != nil {
				break
			}
		}
	} else {
		_, err = r.RunChain(ctx, chain...)
	}
	if w != nil && w.then != nil {
		err = w.then(err)
	}
	return err
}

// A misled client is one whose calls are partly left out or changed. What is not
// set is handed on.
type misled struct {
	requester.Client
	succeeded func(c vss.ComponentChoice) (yes, call bool)
	metadata  func(m *vss.WriterMetadata) *vss.WriterMetadata
	record    func(w *vss.WriterRecord) *vss.WriterRecord
	status    func(st vss.WriterStatus) vss.WriterStatus
	state     func(st vss.BackupState) vss.BackupState
	restored  func(st vss.FileRestoreStatus) (vss.FileRestoreStatus, bool)
	skips     []string // methods that are not called, and succeed
	skipsAdd  func(c vss.ComponentChoice) bool
	stamp     string
}

func (c *misled) leaves(method string) bool { return slices.Contains(c.skips, method) }

func (c *misled) SetBackupState(ctx context.Context, st vss.BackupState) error {
	if c.state != nil {
		st = c.state(st)
	}
	return c.Client.SetBackupState(ctx, st)
}

func (c *misled) SetBackupSucceeded(ctx context.Context, comp vss.ComponentChoice, succeeded bool) error {
	if c.succeeded != nil {
		call := false
		if succeeded, call = c.succeeded(comp); !call {
			return nil
		}
	}
	return c.Client.SetBackupSucceeded(ctx, comp, succeeded)
}

func (c *misled) AddComponent(ctx context.Context, comp vss.ComponentChoice) error {
	if c.skipsAdd != nil && c.skipsAdd(comp) {
		return nil
	}
	return c.Client.AddComponent(ctx, comp)
}

func (c *misled) SetPreviousBackupStamp(ctx context.Context, comp vss.ComponentChoice, stamp string) error {
	if c.leaves("SetPreviousBackupStamp") {
		return nil
	}
	if c.stamp != "" {
		stamp = c.stamp
	}
	return c.Client.SetPreviousBackupStamp(ctx, comp, stamp)
}

func (c *misled) GetWriterMetadata(i int) (*vss.WriterMetadata, error) {
	m, err := c.Client.GetWriterMetadata(i)
	if err == nil && c.metadata != nil {
		copied := *m
		m = c.metadata(&copied)
	}
	return m, err
}

func (c *misled) GetWriterComponents(i int) (*vss.WriterRecord, error) {
	w, err := c.Client.GetWriterComponents(i)
	if err == nil && c.record != nil {
		w = c.record(w)
	}
	return w, err
}

func (c *misled) GatherWriterStatus(ctx context.Context) error {
	if c.leaves("GatherWriterStatus") {
		return nil
	}
	return c.Client.GatherWriterStatus(ctx)
}

func (c *misled) GetWriterStatusCount() (int, error) {
	if c.leaves("GatherWriterStatus") {
		return 0, nil
	}
	return c.Client.GetWriterStatusCount()
}

func (c *misled) GetWriterStatus(i int) (vss.WriterStatus, error) {
	st, err := c.Client.GetWriterStatus(i)
	if c.status != nil {
		st = c.status(st)
	}
	return st, err
}

func (c *misled) BackupComplete(ctx context.Context) error {
	if c.leaves("BackupComplete") {
		return nil
	}
	return c.Client.BackupComplete(ctx)
}

func (c *misled) AbortBackup(ctx context.Context) error {
	if c.leaves("AbortBackup") {
		return nil
	}
	return c.Client.AbortBackup(ctx)
}

func (c *misled) Release(ctx context.Context) error {
	if c.leaves("Release") {
		return nil
	}
	return c.Client.Release(ctx)
}

func (c *misled) SetSelectedForRestore(ctx context.Context, comp vss.ComponentChoice, selected bool) error {
	if c.leaves("SetSelectedForRestore") {
		return vss.ErrObjectNotFound // and is restored without the writer
	}
	return c.Client.SetSelectedForRestore(ctx, comp, selected)
}

func (c *misled) AddRestoreSubcomponent(ctx context.Context, comp vss.ComponentChoice, sub vss.ComponentKey) error {
	if c.leaves("AddRestoreSubcomponent") {
		return nil
	}
	return c.Client.AddRestoreSubcomponent(ctx, comp, sub)
}

func (c *misled) SetAdditionalRestores(ctx context.Context, comp vss.ComponentChoice, more bool) error {
	if c.leaves("SetAdditionalRestores") {
		return nil
	}
	return c.Client.SetAdditionalRestores(ctx, comp, more)
}

func (c *misled) AddNewTarget(ctx context.Context, comp vss.ComponentChoice, m vss.FileMapping) error {
	if c.leaves("AddNewTarget") {
		return nil
	}
	return c.Client.AddNewTarget(ctx, comp, m)
}

func (c *misled) AddAlternativeLocationMapping(ctx context.Context, comp vss.ComponentChoice, m vss.FileMapping) error {
	if c.leaves("AddAlternativeLocationMapping") {
		return nil
	}
	return c.Client.AddAlternativeLocationMapping(ctx, comp, m)
}

func (c *misled) SetFileRestoreStatus(ctx context.Context, comp vss.ComponentChoice, st vss.FileRestoreStatus) error {
	if c.restored != nil {
		call := false
		if st, call = c.restored(st); !call {
			return nil
		}
	}
	return c.Client.SetFileRestoreStatus(ctx, comp, st)
}

func (c *misled) PostRestore(ctx context.Context) error {
	if c.leaves("PostRestore") {
		return nil
	}
	return c.Client.PostRestore(ctx)
}

// misleads makes a twin by what a misled client does.
func misleads(change func(m *vsstest.JudgeMachine, c *misled)) func(*vsstest.JudgeMachine, requester.Client) requester.Client {
	return func(m *vsstest.JudgeMachine, c requester.Client) requester.Client {
		x := &misled{Client: c}
		change(m, x)
		return x
	}
}

// skips makes a twin that leaves calls out.
func skips(methods ...string) func(*vsstest.JudgeMachine, requester.Client) requester.Client {
	return misleads(func(_ *vsstest.JudgeMachine, c *misled) { c.skips = methods })
}

// reads makes a twin that misreads the writers' metadata.
func reads(change func(m *vss.WriterMetadata)) func(*vsstest.JudgeMachine, requester.Client) requester.Client {
	return misleads(func(_ *vsstest.JudgeMachine, c *misled) {
		c.metadata = func(m *vss.WriterMetadata) *vss.WriterMetadata {
			m.Components = slices.Clone(m.Components)
			for i := range m.Components {
				m.Components[i].Files = slices.Clone(m.Components[i].Files)
			}
			change(m)
			return m
		}
	})
}

// A forgetful destination or target changes how files are written.
type forgetful struct {
	requester.Files
	plain bool // has no times and attributes
	force bool // writes over a file in use: the bytes go nowhere
	short bool // loses the end of each file
}

// A plainTree hides that its files have times and attributes.
type plainTree struct{ requester.Files }

func (f forgetful) SetMetadata(name string, created, modified time.Time, attributes uint32) error {
	s, ok := f.Files.(interface {
		SetMetadata(string, time.Time, time.Time, uint32) error
	})
	if f.plain || !ok {
		return nil
	}
	return s.SetMetadata(name, created, modified, attributes)
}

func (f forgetful) Create(name string) (io.WriteCloser, error) {
	w, err := f.Files.Create(name)
	if err != nil && f.force {
		return nowhere{io.Discard}, nil
	}
	if err == nil && f.short {
		return &shortWriter{w}, nil
	}
	return w, err
}

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// A shortWriter loses the last byte of what is written.
type shortWriter struct{ io.WriteCloser }

func (w *shortWriter) Write(p []byte) (int, error) {
	if len(p) > 0 {
		if _, err := w.WriteCloser.Write(p[:len(p)-1]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// An edited source gives other documents of a backup.
type edited struct {
	fs.FS
	file func(name string, data []byte) []byte
}

func (e edited) Open(name string) (fs.File, error) {
	if !strings.HasSuffix(name, ".xml") {
		return e.FS.Open(name)
	}
	data, err := fs.ReadFile(e.FS, name)
	if err != nil {
		return nil, err
	}
	return fstest.MapFS{path.Base(name): &fstest.MapFile{Data: e.file(name, data)}}.Open(path.Base(name))
}

func (e edited) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(e.FS, name) }
func (e edited) ReadLink(name string) (string, error)   { return fs.ReadLink(e.FS, name) }

// documents makes a twin that misreads the Backup Components Document in a
// restore.
func documents(change func(d *vss.BackupComponentsDocument)) func([]fs.FS) []fs.FS {
	return rewrites(requester.DocumentName, func(data []byte) []byte {
		d, err := vss.ReadBackupComponents(bytes.NewReader(data))
		if err != nil {
			panic(err)
		}
		change(d)
		var b bytes.Buffer
		if err := d.WriteXML(&b); err != nil {
			panic(err)
		}
		return b.Bytes()
	})
}

// storedMetadata makes a twin that misreads the stored metadata in a restore.
func storedMetadata(change func(m *vss.WriterMetadata)) func([]fs.FS) []fs.FS {
	return rewrites(requester.WritersName+"/", func(data []byte) []byte {
		m, err := vss.ReadWriterMetadata(bytes.NewReader(data))
		if err != nil {
			panic(err)
		}
		change(m)
		var b bytes.Buffer
		if err := m.WriteXML(&b); err != nil {
			panic(err)
		}
		return b.Bytes()
	})
}

func rewrites(prefix string, change func(data []byte) []byte) func([]fs.FS) []fs.FS {
	return func(chain []fs.FS) []fs.FS {
		out := slices.Clone(chain)
		for i, source := range chain {
			out[i] = edited{source, func(name string, data []byte) []byte {
				if !strings.HasPrefix(name, prefix) {
					return data
				}
				return change(data)
			}}
		}
		return out
	}
}

// live is the live files of a volume.
func live(m *vsstest.JudgeMachine, letter string) (fs.FS, error) { return fs.Sub(m.Files, letter) }
