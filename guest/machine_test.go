package guest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestBootNeedsASystem(t *testing.T) {
	b := newEmptyRig(t)
	b.addDisk(1, guest.NTFS)
	for _, disks := range [][]guest.Attachment{nil, b.Disks, {{Disk: guest.NewDisk(disk.NewMemory(1 << 20))}}} {
		c := b.Config
		c.Disks = disks
		if _, err := guest.Boot(t.Context(), c); !errors.Is(err, guest.ErrNoSystem) {
			t.Errorf("%d disks: %v", len(disks), err)
		}
	}
	b.install(&guest.System{OS: guest.WindowsServer2008, ComputerName: "X"})
	poke(t, b.volume(0), guest.SystemOffset+80, 0xFF)
	if _, err := guest.Boot(t.Context(), b.Config); !errors.Is(err, guest.ErrChecksum) {
		t.Errorf("damaged record: %v", err)
	}
	if b.world.Find("h1/sql01/guest") != nil {
		t.Error("a run that failed to begin is alive")
	}
}

func TestBootFaults(t *testing.T) {
	b := newRig(t, sim.Plan("guest/boot err=0x8007001F", "guest/save err=0x80070070", "guest/resume err=0x8007001F"))
	var fault *sim.FaultError
	if _, err := guest.Boot(t.Context(), b.Config); !errors.As(err, &fault) {
		t.Errorf("boot: %v", err)
	}
	m := b.boot()
	if _, err := m.Save(t.Context()); !errors.As(err, &fault) || m.Ended() {
		t.Errorf("save: %v, ended %v", err, m.Ended())
	}
	b.advance(time.Second)
	_, before := ledger.Check(b.volume(1), b.volume(2))
	b.advance(time.Second)
	if _, after := ledger.Check(b.volume(1), b.volume(2)); after.Last <= before.Last {
		t.Errorf("after a save that failed the ledger stands still at %d", after.Last)
	}
	image, err := m.Save(t.Context())
	b.must(err)
	if _, err := guest.Resume(t.Context(), b.Config, image); !errors.As(err, &fault) {
		t.Errorf("resume: %v", err)
	}
	_, err = guest.Resume(t.Context(), b.Config, image)
	b.must(err)
}

func TestWhatEndsARun(t *testing.T) {
	ctx := t.Context()
	b := newRig(t)
	for name, end := range map[string]func(m *guest.Machine) error{
		"power off": func(m *guest.Machine) error { m.PowerOff(); return nil },
		"shutdown":  func(m *guest.Machine) error { return m.Shutdown(ctx) },
		"save":      func(m *guest.Machine) error { _, err := m.Save(ctx); return err },
		"death":     func(m *guest.Machine) error { m.Actor().Kill(); return nil },
	} {
		m := b.boot()
		r := b.requestor(m)
		b.must(end(m))
		if !m.Ended() {
			t.Errorf("%s: goes on", name)
		}
		m.PowerOff()
		_, saved := m.Save(ctx)
		_, asked := m.Requestor()
		_, snapped := r.Snapshot(ctx, guest.SnapshotOptions{})
		for what, err := range map[string]error{
			"write": m.WriteAt(ctx, "D:", 1<<20, []byte("x")), "save": saved, "shutdown": m.Shutdown(ctx),
			"requestor": asked, "snapshot": snapped, "stop": m.StopService(ctx, "vmicvss"),
			"release": r.Release(ctx, &guest.Snapshot{}),
		} {
			if !errors.Is(err, guest.ErrEnded) {
				t.Errorf("%s, then %s: %v", name, what, err)
			}
		}
		if err := r.Abort(ctx); err != nil {
			t.Errorf("%s, then abort: %v", name, err)
		}
	}
}

// A shutdown flushes the ledger, and a power failure leaves it to the next boot.
func TestShutdownAndPowerFailure(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.advance(3 * time.Second)
	b.must(m.Shutdown(t.Context()))
	verdict, first := ledger.Check(b.volume(1), b.volume(2))
	if verdict != ledger.Application {
		t.Errorf("after a shutdown: %v: %v", verdict, first)
	}
	m = b.boot()
	b.advance(3 * time.Second)
	m.PowerOff()
	verdict, second := ledger.Check(b.volume(1), b.volume(2))
	if verdict != ledger.Crash || second.Last <= first.Last {
		t.Errorf("after a power failure: %v: %v", verdict, second)
	}
	b.boot()
	if verdict, third := ledger.Check(b.volume(1), b.volume(2)); verdict != ledger.Application || third.Last != second.Last {
		t.Errorf("after the next boot: %v: %v; before %v", verdict, third, second)
	}
}

func TestServicesLast(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	ctx := t.Context()
	running := func(m *guest.Machine) bool {
		s, err := guest.ReadSystem(b.volume(0))
		b.must(err)
		if got := m.System().Service(guest.BackupService); s.Service(guest.BackupService) != got {
			t.Errorf("on the disk %+v, in force %+v", s.Service(guest.BackupService), got)
		}
		return s.Service(guest.BackupService).Running
	}
	b.must(m.StopService(ctx, "Hyper-V Volume Shadow Copy Requestor"))
	if running(m) {
		t.Error("runs after a stop")
	}
	m.PowerOff()
	m = b.boot()
	if running(m) {
		t.Error("runs after a restart")
	}
	b.must(m.StartService(ctx, "VMICVSS"))
	b.must(m.Shutdown(ctx))
	if m = b.boot(); !running(m) {
		t.Error("is stopped after a restart")
	}
	if len(m.Services()) != 5 {
		t.Errorf("%d services", len(m.Services()))
	}
	wantReason(t, m.StopService(ctx, "spooler"), guest.ErrNoService)

	// A manual service does not come up with the system.
	m.PowerOff()
	s, err := guest.ReadSystem(b.volume(0))
	b.must(err)
	s.Services[0].Start = guest.StartManual
	s.Services[1] = guest.IntegrationService{Name: s.Services[1].Name}
	b.install(s)
	m = b.boot()
	if running(m) {
		t.Error("a manual service runs after a boot")
	}
	wantReason(t, m.StartService(ctx, "vmicheartbeat"), guest.ErrNotInstalled)
}

// A service cannot be stopped while the disk with the record fails; it goes on
// as before.
func TestServiceRecordFails(t *testing.T) {
	b := newRig(t, sim.Plan("disk/write on=h1/sql01/guest/C: err=0x8007001F"))
	m := b.boot()
	var fault *sim.FaultError
	if err := m.StopService(t.Context(), "vmicvss"); !errors.As(err, &fault) {
		t.Errorf("stop: %v", err)
	}
	if !m.System().Service(guest.BackupService).Running {
		t.Error("stopped all the same")
	}
	b.must(m.StopService(t.Context(), "vmicvss"))
}

// programs are applications for tests.
type program struct {
	step  func(ctx context.Context, e *guest.Env) (time.Duration, error)
	start func(ctx context.Context, e *guest.Env) error
	size  int64
}

func (p *program) Step(ctx context.Context, e *guest.Env) (time.Duration, error) {
	return p.step(ctx, e)
}

func (p *program) Start(ctx context.Context, e *guest.Env) error {
	if p.start == nil {
		return nil
	}
	return p.start(ctx, e)
}

func (p *program) RegionSize() int64 { return p.size }

func idle(context.Context, *guest.Env) (time.Duration, error) { return time.Hour, nil }

func states(w *sim.World) map[string]string {
	out := make(map[string]string)
	for _, e := range w.Trace().Select("guest/program") {
		out[e.Get("program")] = e.Get("state")
	}
	return out
}

// What a program does wrong is its own affair.
func TestProgramsFailAlone(t *testing.T) {
	b := newRig(t)
	b.install(&guest.System{
		OS: guest.WindowsServer2008, ComputerName: "X",
		Programs: []guest.Program{
			{Name: "unknown"}, {Name: "refused"}, {Name: "huge"}, {Name: "broken"}, {Name: "slow"},
			{Name: "crashes"}, {Name: "panics"}, {Name: ledger.Name, Args: map[string]string{"data": "Q:"}}, {Name: "good"}, {Name: "good"},
		},
	})
	make := func(p program) guest.Constructor {
		return func(guest.Program) (guest.Application, error) { p.size = max(p.size, 1); return &p, nil }
	}
	oops := errors.New("oops")
	count := 0
	b.Catalog = guest.Catalog{
		ledger.Name: ledger.New,
		"refused":   func(guest.Program) (guest.Application, error) { return nil, oops },
		"huge":      make(program{step: idle, size: 1 << 40}),
		"broken":    make(program{step: idle, start: func(context.Context, *guest.Env) error { return oops }}),
		"slow":      make(program{step: idle, start: func(ctx context.Context, _ *guest.Env) error { return sim.Sleep(ctx, time.Minute) }}),
		"crashes":   make(program{step: func(context.Context, *guest.Env) (time.Duration, error) { return 0, oops }}),
		"panics":    make(program{step: func(context.Context, *guest.Env) (time.Duration, error) { panic("boom") }}),
		"good":      make(program{step: func(context.Context, *guest.Env) (time.Duration, error) { count++; return 0, nil }}),
	}
	m := b.boot()
	if got := states(b.world); got["slow"] != "slow to start" {
		t.Errorf("slow: %s", got["slow"])
	}
	if b.world.Now() != 30*time.Second {
		t.Errorf("booted after %v", b.world.Now())
	}
	b.advance(time.Minute)
	want := map[string]string{
		"unknown": "not started", "refused": "not started", "huge": "not started", "broken": "crashed", "slow": "started",
		"crashes": "crashed", "panics": "started", "ledger": "crashed", "good": "started", "good#2": "started",
	}
	for name, state := range states(b.world) {
		if state != want[name] {
			t.Errorf("%s %s, want %s", name, state, want[name])
		}
	}
	if len(b.world.Panics()) != 1 {
		t.Errorf("panics: %v", b.world.Panics())
	}
	if n := int(time.Minute / guest.MinRest); count < 2*n || count > 2*n+2 {
		t.Errorf("two programs without rest took %d steps in a minute", count)
	}
	b.must(m.WriteAt(t.Context(), "D:", 1<<20, []byte("x")))
	b.must(m.Shutdown(t.Context()))
}

// A mortal ledger crashes after some steps.
type mortal struct {
	*ledger.Ledger
	steps int
}

func (l *mortal) Step(ctx context.Context, e *guest.Env) (time.Duration, error) {
	if l.steps--; l.steps < 0 {
		return 0, errors.New("segmentation fault")
	}
	return l.Ledger.Step(ctx, e)
}

// A program that crashes is no writer any more, and later backups do without.
func TestCrashEndsTheWriter(t *testing.T) {
	b := newRig(t)
	b.Catalog = guest.Catalog{ledger.Name: func(p guest.Program) (guest.Application, error) {
		l, err := ledger.New(p)
		return &mortal{l.(*ledger.Ledger), 5}, err
	}}
	m := b.boot()
	if n := len(m.VSS().Writers()); n != 1 {
		t.Fatalf("%d writers", n)
	}
	b.advance(time.Second)
	if got := states(b.world)["ledger"]; got != "crashed" || len(m.VSS().Writers()) != 0 {
		t.Errorf("the ledger %s, %d writers", got, len(m.VSS().Writers()))
	}
	s := b.snapshot(m)
	if verdict, report := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:")); verdict != ledger.Crash || report.Last != 5 {
		t.Errorf("%v: %v", verdict, report)
	}
}

// A program that is dead is not asked to stop.
func TestShutdownWithoutTheDead(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.world.Find("h1/sql01/guest/ledger").Kill()
	b.must(m.Shutdown(t.Context()))
	if got := states(b.world)["ledger"]; got != "started" {
		t.Errorf("the ledger %s", got)
	}
}

// A power failure while the programs start leaves no machine.
func TestDeathDuringABoot(t *testing.T) {
	b := newRig(t, sim.Plan("disk/read on=h1/sql01/guest/D: kill=h1/sql01/guest"))
	_, err := guest.Boot(t.Context(), b.Config)
	wantReason(t, err, guest.ErrEnded)
	b.boot()
}

func TestPauseStopsTheClockOfPrograms(t *testing.T) {
	b := newRig(t)
	m := b.boot()
	b.advance(time.Second)
	m.Pause()
	m.Pause()
	_, before := ledger.Check(b.volume(1), b.volume(2))
	b.advance(time.Hour)
	if _, after := ledger.Check(b.volume(1), b.volume(2)); after.Last != before.Last {
		t.Errorf("from %d to %d while paused", before.Last, after.Last)
	}
	_, err := m.Requestor()
	wantReason(t, err, guest.ErrPaused)
	wantReason(t, m.Shutdown(t.Context()), guest.ErrPaused)
	m.Continue()
	m.Continue()
	b.advance(time.Second)
	if _, after := ledger.Check(b.volume(1), b.volume(2)); after.Last <= before.Last || after.Last > before.Last+30 {
		t.Errorf("from %d to %d in a second", before.Last, after.Last)
	}
}

// slowWriter takes two seconds over each step, in the middle of it.
func slowWriter(guest.Program) (guest.Application, error) {
	return &program{size: 8, step: func(ctx context.Context, e *guest.Env) (time.Duration, error) {
		n := make([]byte, 8)
		if _, err := e.Memory.ReadAt(n, 0); err != nil {
			return 0, err
		}
		if n[0]%2 == 1 {
			return 0, errors.New("a step was cut in two")
		}
		n[0]++
		if _, err := e.Memory.WriteAt(n, 0); err != nil {
			return 0, err
		}
		if err := sim.Sleep(ctx, 2*time.Second); err != nil {
			return 0, err
		}
		n[0]++
		_, err := e.Memory.WriteAt(n, 0)
		return time.Second, err
	}}, nil
}

func newSlowRig(t testing.TB) *rig {
	b := newEmptyRig(t)
	b.addDisk(1, guest.NTFS)
	b.install(&guest.System{OS: guest.WindowsServer2008, ComputerName: "SLOW", Programs: []guest.Program{{Name: "slow"}}})
	b.Catalog = guest.Catalog{"slow": slowWriter}
	return b
}

// A save falls between steps, also in a machine that was paused within one.
func TestSaveWaitsForTheStep(t *testing.T) {
	for _, paused := range []bool{false, true} {
		b := newSlowRig(t)
		m := b.boot()
		b.advance(4 * time.Second) // the second step began at 3s
		if paused {
			m.Pause()
			b.advance(time.Minute)
		}
		start := b.world.Now()
		image, err := m.Save(t.Context())
		b.must(err)
		if took := b.world.Now() - start; took != time.Second {
			t.Errorf("paused %v: saved after %v", paused, took)
		}
		mem, err := guest.OpenMemory(image)
		b.must(err)
		if r := mem.Regions()[0]; r.Rest != time.Second {
			t.Errorf("paused %v: rests %v", paused, r.Rest)
		}
		_, err = guest.Resume(t.Context(), b.Config, image)
		b.must(err)
		b.advance(10 * time.Second)
		if got := states(b.world)["slow"]; got != "started" {
			t.Errorf("paused %v: the program %s\n%s", paused, got, b.world.Trace())
		}
	}
}

func TestSaveThatIsGivenUp(t *testing.T) {
	b := newSlowRig(t)
	m := b.boot()
	b.advance(4 * time.Second)
	m.Pause()
	b.advance(time.Second)
	err := b.world.Do(t.Context(), func(ctx context.Context) error {
		ctx, cancel := sim.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := m.Save(ctx)
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) || m.Ended() || !m.Paused() {
		t.Fatalf("%v, ended %v, paused %v", err, m.Ended(), m.Paused())
	}
	m.Continue()
	count := func() byte {
		r, _ := m.Memory().Region("slow")
		n := make([]byte, 1)
		_, err := r.ReadAt(n, 0)
		b.must(err)
		return n[0]
	}
	before := count()
	b.advance(10 * time.Second)
	if got := states(b.world)["slow"]; got != "started" || count() < before+6 {
		t.Errorf("the program %s, and counted from %d to %d", got, before, count())
	}
	if _, err := m.Save(t.Context()); err != nil {
		t.Errorf("a later save: %v", err)
	}
}

func TestTwoSavesAtOnce(t *testing.T) {
	b := newSlowRig(t)
	m := b.boot()
	b.advance(4 * time.Second)
	err := b.world.Do(t.Context(), func(ctx context.Context) error {
		first := sim.Go(ctx, "first", func(ctx context.Context) error { _, err := m.Save(ctx); return err })
		if err := sim.Yield(ctx); err != nil {
			return err
		}
		_, err := m.Save(ctx)
		wantReason(t, err, guest.ErrBusy)
		return first.Wait(ctx)
	})
	b.must(err)
}

func TestDeathDuringASave(t *testing.T) {
	b := newSlowRig(t)
	m := b.boot()
	b.advance(4 * time.Second)
	b.vm.Go("power failure", func(ctx context.Context) error {
		err := sim.Sleep(ctx, 300*time.Millisecond)
		m.PowerOff()
		return err
	})
	_, err := m.Save(t.Context())
	wantReason(t, err, guest.ErrEnded)
}

// A machine that is saved and resumed at any instants, and stays saved for any
// time between, ends with the very bytes of one that was never interrupted, but
// for the time stamps in its records.
func TestSaveAndResumeChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64Range(0, 99).Draw(rt, "seed")
		steps := rapid.SliceOfN(rapid.IntRange(0, int(time.Second)), 1, 6).Draw(rt, "runs")
		downtime := rapid.SampledFrom([]time.Duration{0, 0, time.Minute}).Draw(rt, "downtime")
		pause := rapid.SampledFrom([]string{"no", "and save", "and go on"}).Draw(rt, "pause first")

		total := time.Duration(0)
		b := newRig(t, sim.Seed(seed))
		m := b.boot()
		for _, d := range steps {
			b.advance(time.Duration(d))
			total += time.Duration(d)
			if pause != "no" {
				m.Pause()
				b.advance(downtime)
			}
			if pause == "and go on" {
				m.Continue()
			}
			image, err := m.Save(t.Context())
			b.must(err)
			b.advance(downtime)
			m, err = guest.Resume(t.Context(), b.Config, image)
			b.must(err)
		}
		b.advance(3 * time.Second)

		whole := newRig(t, sim.Seed(seed))
		n := whole.boot()
		whole.advance(total + 3*time.Second)

		got, want := outcome(t, b, m), outcome(t, whole, n)
		if downtime > 0 {
			got.digest, want.digest = "", ""
		}
		if got != want {
			rt.Fatalf("saved and resumed: %+v\nnever interrupted: %+v", got, want)
		}
	})
}

type ended struct {
	verdict  ledger.Consistency
	balances string
	last     uint64
	digest   string // of the volumes and the ledger's memory
}

func outcome(t testing.TB, b *rig, m *guest.Machine) ended {
	t.Helper()
	verdict, report := ledger.Check(b.volume(1), b.volume(2))
	e := ended{verdict: verdict, balances: fmt.Sprint(report.Balances), last: report.Last}
	region, ok := m.Memory().Region("ledger")
	if !ok {
		t.Fatal("no region")
	}
	for _, s := range []disk.Store{b.volume(1), b.volume(2), region} {
		sum, err := disk.Digest(s)
		b.must(err)
		e.digest += fmt.Sprintf("%x ", sum[:4])
	}
	return e
}

// Without any choice the machine does the same in each run, and another seed
// makes another ledger.
func TestSeedsMakeLedgers(t *testing.T) {
	run := func(opts ...sim.Option) string {
		b := newRig(t, opts...)
		m := b.boot()
		b.advance(3 * time.Second)
		return outcome(t, b, m).digest
	}
	if a, b := run(sim.Seed(1)), run(sim.Seed(1)); a != b {
		t.Errorf("one seed gives %s and %s", a, b)
	}
	if a, b := run(sim.Seed(1)), run(sim.Seed(2)); a == b {
		t.Errorf("two seeds give %s", a)
	}
}

// A backup that a save cuts off leaves nothing frozen in the machine that is
// resumed, and nothing kept in its disks.
func TestSaveCutsABackupOff(t *testing.T) {
	for _, plan := range []string{
		"vss/thaw delay=30s", "vss/post-snapshot delay=30s", "provider/commit delay=5s", "vss/freeze delay=20s", "provider/pre-commit delay=20s",
		"guest/snapshot delay=30s",
	} {
		t.Run(strings.Fields(plan)[0], func(t *testing.T) {
			b := newRig(t, sim.Plan(plan))
			m := b.boot()
			b.advance(time.Second)
			r := b.requestor(m)
			done := b.vm.Go("host", func(ctx context.Context) error {
				_, err := r.Snapshot(ctx, guest.SnapshotOptions{})
				return err
			})
			b.advance(3 * time.Second)
			image, err := m.Save(t.Context())
			b.must(err)
			err = b.world.Do(t.Context(), done.Wait)
			wantReason(t, err, guest.ErrEnded)
			if left := b.world.Unreached(); len(left) > 0 {
				t.Fatalf("not reached: %v", left)
			}

			m, err = guest.Resume(t.Context(), b.Config, image)
			b.must(err)
			b.settled(m)
			_, before := ledger.Check(b.volume(1), b.volume(2))
			b.advance(time.Second)
			if _, after := ledger.Check(b.volume(1), b.volume(2)); after.Last <= before.Last {
				t.Errorf("the ledger stands still at %d", after.Last)
			}
			s := b.snapshot(m)
			if verdict, report := ledger.Check(b.copyOf(s, "D:"), b.copyOf(s, "E:")); verdict != ledger.Application {
				t.Errorf("the next backup: %v: %v", verdict, report)
			}
		})
	}
}
