package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata")

// command runs the program as a shell would.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(args, &out, &errs)
	return status, out.String(), errs.String()
}

// TestTranscripts: every story, the wrong way and with the remedy.
func TestTranscripts(t *testing.T) {
	for _, story := range storyNames() {
		for file, args := range map[string][]string{story: {"-story", story}, story + "-remedy": {"-story", story, "-remedy"}} {
			t.Run(file, func(t *testing.T) {
				status, stdout, stderr := command(t, args...)
				want := exitTrouble
				if len(args) == 3 {
					want = exitGood
				}
				if status != want || stderr != "" {
					t.Errorf("exit status %d, want %d; standard error %q", status, want, stderr)
				}
				golden := filepath.Join("testdata", file+".txt")
				if *update {
					if err := os.WriteFile(golden, []byte(stdout), 0o666); err != nil {
						t.Fatal(err)
					}
				}
				text, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), strings.Split(stdout, "\n")); d != "" {
					t.Errorf("the transcript has changed; -update rewrites it (-want +got):\n%s", d)
				}
			})
		}
	}
}

// What makes each story: the rules it has to cite, and what must not be in it.
func TestStoriesTellTheirRules(t *testing.T) {
	for _, c := range []struct {
		file       string
		has, lacks []string
	}{
		{"backup", []string{"[R60]", "[R62]", "[R63]", "EVENT 1069", "FAILED_AT_POST_SNAPSHOT"}, nil},
		{"backup-remedy", []string{"[R64]"}, []string{"[R60]", "EVENT", "fails over"}},
		{"restore", []string{"[R61]", "[R62]", "[R63]", "is registered on h1 and h2"}, nil},
		{"restore-remedy", []string{"[R65]"}, []string{"[R61]", "EVENT", "fails over"}},
		{"csv", []string{"ERROR_CLUSTER_BACKUP_IN_PROGRESS"}, nil},
		{"csv-remedy", []string{"at the second try"}, []string{"refused"}},
		{"crash", []string{"kill=h1", "EVENT 1135", "h1: is ClusterNodeDown"}, nil},
		{"crash-remedy", []string{"node h1: Joining -> Up"}, []string{"to do:"}},
		{"partition", []string{"EVENT 1177, node h1", "EVENT 1177, node h2", "the cluster runs again"}, []string{"EVENT 1135"}},
		{"partition-remedy", []string{"EVENT 1177, node h2", "EVENT 1135, node h2", "quorum is kept: 2 of 3"}, []string{"EVENT 1177, node h1", "to do:"}},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", c.file+".txt")) // TestTranscripts compares it
		if err != nil {
			t.Fatal(err)
		}
		stdout := string(b)
		for _, s := range c.has {
			if !strings.Contains(stdout, s) {
				t.Errorf("%s does not tell of %s", c.file, s)
			}
		}
		for _, s := range c.lacks {
			if strings.Contains(stdout, s) {
				t.Errorf("%s tells of %s", c.file, s)
			}
		}
	}
}

func TestSeeds(t *testing.T) {
	seen := make(map[string]bool)
	for _, run := range []struct{ story, seed string }{{"backup", "1"}, {"backup", "2"}, {"restore", "1"}, {"csv", "1"}, {"crash", "1"}, {"partition", "1"}} {
		status, stdout, stderr := command(t, "-story", run.story, "-seed", run.seed)
		if status != exitTrouble {
			t.Errorf("%v: exit status %d, %s\n%s", run, status, stderr, stdout)
		}
		if seen[stdout] {
			t.Errorf("%v: seen before", run)
		}
		seen[stdout] = true
	}
	if _, again, _ := command(t, "-seed", "2"); !seen[again] {
		t.Error("seed 2 gives two different runs")
	}
}

func TestBadUse(t *testing.T) {
	for _, args := range [][]string{
		{"-nonsense"},
		{"-seed", "many"},
		{"extra"},
		{"-story", "fairy"},
		{"-story", ""},
		{"-remedy=perhaps"},
		{"-trace", filepath.Join(t.TempDir(), "no", "trace")},
	} {
		status, _, stderr := command(t, args...)
		if status != exitUsage || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "cluster: ") {
			t.Errorf("%q: exit status %d, standard error %q", args, status, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	status, stdout, _ := command(t, "-help")
	if status != exitGood || !strings.Contains(stdout, "-remedy") || !strings.Contains(stdout, "backup, restore, csv, crash") {
		t.Errorf("-help: exit status %d, %q", status, stdout)
	}
}

func TestTraceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace.jsonl")
	if status, _, stderr := command(t, "-trace", path); status != exitTrouble {
		t.Fatalf("exit status %d, %s", status, stderr)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("\n")); n < 200 || !bytes.Contains(data, []byte(`"R62"`)) {
		t.Errorf("the trace has %d lines: %.200s", n, data)
	}
}
