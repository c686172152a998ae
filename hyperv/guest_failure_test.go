package hyperv_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// What goes wrong in a guest before it answers, with an event in its log, fails the
// writer in PrepareForSnapshot. What was done to other machines is undone, and when
// the cause is gone the next backup succeeds.
func TestGuestEventsFailTheBackup(t *testing.T) {
	for _, row := range []struct {
		event string // of the guest's log
		plan  string
		lost  []string // volumes whose shadow copies get lost on the way
		code  vss.HRESULT
		says  []string
	}{
		{"1", "guest/initialize on=*/db/guest/vmicvss err=0x8007001F", nil, nonRetryable, []string{"0x8007001F"}},
		{"2", "guest/set-context on=*/db/guest/vmicvss err=0x8007001F", nil, nonRetryable, []string{"0x8007001F"}},
		{"3", "guest/set-backup-state on=*/db/guest/vmicvss err=0x8007001F", nil, nonRetryable, []string{"0x8007001F"}},
		{"4", "guest/detect on=*/db/guest/vmicvss err=0x8007001F", nil, nonRetryable, []string{"0x8007001F"}},
		{"5", "guest/original-volume on=*/db/guest/D: err=0x8007001F", nil, nonRetryable, []string{"Original: ", "no such volume", "0x8007001F"}},
		{"6", "vss/backup-complete on=*/db/guest/ledger delay=30s", []string{"C:", "D:"}, nonRetryable, []string{"C:", "D:", "no such shadow copy"}},
		{"7", "vss/backup-complete on=*/db/guest/ledger delay=30s", []string{"D:"}, nonRetryable, []string{"D:", "no such shadow copy"}},
		{"24", "guest/disk-number on=*/db/guest/C: err=0x8007001F", nil, nonRetryable, []string{"0x8007001F"}},
	} {
		t.Run(row.event, func(t *testing.T) {
			l := newLab(t, sim.Plan(row.plan))
			l.running("web", stopped)
			vm := l.running("db", withLedger(), also("data.vhd", guest.NTFS))
			l.note()
			var done *sim.Proc
			if row.lost != nil {
				done = l.w.Actor("users of db").Go("fill the diff areas", func(ctx context.Context) error { return overflow(ctx, l, vm, row.lost) })
			}
			_, err := l.backup()
			l.failsWith(err, atPrepareSnapshot, row.code, append(row.says, "db: ")...)
			if done != nil {
				l.must(done.Wait(l.ctx()))
			}
			logged := l.events(func(e sim.Event) bool { return e.Kind == "guest/event" })
			if len(logged) != 1 || logged[0].Get("id") != row.event || !strings.HasPrefix(logged[0].Actor, "h1/db/guest") {
				t.Errorf("in the guests' logs: %v", logged)
			}
			l.event("hyperv/back", "vm=web")
			l.recovers()
		})
	}
}

// overflow changes more of some volumes than their diff areas hold, once the guest has
// taken its shadow copies.
func overflow(ctx context.Context, l *lab, vm *hyperv.VM, volumes []string) error {
	for len(l.events(func(e sim.Event) bool {
		return e.Kind == "vss/backup-complete" && strings.HasPrefix(e.Actor, "h1/db/guest")
	})) == 0 {
		if err := sim.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	for _, v := range volumes {
		d, err := vm.Guest().Drive(v)
		if err != nil {
			return err
		}
		d.SetDiffArea(16 << 10)
		if err := vm.Guest().WriteAt(ctx, v, dataOff+mib, bytes.Repeat([]byte{1}, 64<<10)); err != nil {
			return err
		}
		d.SetDiffArea(0)
	}
	return nil
}

// A guest with many volumes takes its time to look at them. Where that is too long for
// it the backup fails as a time-out; with a longer limit it succeeds.
func TestGuestOfTooManyVolumes(t *testing.T) {
	const n = 40
	spec := guest.DiskSpec{Scheme: guest.GPT}
	for range n {
		spec.Partitions = append(spec.Partitions, guest.PartitionSpec{Size: mib, FileSystem: guest.FileSystem{Kind: guest.NTFS}})
	}
	for _, limit := range []time.Duration{time.Minute, 5 * time.Minute} {
		p := hyperv.Profile{Detection: guest.Detection{PerVolume: 2 * time.Second, Limit: limit}}
		l := newLabOf(t, hyperv.HostConfig{Profile: p})
		l.running("web", stopped)
		l.decides(l.running("db", secondDisk((n+4)*mib, spec)), hyperv.MethodChildSnapshot)
		l.running("few", also("data.vhd", guest.NTFS))
		_, err := l.backup()
		if limit > n*2*time.Second {
			l.must(err)
			l.settled()
			continue
		}
		l.failsWith(err, atPrepareSnapshot, timedOut, "db: ", "/disk1.30: ", "the volumes were not detected in time: 30 of 41 within 1m0s")
		l.settled()
		l.mustBackup(only("web", "few"))
		l.settled()
	}
}

// A daemon that does not answer whether its Linux can be backed up while it runs fails
// the backup as a time-out.
func TestLinuxThatDoesNotAnswerForAHotBackup(t *testing.T) {
	l := newLab(t, sim.Plan("guest/hot-backup on=h1/lnx/guest hang"))
	l.running("web", stopped)
	l.decides(l.running("lnx", system("Linux 4.18")), hyperv.MethodChildSnapshot)
	began := l.w.Now()
	_, err := l.backup()
	l.failsWith(err, atPrepareSnapshot, timedOut, "lnx: ", "HOT_BACKUP is not answered after 30s")
	if took := l.w.Now() - began; took > time.Minute {
		t.Errorf("the backup took %v", took)
	}
	l.event("hyperv/back", "vm=web")
	l.recovers()
}
