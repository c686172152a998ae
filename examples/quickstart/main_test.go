package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/internal/testmain"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestMain(m *testing.M) { testmain.CollectLess(m) }

var update = flag.Bool("update", false, "rewrite testdata")

// command runs the program as a shell would.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestTranscript(t *testing.T) {
	status, stdout, stderr := command(t)
	if status != exitGood || stderr != "" {
		t.Errorf("exit status %d, standard error %q", status, stderr)
	}
	golden := filepath.Join("testdata", "transcript.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(stdout), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(stdout, "\n")); d != "" {
		t.Errorf("the transcript has changed; -update rewrites it (-want +got):\n%s", d)
	}
}

func TestSeeds(t *testing.T) {
	first := ""
	differ := false
	for _, seed := range []string{"1", "2", "3", "4"} {
		status, stdout, stderr := command(t, "-seed", seed)
		if status != exitGood {
			t.Errorf("seed %s: exit status %d, %s\n%s", seed, status, stderr, stdout)
		}
		if _, again, _ := command(t, "-seed", seed); again != stdout {
			t.Errorf("seed %s gives two different runs", seed)
		}
		differ = differ || first != "" && stdout != first
		first = stdout
	}
	if !differ {
		t.Error("all seeds give the same run")
	}
}

func TestBadUse(t *testing.T) {
	dir := t.TempDir()
	malformed := filepath.Join(dir, "malformed.vhd")
	if err := os.WriteFile(malformed, bytes.Repeat([]byte("conectix"), 200), 0o666); err != nil {
		t.Fatal(err)
	}
	occupied := filepath.Join(dir, "occupied")
	if err := os.WriteFile(occupied, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(dir, "precious", "Writers")
	if err := os.MkdirAll(precious, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(precious, "novel.txt"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	trailing := filepath.Join(dir, "trailing.vhd")
	if err := os.WriteFile(trailing, append(emptyVHD(t), 0), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-vhd", trailing},
		{"-out", filepath.Dir(precious)},
		{"-fault", "vss/freeze", "-fault", "vss/thaw"},
		{"-fault", "hyperv/save=hang"},
		{"-fault", "vss/freeze kill=h1"},
		{"-nonsense"},
		{"-seed", "many"},
		{"extra"},
		{"-vhd", filepath.Join(dir, "missing.vhd")},
		{"-vhd", dir},
		{"-vhd", malformed},
		{"-vhd", occupied},
		{"-out", occupied},
		{"-trace", filepath.Join(dir, "no", "trace")},
		{"-fault", "vss/nonsense"},
		{"-fault", "vss/freeze=nonsense"},
		{"-fault", "vss/freeze nonsense"},
		{"-fault", "vss/freeze=err=0"},
	} {
		status, _, stderr := command(t, args...)
		if status != exitUsage || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "quickstart: ") {
			t.Errorf("%q: exit status %d, standard error %q", args, status, stderr)
		}
	}
}

// emptyVHD is a dynamic image without a block.
func emptyVHD(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := vhd.Write(&b, disk.NewMemory(8<<20), vhd.Options{Size: 8 << 20, Type: vhd.Dynamic}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestImagesOfAnyName: the name of an image does not matter, be it one that a
// disk of sql01 has already or one that Windows does not allow.
func TestImagesOfAnyName(t *testing.T) {
	for _, name := range []string{"data.vhd", "LOG.VHD", "ü&x.vhd", "CON.vhd", "noextension"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, emptyVHD(t), 0o666); err != nil {
			t.Skipf("%s cannot be made here: %v", name, err)
		}
		status, stdout, stderr := command(t, "-vhd", path)
		if status != exitGood || !strings.Contains(stdout, "GUEST_FS_NO_SNAPSHOT") || !strings.Contains(stdout, "is unchanged") {
			t.Errorf("%s: exit status %d, %s\n%s", name, status, stderr, stdout)
		}
	}
}

func TestHelpAndListing(t *testing.T) {
	if status, stdout, _ := command(t, "-help"); status != exitGood || !strings.Contains(stdout, "-list-faults") {
		t.Errorf("-help: exit status %d, %q", status, stdout)
	}
	status, stdout, stderr := command(t, "-list-faults")
	if status != exitGood || stderr != "" {
		t.Errorf("-list-faults: exit status %d, %s", status, stderr)
	}
	for _, p := range points() {
		if !strings.Contains(stdout, string(p.Point)+" ") {
			t.Errorf("-list-faults leaves out %s", p.Point)
		}
	}
}

func TestTraceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.jsonl")
	if status, _, stderr := command(t, "-trace", path); status != exitGood {
		t.Fatalf("exit status %d, %s", status, stderr)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("\n")); n < 200 || !bytes.Contains(data, []byte(`"R33"`)) {
		t.Errorf("the trace has %d lines: %.200s", n, data)
	}
}

func TestFaultShowsHowItEnded(t *testing.T) {
	status, stdout, stderr := command(t, "-fault", "vss/freeze on=*/ledger err=0x800423F4")
	if status != exitFault {
		t.Errorf("exit status %d, %s", status, stderr)
	}
	for _, want := range []string{
		"Microsoft Hyper-V VSS Writer: VSS_WS_FAILED_AT_PREPARE_SNAPSHOT, VSS_E_WRITERERROR_NONRETRYABLE (0x800423F4)",
		"ok      files01 is running",
		"ok      pause01 is paused",
		"ok      the audit of h1 is clean",
		"ok      the next backup succeeds",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the transcript lacks %q:\n%s", want, stdout)
		}
	}
}

func TestFaultThatIsNeverReached(t *testing.T) {
	status, _, stderr := command(t, "-fault", "vss/freeze on=nobody hang")
	if status != exitUsage || !strings.Contains(stderr, "never reached") {
		t.Errorf("exit status %d, %q", status, stderr)
	}
}

// tellWith runs the story with faults and returns its exit status.
func tellWith(t *testing.T, out io.Writer, faults ...sim.Fault) (*story, int) {
	t.Helper()
	w := sim.New()
	defer func() { _ = w.Close() }() // its trace stays readable
	s := &story{ctx: context.Background(), w: w, out: out, target: &requester.Memory{}, faults: faults}
	status, err := s.tell()
	if err != nil {
		t.Fatal(err)
	}
	return s, status
}

// TestEverySingleFault injects, one run each, every outcome at every point that
// the story reaches, for every object that reaches it.
func TestEverySingleFault(t *testing.T) {
	clean, status := tellWith(t, io.Discard)
	if status != exitGood {
		t.Fatalf("the clean run ends with %d", status)
	}
	faults := sim.SingleFaults(points(), clean.reached())
	if len(faults) < 200 {
		t.Fatalf("only %d faults", len(faults))
	}
	for i, f := range faults {
		if testing.Short() && i%8 != 0 {
			continue
		}
		var out bytes.Buffer
		if _, status := tellWith(t, &out, f); status != exitFault {
			t.Errorf("%v: exit status %d\n%s", f, status, out.String())
		}
	}
	t.Logf("%d faults", len(faults))
}
