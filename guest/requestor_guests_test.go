package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// The host sees the backup service in one of five states, and a degraded one
// backs up.
func TestBackupStatus(t *testing.T) {
	for _, tt := range []struct {
		change          func(s *guest.System)
		oldest, current string
		want            guest.OperationalStatus
		word            string
	}{
		{want: guest.StatusOK, word: "OK"},
		{current: "6.0.6001.18016", want: guest.StatusOK, word: "OK"},
		{oldest: "6.0", current: "6.1", want: guest.StatusDegraded, word: "Degraded"},
		{oldest: "6.1", current: "6.2", want: guest.StatusProtocolMismatch, word: "Protocol Mismatch"},
		{change: func(s *guest.System) { s.Services = nil }, current: "6.1", want: guest.StatusNoContact, word: "No Contact"},
		{change: func(s *guest.System) { s.Services[0].Start = guest.StartManual }, current: "6.1",
			want: guest.StatusLostCommunication, word: "Lost Communication"},
	} {
		b := newRig(t)
		s, err := guest.ReadSystem(b.volume(0))
		b.must(err)
		if tt.change != nil {
			tt.change(s)
		}
		b.install(s)
		b.OldestService, b.CurrentService = tt.oldest, tt.current
		m := b.boot()
		if got := m.BackupStatus(); got != tt.want || got.String() != tt.word {
			t.Errorf("status %d %v, want %d %s", got, got, tt.want, tt.word)
		}
		if tt.want == guest.StatusOK || tt.want == guest.StatusDegraded {
			b.snapshot(m)
		}
	}
}

// A guest with more volumes than there are letters is backed up whole, up to the
// 64 volumes that a shadow copy set may have.
func TestManyVolumes(t *testing.T) {
	for _, n := range []int{40, 64, 64 + 1} {
		b := manyRig(t, n)
		m := b.boot()
		s, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		if n > 64 {
			if !errors.Is(err, vss.ErrMaximumNumberOfVolumesReached) {
				t.Errorf("%d volumes: %v", n, err)
			}
			b.settled(m)
			continue
		}
		b.must(err)
		names := map[string]bool{}
		for _, c := range s.Copies {
			names[c.Volume] = true
		}
		if len(s.Copies) != n || len(names) != n || !names["C:"] || !names["Z:"] || !names[fmt.Sprintf("disk 0 partition %d", n)] {
			t.Errorf("%d volumes: copies of %v", n, names)
		}
	}
}

// manyRig has a disk with that many volumes.
func manyRig(t testing.TB, n int) *rig {
	b := newEmptyRig(t)
	d := guest.NewDisk(disk.NewMemory(int64(n+4) << 20))
	spec := guest.DiskSpec{Scheme: guest.GPT, GUID: guid.MustParse("11111111-2222-4333-8444-555555555555")}
	for i := range n {
		spec.Partitions = append(spec.Partitions, guest.PartitionSpec{Size: 1 << 20, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: uint64(i + 1)}})
	}
	b.must(guest.Format(d, spec))
	b.Disks = guest.Disks(d)
	b.install(&guest.System{OS: guest.WindowsServer2008, ComputerName: "MANY",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016")})
	return b
}

// Looking at the volumes takes its time for each. Where that is more than the limit
// the backup fails at the limit, with an event in the guest's log, and says at which
// volume it was; with a limit that is long enough it succeeds.
func TestDetectionOfManyVolumes(t *testing.T) {
	const n = 40
	for _, tt := range []struct {
		each, limit time.Duration
		volume      string // at which the time was over
	}{
		{each: 2 * time.Second, limit: time.Minute, volume: "disk0.31"},
		{each: 2 * time.Second, limit: 61 * time.Second, volume: "disk0.31"},
		{each: 2 * time.Second, limit: n*2*time.Second - 1, volume: "disk0.40"},
		{each: 2 * time.Second, limit: n * 2 * time.Second},
		{each: 2 * time.Second},
		{limit: time.Second},
	} {
		b := manyRig(t, n)
		b.Detection = guest.Detection{PerVolume: tt.each, Limit: tt.limit}
		m := b.boot()
		began := b.world.Now()
		s, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		took := b.world.Now() - began
		if tt.volume == "" {
			b.must(err)
			if len(s.Copies) != n || took < n*tt.each {
				t.Errorf("%+v: %d copies after %v", tt, len(s.Copies), took)
			}
			continue
		}
		wantReason(t, err, guest.ErrDetection)
		wantReason(t, err, guest.ErrTimeout)
		if !strings.Contains(err.Error(), tt.volume+":") || took < tt.limit || took > tt.limit+time.Second {
			t.Errorf("%+v: after %v: %v", tt, took, err)
		}
		if logged := b.world.Trace().Select("guest/event"); len(logged) != 1 || logged[0].Get("id") != "4" {
			t.Errorf("%+v: event log %v", tt, logged)
		}
		b.settled(m)
	}
}

// writersRig has one ledger for each of these lists of arguments.
func writersRig(t *testing.T, ledgers []map[string]string, opts ...sim.Option) *rig {
	b := newRig(t, opts...)
	s, err := guest.ReadSystem(b.volume(0))
	b.must(err)
	s.Programs = nil
	for _, a := range ledgers {
		s.Programs = append(s.Programs, guest.Program{Name: ledger.Name, Args: a})
	}
	b.install(s)
	return b
}

// Writers in a guest freeze by their levels, front ends first, whatever the order
// in which they started.
func TestGuestWritersFreezeByLevel(t *testing.T) {
	b := writersRig(t, []map[string]string{{"data": "C:", "level": "system"}, {"data": "D:", "level": "back-end"}, {"data": "E:", "level": "front-end"}})
	m := b.boot()
	b.advance(time.Second)
	b.snapshot(m)
	var frozen []string
	for _, e := range b.world.Trace().Select("vss/freeze") {
		frozen = append(frozen, e.Actor)
	}
	want := []string{"h1/sql01/guest/ledger%233", "h1/sql01/guest/ledger%232", "h1/sql01/guest/ledger"}
	if !slices.Equal(frozen, want) {
		t.Errorf("frozen in the order %q, want %q", frozen, want)
	}
}

// A writer may take as long for its freeze as the window between Freeze and Thaw
// allows. One that takes longer, hangs or refuses fails the backup and leaves no
// other writer frozen.
func TestGuestWritersThatAreSlow(t *testing.T) {
	for _, tt := range []struct {
		plan string
		code vss.HRESULT // 0: the backup succeeds
	}{
		{"vss/freeze on=*ledger delay=50s", 0},
		{"vss/freeze on=*ledger delay=61s", vss.ErrWriterErrorTimeout},
		{"vss/freeze on=*ledger hang", vss.ErrWriterErrorTimeout},
		{"vss/freeze on=*ledger err=0x800423F3", vss.ErrWriterErrorRetryable},
	} {
		b := writersRig(t, []map[string]string{{"data": "D:", "level": "back-end"}, {"data": "E:", "level": "front-end"}}, sim.Plan(tt.plan))
		m := b.boot()
		b.advance(time.Second)
		_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		if tt.code == 0 {
			b.must(err)
			continue
		}
		wantReason(t, err, guest.ErrWriter)
		var w *guest.WriterError
		if !errors.As(err, &w) || w.Failure.Code != tt.code {
			t.Errorf("%s: %v", tt.plan, err)
		}
		b.settled(m)
		_, before := ledger.Check(b.volume(2), b.volume(2))
		b.advance(time.Second)
		if _, after := ledger.Check(b.volume(2), b.volume(2)); after.Last <= before.Last {
			t.Errorf("%s: the other ledger is frozen", tt.plan)
		}
	}
}

// A volume with ReFS is in the backup from the system on that mounts it.
func TestReFSByOperatingSystem(t *testing.T) {
	for os, supported := range map[guest.OS]bool{guest.WindowsServer2008R2: false, guest.WindowsServer2012: true} {
		b := newEmptyRig(t)
		b.addDisk(1, guest.NTFS)
		b.addDisk(2, guest.ReFS)
		b.install(&guest.System{OS: os, ComputerName: "REFS", Services: guest.IntegrationServices(os, "6.3")})
		m := b.boot()
		s, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		if !supported {
			if !errors.Is(err, vss.ErrVolumeNotSupported) || len(b.world.Trace().Select("requester/DoSnapshotSet")) > 0 {
				t.Errorf("%s: %v", os, err)
			}
			b.settled(m)
			continue
		}
		b.must(err)
		if len(s.Copies) != 2 {
			t.Errorf("%s: copies of %v", os, s.Copies)
		}
	}
}

// What fails in the beginning of the session, and what the backup service of a Windows
// cannot tell about disks, fails the backup with an event of its own in the guest's log.
func TestEventsOfTheBackupService(t *testing.T) {
	for plan, id := range map[string]string{
		"guest/initialize on=*/vmicvss err=0x8007001F":       "1",
		"guest/set-context on=*/vmicvss err=0x80042301":      "2",
		"guest/set-backup-state on=*/vmicvss err=0x8007001F": "3",
		"guest/detect on=*/vmicvss err=0x8007001F":           "4",
		"guest/disk-number on=*/D: err=0x8007001F":           "24",
		"guest/original-volume on=*/D: err=0x8007001F":       "5",
	} {
		b := newRig(t, sim.Plan(plan))
		m := b.boot()
		_, err := b.requestor(m).Snapshot(t.Context(), guest.SnapshotOptions{})
		if err == nil {
			t.Errorf("%s: no error", plan)
		}
		if code := plan[len(plan)-8:]; !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", plan, err)
		}
		if id == "5" {
			wantReason(t, err, guest.ErrNoVolume)
		}
		if logged := b.world.Trace().Select("guest/event"); len(logged) != 1 || logged[0].Get("id") != id {
			t.Errorf("%s: event log %v", plan, logged)
		}
		b.settled(m)
		b.snapshot(m)
	}
}

// A shadow copy that is lost before the host hears of it, because more changed than
// its diff area holds, fails the backup: event 7, and event 6 if none is left.
func TestLostShadowCopies(t *testing.T) {
	for id, volumes := range map[string][]string{"7": {"D:"}, "6": {"C:", "D:", "E:"}} {
		b := newRig(t, sim.Plan("vss/backup-complete on=*/ledger delay=30s"))
		m := b.boot()
		for _, v := range volumes {
			d, err := m.Drive(v)
			b.must(err)
			d.SetDiffArea(16 << 10)
		}
		r := b.requestor(m)
		host := b.vm.Go("host", func(ctx context.Context) error {
			_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
			return err
		})
		b.advance(15 * time.Second)
		for _, v := range volumes {
			b.must(m.WriteAt(t.Context(), v, guest.DataOffset+4<<20, make([]byte, 1)))
			b.must(m.WriteAt(t.Context(), v, guest.DataOffset+4<<20, bytes.Repeat([]byte{1}, 64<<10)))
		}
		err := b.world.Do(t.Context(), host.Wait)
		wantReason(t, err, guest.ErrNoShadow)
		if lost := b.world.Trace().Select("guest/shadow-lost"); len(lost) != len(volumes) {
			t.Errorf("lost: %v", lost)
		}
		if logged := b.world.Trace().Select("guest/event"); len(logged) != 1 || logged[0].Get("id") != id {
			t.Errorf("event log %v, want %s", logged, id)
		}
		b.settled(m)
	}
}

// A requester cannot be made where the guest's own service is gone: event 1.
func TestNoServiceInTheGuest(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	r := b.requestor(m)
	m.VSS().Actor().Kill()
	if _, err := r.Snapshot(t.Context(), guest.SnapshotOptions{}); err == nil {
		t.Error("a backup without a service")
	}
	if logged := b.world.Trace().Select("guest/event"); len(logged) != 1 || logged[0].Get("id") != "1" {
		t.Errorf("event log %v", logged)
	}
}
