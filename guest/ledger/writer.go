package ledger

import (
	"context"
	"errors"
	"io"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// WriterName is what the writer is called in lists of writers.
const WriterName = "Ledger Writer"

// ClassID is the writer's class.
var ClassID = guid.MustParse("4c656467-6572-4c65-8467-657220575254")

// WriterConfig introduces the writer to the service of its machine.
func (l *Ledger) WriterConfig() vss.WriterConfig {
	return vss.WriterConfig{
		ClassID: ClassID, Name: WriterName, Usage: vss.UsageUserData, Source: vss.SourceTransactedDB,
		Level: l.args.level, FreezeTimeout: l.args.window,
	}
}

// refuse is the veto that the program was told to make, or nil.
func (l *Ledger) refuse(e vss.Event) error {
	if l.args.vetoes && l.args.veto == e {
		return &vss.Error{Op: e.String(), On: Name, Err: l.args.hr}
	}
	return nil
}

// Identify describes one database with data and log.
func (l *Ledger) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	if err := l.refuse(vss.EventIdentify); err != nil {
		return err
	}
	return errors.Join(
		ev.Metadata.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreNever}),
		ev.Metadata.AddComponent(vss.ComponentInfo{
			ComponentKey: vss.ComponentKey{Name: Name}, Type: vss.ComponentDatabase, Caption: "Ledger", Selectable: true,
			Flags:         vss.FlagBackupRecovery,
			DatabaseFiles: []vss.FileSet{fileSet(l.args.data)},
			LogFiles:      []vss.FileSet{fileSet(l.args.log)},
		}),
	)
}

// fileSet is the one file that a shadow copy of a guest's volume shows.
func fileSet(volume string) vss.FileSet {
	return vss.FileSet{FileSpec: vss.FileSpec{Path: volume + `\`, Spec: guest.ShadowFileName}}
}

// PrepareBackup has nothing to do.
func (l *Ledger) PrepareBackup(context.Context, *vss.PrepareBackupEvent) error {
	return l.refuse(vss.EventPrepareBackup)
}

// PrepareSnapshot has nothing to do: a flush is short.
func (l *Ledger) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error {
	return l.refuse(vss.EventPrepareSnapshot)
}

// Freeze flushes the cache and closes the log. Then there are no transactions
// until Thaw or Abort. If the flush fails the ledger goes on.
func (l *Ledger) Freeze(ctx context.Context, _ *vss.FreezeEvent) error {
	if err := l.refuse(vss.EventFreeze); err != nil {
		return err
	}
	if l.args.slow > 0 {
		if err := sim.Sleep(ctx, l.args.slow); err != nil {
			return err
		}
	}
	st, _, err := l.load()
	if err != nil {
		return err
	}
	v, err := l.open(ctx)
	if err != nil {
		return err
	}
	if err := l.flush(v, &st, true); err != nil {
		return err
	}
	st.frozen = true
	return l.save(st)
}

// Thaw lets transactions go on.
func (l *Ledger) Thaw(ctx context.Context, _ *vss.ThawEvent) error {
	return errors.Join(l.refuse(vss.EventThaw), l.resume(ctx))
}

// Abort lets transactions go on, whatever became of the freeze.
func (l *Ledger) Abort(ctx context.Context, _ *vss.AbortEvent) error { return l.resume(ctx) }

func (l *Ledger) resume(ctx context.Context) error {
	st, _, err := l.load()
	if err != nil {
		return err
	}
	st.frozen = false
	if err := l.save(st); err != nil {
		return err
	}
	v, err := l.open(ctx)
	if err != nil {
		return err
	}
	// A log that cannot be opened now is opened by the next step; only the death
	// of the process matters here.
	if err := l.openLog(v, &st); errors.Is(err, sim.ErrDead) {
		return err
	}
	return nil
}

// PostSnapshot marks the ledger in the shadow copy as recovered. This is the
// automatic recovery of the writer: it changes bytes of the copy and of nothing
// else. A copy that nobody may recover stays as it is.
func (l *Ledger) PostSnapshot(_ context.Context, ev *vss.PostSnapshotEvent) error {
	if err := l.refuse(vss.EventPostSnapshot); err != nil {
		return err
	}
	if ev.Context().Attributes()&vss.AttrNoAutoRecovery != 0 {
		return nil
	}
	device, err := ev.SnapshotDeviceName(l.args.data + `\`)
	if errors.Is(err, vss.ErrObjectNotFound) {
		return nil // somebody else's backup of other volumes
	}
	if err != nil {
		return err
	}
	fsys, err := ev.Service().Open(device)
	if err != nil {
		return err
	}
	f, err := fsys.Open(guest.ShadowFileName)
	if err != nil {
		return err
	}
	file, ok := f.(interface {
		io.ReaderAt
		io.WriterAt
	})
	if !ok {
		return errors.Join(errors.ErrUnsupported, f.Close())
	}
	return errors.Join(markRecovered(file), f.Close())
}

// markRecovered changes the header of the data, and nothing else.
func markRecovered(data interface {
	io.ReaderAt
	io.WriterAt
}) error {
	b := make([]byte, sector)
	if err := readFull(data, b, DataAt); err != nil {
		return err
	}
	h, ok := decodeData(b)
	if !ok {
		return &vss.Error{Op: "PostSnapshot", On: Name, Err: vss.ErrWriterErrorInconsistentSnapshot}
	}
	h.recovered = true
	_, err := data.WriteAt(h.encode(), DataAt)
	return err
}

// BackupComplete has nothing to do: the flush has emptied the log.
func (l *Ledger) BackupComplete(context.Context, *vss.BackupCompleteEvent) error {
	return l.refuse(vss.EventBackupComplete)
}

var (
	_ guest.WriterApplication = (*Ledger)(nil)
	_ guest.Starter           = (*Ledger)(nil)
	_ guest.Stopper           = (*Ledger)(nil)
	_ guest.Sizer             = (*Ledger)(nil)
	_ vss.BackupPreparer      = (*Ledger)(nil)
	_ vss.PostSnapshotter     = (*Ledger)(nil)
	_ vss.BackupCompleter     = (*Ledger)(nil)
)
