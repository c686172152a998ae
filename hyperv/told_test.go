package hyperv_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
)

// gathered is a requester that has read the writer's metadata and chosen a machine.
func (l *lab) gathered(ctx context.Context, name string) (*vss.BackupComponents, error) {
	b, err := l.h.VSS().CreateBackupComponents(ctx)
	if err != nil {
		return nil, err
	}
	err = errors.Join(b.InitializeForBackup(ctx, nil), b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}), b.GatherWriterMetadata(ctx))
	if err != nil {
		return b, err
	}
	m, err := b.GetWriterMetadata(0)
	if err != nil {
		return b, err
	}
	for _, c := range m.Components {
		if strings.HasSuffix(c.Caption, `\`+name) {
			err = errors.Join(err, b.AddComponent(ctx, vss.ComponentChoice{WriterID: m.Identity.WriterID, InstanceID: m.Identity.InstanceID, Type: c.Type, ComponentKey: c.ComponentKey}))
		}
	}
	return b, err
}

// prepared tells the writer what was chosen.
func prepared(ctx context.Context, b *vss.BackupComponents) error {
	_, err := b.StartSnapshotSet(ctx)
	if err == nil {
		_, err = b.AddToSnapshotSet(ctx, `D:\`, [16]byte{})
	}
	if err == nil {
		err = b.PrepareForBackup(ctx)
	}
	return err
}

// snapshotted makes the shadow copies and returns how the writer stands.
func snapshotted(ctx context.Context, b *vss.BackupComponents) (vss.WriterStatus, error) {
	if err := errors.Join(b.DoSnapshotSet(ctx), b.GatherWriterStatus(ctx)); err != nil {
		return vss.WriterStatus{}, err
	}
	return b.GetWriterStatus(0)
}

// A machine that gets a checkpoint between the metadata and the backup has a disk that
// the requester does not know of: it is refused, and the next backup has the disk.
func TestDiskThatNobodyWasToldOf(t *testing.T) {
	l := newLab(t)
	l.running("web", stopped)
	vm := l.running("db")
	l.note()
	var st vss.WriterStatus
	l.must(l.as("backup", func(ctx context.Context) error {
		b, err := l.gathered(ctx, "db")
		l.must(err)
		_, err = vm.Checkpoint(ctx, "one")
		l.must(err)
		l.must(prepared(ctx, b))
		l.must(b.GatherWriterStatus(ctx))
		if st, err = b.GetWriterStatus(0); err != nil {
			return err
		}
		return b.Release(ctx)
	}))
	if st.State != vss.StateFailedAtPrepareBackup || st.Code != retryable || !strings.Contains(st.Message, "db: ") || !strings.Contains(st.Message, `.avhd is new`) {
		t.Errorf("%v, %v, %s", st.State, st.Code, st.Message)
	}
	l.note()
	l.settled()
	target := l.mustBackup()
	l.write(vm, "C:", 2*mib, 'x')
	l.remove(vm)
	l.mustRestore(target)
	if list, err := l.h.VM("db").Checkpoints(); err != nil || len(list) != 1 {
		t.Errorf("restored with %v, %v", list, err)
	}
	l.must(l.h.VM("db").Start(l.ctx()))
}

// Two requesters gather metadata before and after the method of their machines
// changed. The first is held to what captions said before its backup began, although
// the second has been told otherwise since; the second to what it was told. If the
// first begins its backup only then, it is held to what the second was told, for
// the writer cannot tell whom it described the machines to.
func TestTwoSessionsAreHeldToWhatTheyWereTold(t *testing.T) {
	for _, row := range []struct {
		name  string
		p     hyperv.Redecide
		early bool        // the first begins its backup before the second gathers
		code  vss.HRESULT // of the first
		says  string
	}{
		{"always", hyperv.RedecideAlways, true, vss.SOK, ""},
		{"refuse", hyperv.RedecideRefuse, true, retryable, "db: the method is now saved state, and the caption told child VM snapshot"},
		{"never", hyperv.RedecideNever, true, nonRetryable, "db: "},
		{"refuse, late", hyperv.RedecideRefuse, false, vss.SOK, ""},
		{"never, late", hyperv.RedecideNever, false, vss.SOK, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := with(t, hyperv.Policy{Redecide: row.p})
			l.running("db")
			l.running("web")
			l.note()
			var first, second vss.WriterStatus
			l.must(l.as("backup", func(ctx context.Context) error {
				one, err := l.gathered(ctx, "db")
				l.must(err)
				if row.early {
					l.must(prepared(ctx, one))
				}
				l.must(l.h.VM("db").Guest().StopService(ctx, "vmicvss"))
				l.must(l.h.VM("web").Guest().StopService(ctx, "vmicvss"))
				two, err := l.gathered(ctx, "web")
				l.must(err)
				if !row.early {
					l.must(prepared(ctx, one))
				}
				first, err = snapshotted(ctx, one)
				l.must(errors.Join(err, one.Release(ctx), prepared(ctx, two)))
				second, err = snapshotted(ctx, two)
				return errors.Join(err, two.Release(ctx))
			}))
			if first.Code != row.code || !strings.Contains(first.Message, row.says) {
				t.Errorf("the first: %v, %s", first.Code, first.Message)
			}
			if second.Code != vss.SOK {
				t.Errorf("the second: %v, %s", second.Code, second.Message)
			}
			changed := l.w.Trace().Select("hyperv/method-changed")
			if row.early != (len(changed) == 1) || row.early && changed[0].Get("vm") != "db" {
				t.Errorf("the writer noticed %v", changed)
			}
			if n := l.h.WriterSessions(); n != 0 {
				t.Errorf("the writer remembers %d sessions", n)
			}
			l.recovers()
		})
	}
}

// A machine whose configuration is elsewhere since the metadata were gathered is
// refused: the requester would save the old file.
func TestConfigurationThatHasMoved(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db")
	old := vm.ConfigurationPath()
	_, err := l.backup(l.afterIdentify(func(ctx context.Context) error {
		file := l.bytes(old)
		l.must(vm.Unregister(ctx))
		to := `D:\Other\Virtual Machines` + old[strings.LastIndexByte(old, '\\'):]
		l.must(l.h.Volume("D").MkdirAll(`\Other\Virtual Machines`))
		l.must(l.h.Volume("D").WriteFile(to[2:], file))
		_, err := l.h.Register(ctx, to)
		return err
	}))
	l.failsWith(err, vss.StateFailedAtPrepareBackup, retryable, "db: ", "is new")
	l.note()
	l.mustBackup()
	l.settled()
}
