package vss_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A ledger is the least a writer can be.
type ledger struct{ disk *disk }

func (l *ledger) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	return ev.Metadata.AddComponent(vss.ComponentInfo{
		ComponentKey: vss.ComponentKey{Name: "accounts"}, Type: vss.ComponentFileGroup, Selectable: true,
		Files: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\`, Spec: "data"}}},
	})
}

func (l *ledger) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }

func (l *ledger) Freeze(ctx context.Context, _ *vss.FreezeEvent) error {
	fmt.Println("freeze")
	return l.disk.write(ctx, "all accounts balanced")
}

func (l *ledger) Thaw(context.Context, *vss.ThawEvent) error {
	fmt.Println("thaw")
	return nil
}

func (l *ledger) Abort(context.Context, *vss.AbortEvent) error {
	fmt.Println("abort")
	return nil
}

var ledgerClass = guid.MustParse("2f5a1c1e-6b57-4c2e-9d0a-5a1f6d2b7c10")

// ledgerService is a machine with a volume and the ledger.
func ledgerService(w *sim.World) *vss.Service {
	host := w.Actor("h1")
	s := vss.NewService(host.Child("vss"), vss.ServiceConfig{Machine: "H1"})
	d := newDisk("D:")
	if err := s.AddVolume(d); err != nil {
		panic(err)
	}
	_, err := s.Subscribe(&ledger{d}, vss.WriterConfig{Actor: host.Child("ledger"), ClassID: ledgerClass, Name: "Ledger"})
	if err != nil {
		panic(err)
	}
	return s
}

// backUp is a requester's loop. It returns what the copy holds.
func backUp(ctx context.Context, s *vss.Service, provider guid.GUID) (data string, err error) {
	b, err := s.CreateBackupComponents(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.Release(ctx)) }()
	if err := b.InitializeForBackup(ctx, nil); err != nil {
		return "", err
	}
	if err := b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}); err != nil {
		return "", err
	}
	if err := b.GatherWriterMetadata(ctx); err != nil {
		return "", err
	}
	accounts := vss.ComponentChoice{WriterID: ledgerClass, ComponentKey: vss.ComponentKey{Name: "accounts"}}
	if err := b.AddComponent(ctx, accounts); err != nil {
		return "", err
	}
	if _, err := b.StartSnapshotSet(ctx); err != nil {
		return "", err
	}
	id, err := b.AddToSnapshotSet(ctx, `D:\`, provider)
	if err != nil {
		return "", err
	}
	if err := b.PrepareForBackup(ctx); err != nil {
		return "", err
	}
	if err := b.DoSnapshotSet(ctx); err != nil {
		return "", err
	}
	if err := checkStatus(ctx, b); err != nil { // a veto shows here alone
		return "", errors.Join(err, b.AbortBackup(ctx))
	}
	properties, err := b.GetSnapshotProperties(id)
	if err != nil {
		return "", err
	}
	files, err := s.Open(properties.DeviceObject)
	if err != nil {
		return "", err
	}
	copied, err := fs.ReadFile(files, "data")
	if err != nil {
		return "", err
	}
	if err := b.SetBackupSucceeded(ctx, accounts, true); err != nil {
		return "", err
	}
	return string(copied), b.BackupComplete(ctx)
}

// A writer that brings its file to rest when it is frozen, and a requester that
// copies the file from the shadow copy.
func ExampleBackupComponents() {
	w := sim.New()
	defer w.Close()
	s := ledgerService(w)

	data, err := backUp(context.Background(), s, guid.GUID{})
	fmt.Println(data, err)
	fmt.Println(len(s.Snapshots()), "copies left")
	// Output:
	// freeze
	// thaw
	// all accounts balanced <nil>
	// 0 copies left
}

// A writer's veto: the copy is made all the same, and the status says why it is
// of no use.
func ExampleBackupComponents_veto() {
	w := sim.New(sim.Plan("vss/freeze on=h1/ledger err=0x800423F3"))
	defer w.Close()
	s := ledgerService(w)

	_, err := backUp(context.Background(), s, guid.GUID{})
	fmt.Println(err)
	fmt.Println("try again:", errors.Is(err, vss.ErrWriterErrorRetryable))
	// Output:
	// abort
	// GetWriterStatus: Ledger: VSS_WS_FAILED_AT_FREEZE: VSS_E_WRITERERROR_RETRYABLE (0x800423F3)
	// try again: true
}

// A mirror is a provider that keeps copies beside the volumes.
type mirror struct {
	pending map[guid.GUID]*disk
	copies  map[guid.GUID]string
	step    []string
}

func (p *mirror) IsVolumeSupported(_ context.Context, v vss.Volume, _ vss.SnapshotContext) (bool, error) {
	_, ok := v.(*disk)
	return ok, nil
}

func (p *mirror) BeginPrepareSnapshot(_ context.Context, r vss.PrepareRequest) error {
	p.pending[r.Snapshot] = r.Volume.(*disk)
	return nil
}

func (p *mirror) did(step string) error { p.step = append(p.step, step); return nil }

func (p *mirror) EndPrepareSnapshots(context.Context, guid.GUID) error { return p.did("EndPrepare") }
func (p *mirror) PreCommitSnapshots(context.Context, guid.GUID) error  { return p.did("PreCommit") }

func (p *mirror) CommitSnapshots(context.Context, guid.GUID) error {
	for id, d := range p.pending {
		p.copies[id] = d.data
	}
	clear(p.pending)
	return p.did("Commit")
}

func (p *mirror) PostCommitSnapshots(context.Context, guid.GUID) error { return p.did("PostCommit") }

func (p *mirror) PreFinalCommitSnapshots(context.Context, guid.GUID) error {
	return p.did("PreFinalCommit")
}

func (p *mirror) PostFinalCommitSnapshots(context.Context, guid.GUID) error {
	return p.did("PostFinalCommit")
}

func (p *mirror) AbortSnapshots(context.Context, guid.GUID) error {
	clear(p.pending)
	return p.did("Abort")
}

func (p *mirror) DeleteSnapshot(_ context.Context, id guid.GUID) error {
	delete(p.copies, id)
	return p.did("Delete")
}

func (p *mirror) OpenSnapshot(id guid.GUID) (fs.FS, error) {
	data, ok := p.copies[id]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return oneFile(data), nil
}

// A provider of one's own, which the requester names.
func ExampleService_RegisterProvider() {
	w := sim.New()
	defer w.Close()
	s := ledgerService(w)
	p := &mirror{pending: map[guid.GUID]*disk{}, copies: map[guid.GUID]string{}}
	id := guid.MustParse("9a0f6f1e-31d4-4c28-8b3e-0c2f9b1d4e55")
	if err := s.RegisterProvider(p, vss.ProviderConfig{ID: id, Name: "Mirror"}); err != nil {
		panic(err)
	}

	data, err := backUp(context.Background(), s, id)
	fmt.Println(data, err)
	fmt.Println(p.step)
	// Output:
	// freeze
	// thaw
	// all accounts balanced <nil>
	// [EndPrepare PreCommit Commit PostCommit PreFinalCommit PostFinalCommit Delete]
}
