package vsstest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A journal is a small database with data and log, as a writer: what happens goes
// to the log at once, and to the data when it is flushed.
type journal struct {
	volume   *vsstest.Volume
	gate     sim.Gate  // shut while the journal is frozen or offline
	turn     sim.Mutex // of whoever touches the files
	balances [journalAccounts]int
	last     int // number of the last record in the log
	applied  int // of the last one that the data has
	frozen   map[guid.GUID]bool
	offline  bool
	notes    map[guid.GUID][]string // what to tell the requester, by session
	backedUp map[guid.GUID]int      // the last record in the copy, by session
}

const (
	journalAccounts = 4
	journalOpening  = 100
	journalData     = "journal/data"
	journalLog      = "journal/log"
)

// openJournal finds the journal on its volume, or makes one. A log that is ahead
// of the data is replayed.
func openJournal(ctx context.Context, env *vsstest.WriterEnv) (*journal, error) {
	j := &journal{volume: env.Volume, frozen: map[guid.GUID]bool{}, notes: map[guid.GUID][]string{}, backedUp: map[guid.GUID]int{}}
	j.gate.Name, j.turn.Name = "the journal's writes", "the journal's files"
	return j, j.load(ctx)
}

func newJournal(ctx context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
	return openJournal(ctx, env)
}

// load reads the state from the files.
func (j *journal) load(ctx context.Context) error {
	data, err := j.volume.ReadFile(journalData)
	if errors.Is(err, fs.ErrNotExist) {
		for i := range j.balances {
			j.balances[i] = journalOpening
		}
		return errors.Join(j.volume.WriteFile(ctx, journalLog, nil), j.flush(ctx))
	}
	if err == nil {
		err = j.parse(data)
	}
	log, e := j.volume.ReadFile(journalLog)
	if err = errors.Join(err, e); err != nil {
		return err
	}
	j.last = j.applied
	records, err := parseLog(log)
	for _, r := range records {
		if r.number > j.last {
			j.book(r)
		}
	}
	return err
}

func (j *journal) parse(data []byte) error {
	fields := strings.Fields(string(data))
	if len(fields) != 1+journalAccounts {
		return fmt.Errorf("the data has %d fields", len(fields))
	}
	var err error
	if j.applied, err = strconv.Atoi(fields[0]); err != nil {
		return err
	}
	for i := range j.balances {
		if j.balances[i], err = strconv.Atoi(fields[1+i]); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) encode() []byte {
	return fmt.Appendf(nil, "%d %s\n", j.last, strings.Trim(fmt.Sprint(j.balances), "[]"))
}

// A record moves one from an account to the next.
type record struct{ number, from int }

func (r record) String() string { return fmt.Sprintf("%d %d\n", r.number, r.from) }

func parseLog(log []byte) (out []record, err error) {
	for line := range bytes.Lines(log) {
		number, from, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		n, err := strconv.Atoi(number)
		f, err2 := strconv.Atoi(from)
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("the log: %w", err)
		}
		r := record{n, f}
		if n := len(out); n > 0 && out[n-1].number+1 != r.number {
			return nil, fmt.Errorf("the log jumps from %d to %d", out[n-1].number, r.number)
		}
		out = append(out, r)
	}
	return out, nil
}

func (j *journal) book(r record) {
	j.balances[r.from]--
	j.balances[(r.from+1)%journalAccounts]++
	j.last = r.number
}

// transact is the daily work.
func (j *journal) transact(ctx context.Context) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.turn.Unlock()
	r := record{number: j.last + 1, from: (j.last * 7) % journalAccounts}
	if err := j.volume.Append(ctx, journalLog, []byte(r.String())); err != nil {
		return err
	}
	j.book(r)
	return nil
}

// enter waits until the journal may be written to, and takes the turn.
func (j *journal) enter(ctx context.Context) error {
	for {
		if err := j.gate.Pass(ctx); err != nil {
			return err
		}
		if err := j.turn.Lock(ctx); err != nil {
			return err
		}
		if !j.gate.IsShut() {
			return nil
		}
		j.turn.Unlock()
	}
}

func (j *journal) flush(ctx context.Context) error {
	if err := j.volume.WriteFile(ctx, journalData, j.encode()); err != nil {
		return err
	}
	j.applied = j.last
	return nil
}

// settle opens or shuts the gate.
func (j *journal) settle() {
	if len(j.frozen) == 0 && !j.offline {
		j.gate.Open()
	} else {
		j.gate.Shut()
	}
}

// retryable gives an error the code of a writer.
func retryable(op string, err error) error {
	return &vss.Error{Op: op, On: "journal", Err: fmt.Errorf("%w: %w", vss.ErrWriterErrorRetryable, err)}
}

func (j *journal) Identify(_ context.Context, ev *vss.IdentifyEvent) error {
	return describeJournal(ev.Metadata)
}

func describeJournal(m *vss.WriterMetadata) error {
	return errors.Join(
		m.SetBackupSchema(vss.SchemaCopy|vss.SchemaIncremental|vss.SchemaLog),
		m.SetRestoreMethod(vss.RestorePolicy{Method: vss.MethodRestoreIfCanReplace, WriterRestore: vss.WriterRestoreAlways}),
		m.AddComponent(vss.ComponentInfo{
			ComponentKey: vss.ComponentKey{Name: "journal"}, Type: vss.ComponentDatabase, Selectable: true, Flags: vss.FlagBackupRecovery,
			DatabaseFiles: []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\journal`, Spec: "data"}}},
			LogFiles:      []vss.FileSet{{FileSpec: vss.FileSpec{Path: `D:\journal`, Spec: "log"}}},
		}))
}

func (j *journal) PrepareBackup(_ context.Context, ev *vss.PrepareBackupEvent) error {
	j.notes[ev.SessionID()] = []string{"log"}
	return nil
}

func (j *journal) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }

// Freeze keeps transactions out, waits for the one under way and flushes.
func (j *journal) Freeze(ctx context.Context, ev *vss.FreezeEvent) error {
	j.frozen[ev.SessionID()] = true
	j.settle()
	err := j.turn.Lock(ctx)
	if err == nil {
		defer j.turn.Unlock()
		err = j.flush(ctx)
	}
	if err != nil {
		delete(j.frozen, ev.SessionID())
		j.settle()
		return retryable("Freeze", err)
	}
	j.backedUp[ev.SessionID()] = j.applied
	return nil
}

func (j *journal) Thaw(_ context.Context, ev *vss.ThawEvent) error {
	delete(j.frozen, ev.SessionID())
	j.settle()
	return nil
}

// Abort undoes whatever there is of the session.
func (j *journal) Abort(_ context.Context, ev *vss.AbortEvent) error {
	delete(j.frozen, ev.SessionID())
	delete(j.notes, ev.SessionID())
	delete(j.backedUp, ev.SessionID())
	j.settle()
	return nil
}

// PostSnapshot empties the log in the copy, which has all of it in the data, and
// tells the requester what changed.
func (j *journal) PostSnapshot(_ context.Context, ev *vss.PostSnapshotEvent) error {
	for _, c := range ev.Components().All() {
		for _, name := range j.notes[ev.SessionID()] {
			if err := c.AddDifferencedFiles(vss.FileSpec{Path: `D:\journal`, Spec: name}, time.Time{}); err != nil {
				return retryable("PostSnapshot", err)
			}
		}
	}
	if ev.Context().Attributes()&vss.AttrAutoRecover == 0 {
		return nil
	}
	device, err := ev.SnapshotDeviceName(`D:\`)
	if errors.Is(err, vss.ErrObjectNotFound) {
		return nil // a backup of other volumes
	}
	if err == nil {
		err = emptyLog(ev.Service(), device)
	}
	if err != nil {
		return &vss.Error{Op: "PostSnapshot", On: "journal", Err: fmt.Errorf("%w: %w", vss.ErrWriterErrorRetryable, err)}
	}
	return nil
}

func emptyLog(s *vss.Service, device string) error {
	files, err := s.Open(device)
	if err != nil {
		return err
	}
	w, ok := files.(vsstest.WritableFS)
	if !ok {
		return errors.ErrUnsupported
	}
	return w.WriteFile(journalLog, nil)
}

// BackupComplete truncates the log as far as the backup has it.
func (j *journal) BackupComplete(ctx context.Context, ev *vss.BackupCompleteEvent) error {
	c := ev.Components().Component(vss.ComponentKey{Name: "journal"})
	upTo, ok := j.backedUp[ev.SessionID()]
	if c == nil || !ok || !c.BackupSucceeded() || ev.BackupType() == vss.BackupCopy || ev.BackupType() == vss.BackupDifferential {
		return nil
	}
	if err := j.truncate(ctx, upTo); err != nil {
		return retryable("BackupComplete", err)
	}
	return nil
}

func (j *journal) truncate(ctx context.Context, upTo int) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	defer j.turn.Unlock()
	log, err := j.volume.ReadFile(journalLog)
	if err != nil {
		return err
	}
	records, err := parseLog(log)
	if err != nil {
		return err
	}
	var rest strings.Builder
	for _, r := range records {
		if r.number > upTo {
			rest.WriteString(r.String())
		}
	}
	return j.volume.WriteFile(ctx, journalLog, []byte(rest.String()))
}

func (j *journal) BackupShutdown(_ context.Context, ev *vss.BackupShutdownEvent) error {
	delete(j.notes, ev.SessionID())
	delete(j.backedUp, ev.SessionID())
	return nil
}

// PreRestore goes offline.
func (j *journal) PreRestore(ctx context.Context, _ *vss.PreRestoreEvent) error {
	j.offline = true
	j.settle()
	if err := j.turn.Lock(ctx); err != nil { // the transaction under way
		return retryable("PreRestore", err)
	}
	j.turn.Unlock()
	return nil
}

// PostRestore goes on with the restored files, unless more are to come. Where
// nothing was restored it goes on as before.
func (j *journal) PostRestore(ctx context.Context, ev *vss.PostRestoreEvent) error {
	for _, c := range ev.Components().All() {
		status, err := c.FileRestoreStatus()
		switch {
		case err != nil:
			return retryable("PostRestore", err)
		case status == vss.FilesFailed:
			return &vss.Error{Op: "PostRestore", On: "journal", Err: vss.ErrWriterErrorNonRetryable}
		case c.AdditionalRestores():
			return nil
		case status == vss.FilesAll:
			if err := j.load(ctx); err != nil {
				return retryable("PostRestore", err)
			}
		}
	}
	j.offline = false
	j.settle()
	return nil
}

// checkJournal accepts an image that needs no recovery: the data has all that the
// log has, and nothing was lost.
func checkJournal(image fs.FS) error {
	data, err := fs.ReadFile(image, journalData)
	if err != nil {
		return err
	}
	log, err := fs.ReadFile(image, journalLog)
	if err != nil {
		return err
	}
	var j journal
	if err := j.parse(data); err != nil {
		return err
	}
	total := 0
	for _, b := range j.balances {
		total += b
	}
	if total != journalOpening*journalAccounts {
		return fmt.Errorf("the balances sum to %d", total)
	}
	records, err := parseLog(log)
	if n := len(records); err == nil && n > 0 && records[n-1].number != j.applied {
		err = fmt.Errorf("the log goes to record %d, the data to %d", records[n-1].number, j.applied)
	}
	return err
}

func journalOptions() vsstest.WriterOptions {
	return vsstest.WriterOptions{
		Config: vss.WriterConfig{Name: "Journal", ClassID: guid.GUID{0x10}, Source: vss.SourceTransactedDB},
		Load: func(ctx context.Context, w vss.Writer) error {
			return w.(interface{ transact(context.Context) error }).transact(ctx)
		},
		Consistent: checkJournal,
		Restored: func(w vss.Writer, image fs.FS) error {
			data, err := fs.ReadFile(image, journalData)
			if has := w.(interface{ encode() []byte }).encode(); err == nil && !bytes.Equal(has, data) {
				err = fmt.Errorf("the journal has %q, the image %q", has, data)
			}
			return err
		},
	}
}
