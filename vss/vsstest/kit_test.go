package vsstest_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// twinNamed makes the writer of the twin with a mistake that begins so.
func twinNamed(t *testing.T, mistake string) vsstest.NewWriter {
	for _, m := range journalTwins {
		if strings.HasPrefix(m.mistake, mistake) {
			return func(ctx context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
				j, err := openJournal(ctx, env)
				w := &twin{journal: j}
				m.make(w)
				return w, err
			}
		}
	}
	t.Fatalf("no twin %q", mistake)
	return nil
}

// Each line repeats what was found, and nothing is found where it goes well.
func TestReplayRepeats(t *testing.T) {
	for _, mistake := range []string{"Abort fails where nothing", "a copy backup truncates"} {
		o := journalOptions()
		o.Runs = -1
		err := vsstest.WriterUntil(twinNamed(t, mistake), o, func(vsstest.Promise) bool { return true })
		found := err.(interface{ Unwrap() []error }).Unwrap()
		for _, e := range found[:min(3, len(found))] {
			b := e.(*vsstest.Broken)
			o.Replay = b.Replay
			if got := vsstest.Promises(vsstest.TestWriter(twinNamed(t, mistake), o)); !slices.Contains(got, b.Promise) {
				t.Errorf("%s: %q gave %q, not %q", mistake, b.Replay, got, b.Promise)
			}
			if err := vsstest.TestWriter(newJournal, o); err != nil {
				t.Errorf("the good journal with %q: %v", b.Replay, err)
			}
		}
	}
}

// What random runs find shrinks to the steps that it takes.
func TestFindingsShrink(t *testing.T) {
	o := journalOptions()
	o.Runs = 100
	for mistake, want := range map[string]string{
		"a copy backup truncates":   "backup type=copy",
		"PostRestore stays offline": "backup; restore",
		"Freeze flushes and does":   "restore", // of nothing: every run ends with a backup
	} {
		err := vsstest.WriterAtRandom(twinNamed(t, mistake), o)
		var lines []string
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			lines = append(lines, e.(*vsstest.Broken).Replay)
		}
		if !slices.Contains(lines, want) {
			t.Errorf("%s: no %q in %q", mistake, want, lines)
		}
	}
}

// A restore for which the writer is stopped waits for the backup beside it.
func TestRestoreBesideBackup(t *testing.T) {
	o := noteOptions()
	o.Replay = "backup; backup beside=Copy:restore"
	if err := vsstest.TestWriter(newNote, o); err != nil {
		t.Error(err)
	}
}

// A line that depends on the order of processes holds the order.
func TestReplayWithOrder(t *testing.T) {
	o := journalOptions()
	o.Replay = "backup; order run/2=1"
	if err := vsstest.TestWriter(newJournal, o); err != nil {
		t.Error(err)
	}
	for line, want := range map[string]vsstest.Promise{
		"dance": "the line can be read", "fault vss/freeze": "the line can be read", "backup; order run": "the line can be read",
		"backup; order walk/2=1": "the run repeats", "backup; order run/17=1": "the run repeats",
	} {
		o.Replay = line
		if got := vsstest.Promises(vsstest.TestWriter(newJournal, o)); !slices.Equal(got, []vsstest.Promise{want}) {
			t.Errorf("%q gave %q", line, got)
		}
	}
}

// What a factory gets wrong is told as well.
func TestNoWriter(t *testing.T) {
	for _, fn := range []vsstest.NewWriter{
		func(context.Context, *vsstest.WriterEnv) (vss.Writer, error) { return nil, nil },
		func(context.Context, *vsstest.WriterEnv) (vss.Writer, error) { return nil, fs.ErrNotExist },
		func(context.Context, *vsstest.WriterEnv) (vss.Writer, error) { panic("no") },
	} {
		o := journalOptions()
		o.Replay = "backup"
		if got := vsstest.Promises(vsstest.TestWriter(fn, o)); len(got) == 0 || got[0] != "a writer starts with what its volume holds" {
			t.Errorf("%q", got)
		}
	}
}

// A finding is a sentence, and the line that repeats it.
func TestFindingReads(t *testing.T) {
	o := journalOptions()
	o.Replay = "backup; backup type=copy"
	err := vsstest.TestWriter(twinNamed(t, "a copy backup truncates"), o)
	for _, part := range []string{
		"BackupComplete at ", ": logs are truncated only when a backup has succeeded (CVssWriter::OnBackupComplete): journal/log went from ",
		"\n\treplay with Replay: \"backup; backup type=copy\"",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %v", part, err)
		}
	}
}

// So with a provider.
func TestNoProvider(t *testing.T) {
	for _, fn := range []vsstest.NewProvider{
		func(context.Context, *vsstest.ProviderEnv) (vss.Provider, error) { return nil, nil },
		func(context.Context, *vsstest.ProviderEnv) (vss.Provider, error) { return nil, fs.ErrNotExist },
	} {
		got := vsstest.Promises(vsstest.TestProvider(fn, vsstest.ProviderOptions{Replay: "backup volume=D"}))
		if !slices.Equal(got, []vsstest.Promise{"a provider starts"}) {
			t.Errorf("%q", got)
		}
	}
}

// The files of a volume and of its copies are a file system in every way, a copy
// stays as it was, and nobody writes to a sealed one.
func TestVolume(t *testing.T) {
	w := sim.New()
	defer w.Close()
	v := vsstest.NewVolume("D:")
	err := w.Do(t.Context(), func(ctx context.Context) error {
		id := [16]byte{1}
		err := errors.Join(v.WriteFile(ctx, "a/b", []byte("one")), v.Append(ctx, "a/b", []byte(" two")), v.CreateShadow(ctx, id), v.Append(ctx, "a/b", []byte(" three")))
		files, e := v.OpenShadow(id)
		if err := errors.Join(err, e, fstest.TestFS(files, "a/b"), fstest.TestFS(v.Files(), "a/b")); err != nil {
			return err
		}
		live, _ := v.ReadFile("a/b")
		copied, _ := fs.ReadFile(files, "a/b")
		if string(live) != "one two three" || string(copied) != "one two" {
			t.Errorf("%q, and %q in the copy", live, copied)
		}
		c := files.(vsstest.WritableFS)
		if err := errors.Join(c.WriteFile("c", nil), c.Remove("a/b"), v.SealShadow(ctx, id)); err != nil {
			return err
		}
		if err := c.WriteFile("d", nil); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a sealed copy: %v", err)
		}
		if err := v.DeleteShadow(ctx, id); err != nil {
			return err
		}
		for _, err := range []error{v.DeleteShadow(ctx, id), v.SealShadow(ctx, id), v.Remove(ctx, "x")} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v", err)
			}
		}
		return v.FlushAndHold(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.WriteFile(t.Context(), "a", nil); !errors.Is(err, sim.ErrContext) {
		t.Errorf("with an ordinary context: %v", err)
	}
	if err := w.Do(t.Context(), func(ctx context.Context) error { return v.WriteFile(ctx, "a", nil) }); err == nil {
		t.Error("a write during the hold")
	}
}
