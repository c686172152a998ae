package hyperv_test

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var everything = flag.Bool("everything", false, "try every fault and every death instead of one in eight")

func stride() int {
	if *everything {
		return 1
	}
	if testing.Short() {
		return 32
	}
	return 8
}

// clean lists the fault points that a backup of the crew reaches.
func clean(t *testing.T) []sim.Hit {
	l := newLab(t)
	crew(l)
	type key struct {
		point sim.Point
		on    string
	}
	before := make(map[key]int)
	for _, h := range l.w.Hits() {
		before[key{h.Point, h.On}] = h.Count
	}
	l.mustBackup()
	var out []sim.Hit
	for _, h := range l.w.Hits() {
		if h.Count -= before[key{h.Point, h.On}]; h.Count > 0 {
			out = append(out, h)
		}
	}
	return out
}

// strike makes a backup of the crew with one fault, and checks that the world
// comes to rest: every machine is as it was, but for what died; nothing is left
// over, and the next backup succeeds. It tells whether the fault struck.
func strike(t *testing.T, f sim.Fault) bool {
	t.Helper()
	l := newLab(t)
	defer func() { _ = l.w.Close() }()
	crew(l)
	l.w.Inject(f)
	_, err := l.backup()
	if len(l.w.Unreached()) > 0 {
		return false
	}
	for _, w := range writers(err) {
		lost := w.Code == vss.ErrWriterNotResponding
		if !lost && (!w.Code.WriterFailure() || w.Message == "") {
			t.Errorf("%v: the requester sees %v, %q", f, w.Code, w.Message)
		}
	}
	l.advance(30 * time.Minute)
	l.must(l.h.StartManagement(l.ctx()))
	l.tidy()
	l.settled(l.casualties()...)
	l.w.Heal()
	l.mustBackup()
	l.settled()
	for _, vm := range l.h.VMs() {
		l.works(vm)
	}
	if t.Failed() {
		t.Errorf("after %v: backup: %v", f, err)
	}
	return true
}

// casualties are the machines that went off without being told to.
func (l *lab) casualties() []string {
	var out []string
	for _, e := range l.w.Trace().Select("vm/state") {
		if e.Get("from") != "stopping" && e.Get("to") == "off" {
			out = append(out, e.Get("vm"))
		}
	}
	return out
}

// tidy does what is left to the administrator: shadow copies of the host that
// could not be deleted.
func (l *lab) tidy() {
	l.t.Helper()
	for _, c := range l.h.VSS().Snapshots() {
		l.must(l.as("administrator", func(ctx context.Context) error {
			b, err := l.h.VSS().CreateBackupComponents(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = b.Release(ctx) }()
			if err := b.InitializeForBackup(ctx, nil); err != nil {
				return err
			}
			_, err = b.DeleteSnapshots(ctx, c.SnapshotID, vss.ObjectSnapshot, true)
			return err
		}))
	}
}

// Whoever dies, wherever: the requester and the management service at each step, a
// machine's worker process, a guest, its backup service.
func TestDeathAtEveryPoint(t *testing.T) {
	hits, deaths := clean(t), 0
	victims := []string{"backup", "h1/vmms", "h1/web", "h1/web/guest", "h1/app", "h1/erp", "h1/erp/guest", "h1/db/guest/vmicvss", "h1/db/guest/ledger"}
	for i, victim := range victims {
		every := stride()
		if i < 2 { // at each step of the backup
			every = 1
		}
		for k := i % every; k < len(hits) && !t.Failed(); k += every {
			if strike(t, sim.Fault{Point: hits[k].Point, On: hits[k].On, Outcome: sim.Outcome{Kill: victim}}) {
				deaths++
			}
		}
	}
	if least := len(hits)*2*2/3 + len(hits)*(len(victims)-2)/stride()*2/3; deaths < least && !t.Failed() {
		t.Errorf("%d deaths, want %d", deaths, least)
	}
}

// Every single fault that a backup can meet, the first time it meets it.
func TestEverySingleFault(t *testing.T) {
	faults := sim.SingleFaults(append(hyperv.FaultPoints(), requester.FaultPoints()...), clean(t))
	struck, tried := 0, 0
	for i := 0; i < len(faults) && !t.Failed(); i += stride() {
		tried++
		if strike(t, faults[i]) {
			struck++
		}
	}
	if struck != tried && !t.Failed() || len(faults) < 150 {
		t.Errorf("of %d faults %d were tried, and %d struck", len(faults), tried, struck)
	}
}

// The same for good: from the first time on, and then what is left to the
// administrator is named by the audit, whatever that is.
func TestEveryLastingFault(t *testing.T) {
	hits := clean(t)
	for i, f := range sim.SingleFaults(hyperv.FaultPoints(), hits) {
		if i%stride() != 0 || f.Outcome.Err == 0 || t.Failed() {
			continue
		}
		f.From, f.Nth = 1, 0
		l := newLab(t)
		crew(l)
		l.w.Inject(f)
		_, err := l.backup()
		l.advance(30 * time.Minute)
		audit := hyperv.Audit(l.h)
		for _, vm := range l.h.VMs() {
			named := false
			for _, left := range audit {
				named = named || left.On == vm.Name()
			}
			if s := l.prior[vm.Name()]; vm.State() != s && !named {
				t.Errorf("%s is %v and was %v, and the audit does not say so: %v", vm.Name(), vm.State(), s, audit)
			}
		}
		l.w.Heal()
		l.must(l.h.StopManagement(l.ctx()))
		l.must(l.h.StartManagement(l.ctx()))
		l.tidy()
		l.settled(l.casualties()...)
		l.mustBackup()
		l.settled()
		if t.Failed() {
			t.Errorf("after %v: backup: %v; the audit had found %s", f, err, strings.Join(lines(audit), "; "))
		}
		_ = l.w.Close()
	}
}

func lines(audit []hyperv.Leftover) []string {
	var out []string
	for _, left := range audit {
		out = append(out, left.String())
	}
	return out
}
