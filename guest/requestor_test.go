package guest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// vssEvents lists the events that writers got, as "thaw", in order.
func vssEvents(tr sim.Trace) []string {
	var out []string
	for _, e := range tr {
		name, ok := strings.CutPrefix(e.Kind, "vss/")
		if ok && e.Get("writer") != "" && name != "subscribe" && name != "unsubscribe" && !strings.HasSuffix(name, ".end") {
			out = append(out, name)
		}
	}
	return out
}

var completeSequence = []string{"identify", "prepare-backup", "prepare-snapshot", "freeze", "thaw", "post-snapshot",
	"backup-complete", "backup-shutdown"}

// With the backup service in the guest, the guest's own writers take part.
func TestR2_WritersTakePart(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.advance(time.Second)
	s := b.snapshot(m)
	if got := vssEvents(b.world.Trace()); len(got) == 0 {
		t.Error("the ledger's writer saw nothing")
	}
	if verdict, report := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:")); verdict != ledger.Application {
		t.Errorf("%v: %v", verdict, report)
	}
}

// Without it nobody asks them.
func TestR3_NoServiceNoEvents(t *testing.T) {
	b := newRig(t)
	s, err := guest.ReadSystem(b.volume(0))
	b.must(err)
	s.Services = nil
	b.install(s)
	m := b.boot()
	_, err = m.Requestor()
	wantReason(t, err, guest.ErrNotInstalled)
	b.advance(time.Hour)
	if got := vssEvents(b.world.Trace()); len(got) > 0 {
		t.Errorf("events %v", got)
	}
}

// What happens in the child is the work of a service of its own.
func TestR9_TheChildHasAServiceOfItsOwn(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.snapshot(m)
	if got := m.VSS().Actor().Path(); got != "h1/sql01/guest/vss" {
		t.Errorf("the service is %s", got)
	}
	created := b.world.Trace().Select("vss/set-created")
	if len(created) != 1 || created[0].Actor != "h1/sql01/guest/vss" {
		t.Errorf("sets: %v", created)
	}
	if n := len(m.VSS().Snapshots()); n != 3 {
		t.Errorf("the service lists %d shadow copies", n)
	}
}

// requestorCase is a guest whose backup service cannot be talked to, or can.
func requestorCase(t *testing.T, change func(s *guest.System, c *guest.Config), reason guest.Reason, status guest.OperationalStatus) {
	t.Helper()
	b := newRig(t)
	s, err := guest.ReadSystem(b.volume(0))
	b.must(err)
	change(s, &b.Config)
	b.install(s)
	_, err = b.boot().Requestor()
	if reason == 0 {
		b.must(err)
	} else {
		wantReason(t, err, reason)
	}
	if got := guest.Status(err); got != status {
		t.Errorf("status %v, want %v", got, status)
	}
}

func TestR11_ServiceMustBeInstalled(t *testing.T) {
	requestorCase(t, func(s *guest.System, _ *guest.Config) {
		s.Services[0] = guest.IntegrationService{Name: guest.BackupService}
	}, guest.ErrNotInstalled, guest.StatusNoContact)
	requestorCase(t, func(*guest.System, *guest.Config) {}, 0, guest.StatusOK)
}

func TestR12_ServiceMustRun(t *testing.T) {
	requestorCase(t, func(s *guest.System, _ *guest.Config) { s.Services[0].Start = guest.StartManual }, guest.ErrNotRunning, guest.StatusLostCommunication)
	b := newRig(t)
	m := b.boot()
	b.must(m.StopService(t.Context(), "vmicvss"))
	_, err := m.Requestor()
	wantReason(t, err, guest.ErrNotRunning)
	b.must(m.StartService(t.Context(), "vmicvss"))
	b.snapshot(m)
}

func TestR13_DisplayName(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	const name = "Hyper-V Volume Shadow Copy Requestor"
	if got := m.Services()[0].Name.DisplayName(); got != name {
		t.Errorf("the backup service is called %q", got)
	}
	b.must(m.StopService(t.Context(), name))
	if m.Services()[0].Running {
		t.Error("stopped by its display name, it runs")
	}
}

func TestR14_Windows2000HasNoService(t *testing.T) {
	requestorCase(t, func(s *guest.System, _ *guest.Config) { s.OS = guest.Windows2000Server }, guest.ErrUnsupported, guest.StatusNoContact)
	b := newRig(t)
	b.install(&guest.System{OS: guest.Windows2000Server, ComputerName: "OLD", Services: guest.IntegrationServices(guest.Windows2000Server, "6.0"),
		Programs: []guest.Program{{Name: ledger.Name}}})
	m := b.boot()
	if m.VSS() != nil {
		t.Error("Windows 2000 has a shadow copy service")
	}
	b.advance(time.Second)
	if verdict, report := ledger.Check(b.volume(0), b.volume(0)); verdict != ledger.Crash {
		t.Errorf("its programs run all the same: %v: %v", verdict, report)
	}
}

func TestProtocolMismatch(t *testing.T) {
	for _, tt := range []struct {
		guest, oldest string
		mismatch      bool
	}{
		{"6.0.6001.18016", "", false}, {"6.0.6001.18016", "6.0.6001.18016", false}, {"6.0.6001.18016", "6.0.6001", false},
		{"6.0.6001.18016", "6.0.6001.17101", false}, {"6.0.6001.18016", "6.1", true}, {"6.0", "6.0.0.1", true}, {"", "1", true},
	} {
		reason, status := guest.Reason(0), guest.StatusOK
		if tt.mismatch {
			reason, status = guest.ErrProtocol, guest.StatusProtocolMismatch
		}
		requestorCase(t, func(s *guest.System, c *guest.Config) {
			s.Services[0].Version, c.OldestService = tt.guest, tt.oldest
		}, reason, status)
	}
}

// The sequence inside the guest is the whole of a backup, once.
func TestR26_CompleteSequence(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.snapshot(m)
	if got := vssEvents(b.world.Trace()); !slices.Equal(got, completeSequence) {
		t.Errorf("events %v", got)
	}
}

// Every event lies between the host's call and its return, also when the backup
// fails.
func TestR27_EventsLieWithinTheCall(t *testing.T) {
	for _, plan := range [][]string{nil, {"vss/freeze err=0x800423F4"}, {"provider/commit err=0x80042306"}, {"vss/post-snapshot delay=5m"},
		{"vss/freeze delay=61s"}, {"guest/snapshot err=0x80004005"}, {"guest/snapshot kill=."}} {
		b := newRig(t, sim.Plan(plan...))
		m := b.boot()
		b.advance(time.Minute)
		r := b.requestor(m)
		before := len(vssEvents(b.world.Trace()))
		_, err := r.Snapshot(t.Context(), guest.SnapshotOptions{Timeout: 2 * time.Minute})
		inside := vssEvents(b.world.Trace())
		b.advance(time.Hour)
		if after := vssEvents(b.world.Trace()); before != 0 || len(after) != len(inside) || len(inside) == 0 || (err == nil) != (plan == nil) {
			t.Errorf("%v: %d events before, %d in the call, %v after it; %v", plan, before, len(inside), after[len(inside):], err)
		}
	}
}

// Releasing the copies is no business of the writers, and neither is anything
// else behind the backup.
func TestR35_NoWriterHearsOfTheRelease(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	s := b.snapshot(m)
	events := len(vssEvents(b.world.Trace()))
	r := b.requestor(m)
	b.must(r.Release(t.Context(), s))
	b.must(r.Release(t.Context(), s)) // gone already
	b.settled(m)
	if got := vssEvents(b.world.Trace()); len(got) != events {
		t.Errorf("after the backup: %v", got[events:])
	}
	if n := len(m.VSS().Snapshots()); n != 0 {
		t.Errorf("the service lists %d shadow copies", n)
	}
}

// The copies may be recovered: the context does not forbid it, and the writer's
// edit is in the copy and nowhere else.
func TestR36_CopiesAreRecoverable(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.advance(time.Second)
	s := b.snapshot(m)
	context := b.world.Trace().Select("requester/SetContext")[0].Get("context")
	if context == "" || strings.Contains(context, "NO_AUTORECOVERY") {
		t.Errorf("context %s", context)
	}
	for _, p := range m.VSS().Snapshots() {
		if p.Attributes&vss.AttrNoAutoRecovery != 0 || p.Attributes&vss.AttrAutoRecover == 0 {
			t.Errorf("attributes %v", p.Attributes)
		}
	}
	// The log is as it was at the freeze, so what differs in the data is the edit.
	_, live := ledger.Check(b.volume(1), b.copyOf(s, "E:"))
	_, copied := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:"))
	if live.Recovered || !copied.Recovered {
		t.Errorf("recovered: live %v, copy %v", live.Recovered, copied.Recovered)
	}
	off, err := disk.FirstDifference(b.volume(1), b.copyOf(s, "D:"))
	if err != nil || off < ledger.DataAt || off >= ledger.DataAt+512 {
		t.Errorf("data and copy differ at %d: %v", off, err)
	}
	for _, c := range s.Copies {
		kept, err := b.Disks[c.Disk].Disk.Kept(c.ID)
		b.must(err)
		if _, err := kept.WriteAt([]byte{1}, c.Off); !errors.Is(err, disk.ErrReadOnly) {
			t.Errorf("%s is writable after the backup: %v", c.Volume, err)
		}
	}
}

// skipCase is a guest with its ledger on a disk that the host does not see.
func skipCase(t *testing.T, kind guest.DiskKind, rule string) {
	b := newRig(t)
	b.Disks[1].Kind = kind
	m := b.boot()
	s := b.snapshot(m)
	var got []string
	for _, c := range s.Copies {
		got = append(got, c.Volume)
	}
	if !slices.Equal(got, []string{"C:", "E:"}) {
		t.Errorf("copies of %v", got)
	}
	if ids := b.Disks[1].Disk.KeptIDs(); len(ids) > 0 {
		t.Errorf("the %v disk keeps %x", kind, ids)
	}
	skipped := b.world.Trace().Select("guest/skip")
	if len(skipped) != 1 || skipped[0].Rule != rule || skipped[0].Get("disk") != "1" {
		t.Errorf("skipped: %v", skipped)
	}
}

func TestR39_PassThroughDisksAreSkipped(t *testing.T) { skipCase(t, guest.PassThrough, "R39") }

func TestR40_ISCSIDisksAreSkipped(t *testing.T) { skipCase(t, guest.InGuestISCSI, "R40") }

// From inside the machine such volumes can be backed up like any other.
func TestR41_SkippedDisksAreBackedUpFromInside(t *testing.T) {
	b := newRig(t)
	b.Disks[1].Kind, b.Disks[2].Kind = guest.PassThrough, guest.InGuestISCSI
	m := b.boot()
	b.advance(time.Second)
	copies := make(map[string]guid.GUID)
	err := m.Actor().Child("backup").Call(t.Context(), "backup", func(ctx context.Context) error {
		bc, err := m.VSS().CreateBackupComponents(ctx)
		if err != nil {
			return err
		}
		_, err = inGuestBackup(ctx, bc, copies)
		return errors.Join(err, bc.Release(ctx))
	})
	b.must(err)
	data, err := drive(t, m, "D:").ShadowStore(copies["D:"])
	b.must(err)
	log, err := drive(t, m, "E:").ShadowStore(copies["E:"])
	b.must(err)
	if verdict, report := ledger.Check(data, log); verdict != ledger.Application {
		t.Errorf("%v: %v", verdict, report)
	}
}

// inGuestBackup makes persistent shadow copies of D: and E:.
func inGuestBackup(ctx context.Context, bc *vss.BackupComponents, copies map[string]guid.GUID) (set guid.GUID, err error) {
	if err := errors.Join(bc.InitializeForBackup(ctx, nil), bc.SetContext(ctx, vss.ContextAppRollback),
		bc.SetBackupState(ctx, vss.BackupState{Type: vss.BackupFull}), bc.GatherWriterMetadata(ctx)); err != nil {
		return set, err
	}
	if set, err = bc.StartSnapshotSet(ctx); err != nil {
		return set, err
	}
	for _, v := range []string{"D:", "E:"} {
		if copies[v], err = bc.AddToSnapshotSet(ctx, v+`\`, guid.GUID{}); err != nil {
			return set, err
		}
	}
	return set, errors.Join(bc.PrepareForBackup(ctx), bc.DoSnapshotSet(ctx), bc.BackupComplete(ctx))
}

func TestNothingToBackUp(t *testing.T) {
	b := newRig(t)
	for i := range b.Disks {
		b.Disks[i].Kind = guest.PassThrough
	}
	m := b.boot()
	_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
	wantReason(t, err, guest.ErrNothingToDo)
	b.settled(m)
}

// Partitions that are hidden by the table take part if they can.
func TestHiddenPartitions(t *testing.T) {
	b := newEmptyRig(t)
	d := guest.NewDisk(disk.NewMemory(256 << 20))
	ntfs := guest.FileSystem{Kind: guest.NTFS, Serial: 1}
	b.must(guest.Format(d, guest.DiskSpec{Scheme: guest.GPT, GUID: guid.MustParse("11111111-2222-4333-8444-555555555555"), Partitions: []guest.PartitionSpec{
		{Size: 100 << 20, Role: guest.RoleEFI, FileSystem: guest.FileSystem{Kind: guest.FAT32, Serial: 1}},
		{Size: 16 << 20, Role: guest.RoleRecovery, FileSystem: ntfs},
		{FileSystem: ntfs},
	}}))
	b.Disks = guest.Disks(d)
	l, err := guest.ReadLayout(d, d.Size())
	b.must(err)
	for _, v := range guest.Volumes(l) {
		if v.Letter == 'C' {
			b.must(guest.WriteSystem(v.Store(d), &guest.System{OS: guest.WindowsServer2008, ComputerName: "EFI",
				Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")}))
		}
	}
	s := b.snapshot(b.boot())
	var got []string
	for _, c := range s.Copies {
		got = append(got, c.Volume)
	}
	if !slices.Equal(got, []string{"disk 0 partition 2", "C:"}) {
		t.Errorf("copies of %q", got)
	}
}

// A volume that cannot be snapshotted fails the backup: the host ought to have
// known.
func TestIncapableVolumeFailsTheBackup(t *testing.T) {
	b := newEmptyRig(t)
	b.addDisk(1, guest.NTFS)
	d := guest.NewDisk(disk.NewMemory(64 << 20))
	b.must(guest.Format(d, guest.DiskSpec{Scheme: guest.MBR, Signature: 2,
		Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.FAT32, Serial: 2}}}}))
	b.Disks = append(b.Disks, guest.Attachment{Disk: d})
	b.install(&guest.System{OS: guest.WindowsServer2008, ComputerName: "FAT",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")})
	m := b.boot()
	_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
	if !errors.Is(err, vss.ErrVolumeNotSupported) {
		t.Errorf("%v", err)
	}
	b.settled(m)
}

func TestWriterFailureIsNamed(t *testing.T) {
	for _, event := range []string{"prepare-backup", "prepare-snapshot", "freeze", "thaw", "post-snapshot", "backup-complete"} {
		b := newRig(t)
		s, err := guest.ReadSystem(b.volume(0))
		b.must(err)
		s.Programs[0].Args["veto"], s.Programs[0].Args["hr"] = event, "0x800423F3"
		b.install(s)
		m := b.boot()
		b.advance(time.Second)
		_, err = b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		wantReason(t, err, guest.ErrWriter)
		var w *guest.WriterError
		if !errors.As(err, &w) || w.Writer != ledger.WriterName || w.Failure.Code != vss.ErrWriterErrorRetryable ||
			!strings.Contains(strings.ToLower(w.State.String()), strings.ReplaceAll(event, "-", "_")) {
			t.Errorf("%s: %v", event, err)
		}
		if vss.HRESULTOf(err) != vss.ErrWriterErrorRetryable {
			t.Errorf("%s: %v", event, vss.HRESULTOf(err))
		}
		if logged := b.world.Trace().Select("guest/event"); len(logged) != 1 || logged[0].Get("id") != "23" {
			t.Errorf("%s: event log %v", event, logged)
		}
		if event == "prepare-backup" && len(b.world.Trace().Select("requester/DoSnapshotSet")) > 0 {
			t.Error("the backup goes on although a writer has refused it")
		}
		b.settled(m)
		_, before := ledger.Check(b.volume(1), b.volume(2))
		b.advance(time.Second)
		if _, after := ledger.Check(b.volume(1), b.volume(2)); after.Last <= before.Last {
			t.Errorf("%s: the ledger is frozen", event)
		}
	}
}

// The kind of backup reaches the writers.
func TestBackupType(t *testing.T) {
	for _, o := range []guest.SnapshotOptions{{}, {Copy: true}} {
		b := newRig(t)
		m := b.boot()
		_, err := b.requestor(m).Snapshot(t.Context(), o)
		b.must(err)
		want := vss.BackupFull
		if o.Copy {
			want = vss.BackupCopy
		}
		if got := b.world.Trace().Select("requester/SetBackupState")[0].Get("type"); got != want.String() {
			t.Errorf("%+v: type %s", o, got)
		}
	}
}

func TestTimeout(t *testing.T) {
	for _, plan := range []string{"guest/answer hang", "guest/answer delay=1h", "vss/prepare-backup hang", "vss/post-snapshot hang",
		"vss/backup-shutdown hang", "vss/identify delay=20m", "provider/delete hang from=1", "guest/snapshot hang"} {
		t.Run(strings.Fields(plan)[0], func(t *testing.T) {
			b := newRig(t, sim.Plan(plan))
			m := b.boot()
			b.advance(time.Second)
			r := b.requestor(m)
			start := b.world.Now()
			_, err := r.Snapshot(t.Context(), guest.SnapshotOptions{Timeout: 5 * time.Minute})
			if strings.HasPrefix(plan, "provider/delete") {
				b.must(err) // nothing is deleted in a backup that succeeds
				return
			}
			wantReason(t, err, guest.ErrTimeout)
			if took := b.world.Now() - start; took < 5*time.Minute || took > 7*time.Minute {
				t.Errorf("failed after %v", took)
			}
			b.world.Heal()
			if plan == "vss/backup-shutdown hang" {
				return // that writer hangs for good
			}
			b.settled(m)
			b.snapshot(m)
		})
	}
}

func TestAbort(t *testing.T) {
	for _, plan := range []string{"guest/answer delay=1h", "vss/freeze delay=50s", "vss/post-snapshot delay=1h", "provider/pre-commit delay=30s",
		"vss/backup-complete delay=1h", "guest/snapshot delay=1h"} {
		t.Run(strings.Fields(plan)[0], func(t *testing.T) {
			b := newRig(t, sim.Plan(plan))
			m := b.boot()
			b.advance(time.Second)
			r := b.requestor(m)
			b.must(r.Abort(t.Context())) // nothing to abort
			host := b.vm.Go("host", func(ctx context.Context) error {
				_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
				return err
			})
			b.advance(10 * time.Second)
			_, err := r.Snapshot(t.Context(), guest.SnapshotOptions{})
			wantReason(t, err, guest.ErrBusy)
			b.must(r.Abort(t.Context()))
			wantReason(t, b.world.Do(t.Context(), host.Wait), guest.ErrAborted)
			b.settled(m)
			b.world.Heal()
			b.snapshot(m)
		})
	}
}

// An abort may come at any turn of the world.
func TestAbortAtAnyTurn(t *testing.T) {
	aborted := 0
	for i := range 200 {
		turns := i / 5
		b := newRig(t, sim.Seed(uint64(i%5)), sim.Plan("vss/post-snapshot delay=1h"))
		m := b.boot()
		r := b.requestor(m)
		err := b.world.Do(t.Context(), func(ctx context.Context) error {
			host := sim.Go(ctx, "host", func(ctx context.Context) error {
				_, err := r.Snapshot(ctx, guest.SnapshotOptions{Timeout: 2 * time.Hour})
				return err
			})
			for range turns {
				if err := sim.Yield(ctx); err != nil {
					return err
				}
			}
			if err := r.Abort(ctx); err != nil || sim.Now(ctx) != 0 {
				t.Errorf("seed %d, after %d turns: aborted at %v: %v", i%5, turns, sim.Now(ctx), err)
			}
			return host.Wait(ctx)
		})
		if errors.Is(err, guest.ErrAborted) && b.world.Now() == 0 {
			aborted++
			b.settled(m)
		} else if err != nil || turns > 10 {
			t.Errorf("seed %d, after %d turns: %v at %v", i%5, turns, err, b.world.Now())
		}
		b.must(b.world.Close())
	}
	if aborted < 150 {
		t.Errorf("%d backups were aborted", aborted)
	}
}

// Stopping the service, or the whole system, aborts what it is doing.
func TestStopAborts(t *testing.T) {
	for name, stop := range map[string]func(b *rig, m *guest.Machine) error{
		"service":  func(b *rig, m *guest.Machine) error { return m.StopService(b.t.Context(), "vmicvss") },
		"shutdown": func(b *rig, m *guest.Machine) error { return m.Shutdown(b.t.Context()) },
	} {
		b := newRig(t, sim.Plan("vss/post-snapshot delay=1h"))
		m := b.boot()
		r := b.requestor(m)
		host := b.vm.Go("host", func(ctx context.Context) error {
			_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
			return err
		})
		b.advance(10 * time.Second)
		b.must(stop(b, m))
		if err := b.world.Do(t.Context(), host.Wait); !errors.Is(err, guest.ErrAborted) {
			t.Errorf("%s: %v", name, err)
		}
		b.settled(m)
	}
}

// A host that dies, or gives up waiting, does not leave a guest frozen.
func TestTheCallerGoesAway(t *testing.T) {
	for _, how := range []string{"dies", "gives up"} {
		b := newRig(t, sim.Plan("vss/thaw delay=30s"))
		m := b.boot()
		r := b.requestor(m)
		vmms := b.world.Actor("vmms")
		host := vmms.Go("host", func(ctx context.Context) error {
			if how == "gives up" {
				var cancel func()
				ctx, cancel = sim.WithTimeout(ctx, 10*time.Second)
				defer cancel()
			}
			_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
			return err
		})
		b.advance(10 * time.Second)
		if how == "dies" {
			vmms.Kill()
		}
		b.advance(15 * time.Minute)
		if !host.Ended() {
			t.Errorf("%s: the caller waits", how)
		}
		b.settled(m)
	}
}

// The death of the machine on the way is an error of its own.
func TestTheMachineDies(t *testing.T) {
	for _, end := range []func(m *guest.Machine){(*guest.Machine).PowerOff, func(m *guest.Machine) { m.Actor().Kill() }} {
		b := newRig(t, sim.Plan("vss/post-snapshot delay=1h"))
		m := b.boot()
		r := b.requestor(m)
		host := b.vm.Go("host", func(ctx context.Context) error {
			_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
			return err
		})
		b.advance(time.Minute)
		end(m)
		wantReason(t, b.world.Do(t.Context(), host.Wait), guest.ErrEnded)
		if n := len(b.Disks[1].Disk.KeptIDs()); n != 1 {
			t.Errorf("the disk keeps %d", n)
		}
		b.settled(b.boot()) // the next run drops what is left
	}
}

// While the machine is paused its backup stands still, time limit and all.
func TestPauseStopsABackup(t *testing.T) {
	b := newRig(t, sim.Plan("vss/prepare-backup delay=30s"))
	m := b.boot()
	r := b.requestor(m)
	host := b.vm.Go("host", func(ctx context.Context) error {
		_, err := r.Snapshot(ctx, guest.SnapshotOptions{Timeout: time.Minute})
		return err
	})
	b.advance(10 * time.Second)
	m.Pause()
	b.advance(time.Hour)
	if host.Ended() {
		t.Fatal("the backup went on in a paused machine")
	}
	m.Continue()
	b.must(b.world.Do(t.Context(), host.Wait))
	if took := b.world.Now(); took != time.Hour+30*time.Second {
		t.Errorf("done at %v", took)
	}
}

func linuxRig(t testing.TB, opts ...sim.Option) *rig { return linuxRigOf(t, "Linux 4.18", opts...) }

func linuxRigOf(t testing.TB, os guest.OS, opts ...sim.Option) *rig {
	b := newEmptyRig(t, opts...)
	for i := range 3 {
		b.addDisk(uint32(i+1), guest.Ext4)
	}
	b.install(&guest.System{OS: os, ComputerName: "web01", Services: guest.IntegrationServices(os, "3.1")})
	return b
}

// The daemon of a Linux freezes the root last, has no writers, and thaws on every
// way out.
func TestLinuxDaemon(t *testing.T) {
	b := linuxRig(t)
	m := b.boot()
	if m.VSS() != nil {
		t.Error("a Linux has a shadow copy service")
	}
	const data = "disk 1 partition 1"
	b.must(m.WriteAt(t.Context(), data, guest.DataOffset, []byte("before")))
	s := b.snapshot(m)
	b.must(m.WriteAt(t.Context(), data, guest.DataOffset, []byte("after!")))
	var frozen []string
	for _, e := range b.world.Trace().Select("guest/fsfreeze") {
		frozen = append(frozen, e.Get("volume"))
	}
	if !slices.Equal(frozen, []string{data, "disk 2 partition 1", "disk 0 partition 1"}) {
		t.Errorf("frozen in the order %v", frozen)
	}
	p := make([]byte, 6)
	if _, err := b.copyOf(s, data).ReadAt(p, guest.DataOffset); err != nil || string(p) != "before" {
		t.Errorf("the copy has %q, %v", p, err)
	}
	if _, err := b.copyOf(s, data).WriteAt(p, 0); !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("the copy is writable: %v", err)
	}
	b.must(b.requestor(m).Release(t.Context(), s))
	b.settled(m)

	for _, plan := range []string{"guest/fsfreeze on=*disk2.1 err=0x8007001F", "guest/fsfreeze on=*disk0.1 hang", "guest/snapshot kill=.", "guest/fsfreeze on=*disk0.1 kill=."} {
		b := linuxRig(t, sim.Plan(plan))
		m := b.boot()
		if _, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{}); err == nil {
			t.Errorf("%s: no error", plan)
		}
		b.settled(m)
		b.snapshot(m)
	}
	requestorCase(t, func(s *guest.System, c *guest.Config) {
		s.OS, c.OldestService = "Linux 2.6.32", "6.0"
		s.Services[0].Version = "3.1"
	}, guest.ErrProtocol, guest.StatusProtocolMismatch)
}

// hanging never answers, whatever it is asked.
type hanging struct{}

func (hanging) Snapshot(ctx context.Context, _ guest.SnapshotOptions) (*guest.Snapshot, error) {
	var never sim.Signal
	return nil, never.Wait(ctx)
}
func (hanging) Release(context.Context, *guest.Snapshot) error { return nil }
func (hanging) Abort(context.Context) error                    { return nil }

// Another backup service can be plugged in.
func TestPluggedRequestor(t *testing.T) {
	b := newRig(t)
	b.NewRequestor = func(*guest.Machine) guest.Requestor { return hanging{} }
	r := b.requestor(b.boot())
	err := b.world.Do(t.Context(), func(ctx context.Context) error {
		ctx, cancel := sim.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
