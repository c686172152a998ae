package vsstest

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A WriterEnv is where a writer under test lives.
type WriterEnv struct {
	World   *sim.World
	Actor   *sim.Actor   // the writer's process: handlers and load run on it, and it is killed
	Volume  *Volume      // D:\, which keeps its files when the process dies
	Service *vss.Service // of the machine

	run *writerRun
}

// Use says that the writer keeps its data on volumes of its own instead of
// [WriterEnv.Volume]. Writes to them must be events "disk/write" of the writer's
// actors, or of actors below, with the volume's name. A process that starts anew
// calls it again with the volumes it has then.
func (e *WriterEnv) Use(volumes ...vss.Volume) error { return e.run.use(volumes) }

// A NewWriter starts a writer: it is called in a process of the environment's
// actor, at first on an empty volume, and again whenever the process was killed,
// with what the volume holds then.
type NewWriter func(ctx context.Context, env *WriterEnv) (vss.Writer, error)

// WriterOptions say what a kit must know about a writer. The zero value is that
// of a writer that does nothing by itself.
type WriterOptions struct {
	// Config is what the writer subscribes with; Actor, and a class and a name if
	// they are missing, are the kit's.
	Config vss.WriterConfig

	// Load does one piece of the writer's daily work, such as a transaction. It is
	// called over and over in a process of the writer's actor, and may wait while
	// the writer is frozen. An error that comes from no planned fault is a broken
	// promise.
	Load func(ctx context.Context, w vss.Writer) error

	// Consistent judges the image that a backup of the writer holds: the files of
	// [WriterEnv.Volume], or a directory for each volume of the writer's own by its
	// letter ("D/…"). It must not accept an image that the writer could not go on
	// from.
	Consistent func(image fs.FS) error

	// Restored, if it is not nil, tells whether a writer has taken an image into
	// use. It is asked when PostRestore has returned, before the load can go on.
	Restored func(w vss.Writer, image fs.FS) error

	// Patience is how long, in virtual time, the load may rest where it could
	// write; 2 s if it is zero.
	Patience time.Duration

	// Stuck is how long, in real time, a handler may keep its turn; 10 s if it is
	// zero.
	Stuck time.Duration

	// Runs is the number of random sequences that TestWriter tries; 100 if it is
	// zero, none if it is negative. RunWriter takes rapid's flag instead.
	Runs int

	// Replay repeats the one run that a finding names.
	Replay string

	// World goes to each world.
	World []sim.Option
}

const (
	defaultPatience = 2 * time.Second
	eventWindow     = 5 * time.Minute // how long the kit's service waits for a handler
)

// TestWriter exercises writers and returns what they did wrong, joined: each a
// [*Broken]. It makes backups in every way a requester may go, well and badly,
// restores, and what can strike on the way: refusals, failures of providers and
// volumes, windows that run out, the death of the requester and of the writer.
// The same writer gets the same runs every time.
func TestWriter(newWriter NewWriter, o WriterOptions) error { return writerKit(newWriter, o).test() }

// RunWriter does the same as sub-tests. The random sequences are those of
// package rapid, with its flags.
func RunWriter(t *testing.T, newWriter NewWriter, o WriterOptions) {
	t.Helper()
	writerKit(newWriter, o).subtests(t)
}

func writerKit(newWriter NewWriter, o WriterOptions) *kit {
	if o.Config.ClassID == (guid.GUID{}) {
		o.Config.ClassID = guid.MustParse("7b0e3c52-57c1-4e64-9f2a-2f4e6f6b7a11")
	}
	if o.Config.Name == "" {
		o.Config.Name = "Writer under test"
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	k := &kit{
		cases: writerCases(), draw: drawWriterScript, world: o.World,
		runs: o.Runs, stuck: o.Stuck, replay: o.Replay, running: promiseTurns,
	}
	if k.runs == 0 {
		k.runs = defaultRuns
	}
	if k.stuck == 0 {
		k.stuck = defaultStuck
	}
	k.run = func(w *sim.World, s script) []*Broken { return runWriter(w, s, newWriter, o) }
	return k
}

// What a writer promises. The names say which page of the documentation has it
// where there is one.
const (
	promiseTurns     Promise = "a handler waits only where the world can see it"
	promiseGoroutine Promise = "a handler starts processes and no goroutine"
	promiseContext   Promise = "a handler uses the context it was given"
	promisePanic     Promise = "a writer does not panic"
	promiseStart     Promise = "a writer starts with what its volume holds"
	promiseIdentify  Promise = "Identify succeeds at any time, also in the middle of a session (CVssWriter::OnIdentify)"
	promiseMetadata  Promise = "the metadata keeps the rules for writers (Writer Metadata Document Contents)"
	promiseStable    Promise = "the metadata is the same whenever it is asked for"
	promiseComplete  Promise = "the file sets name all that a consistent image needs"
	promiseClean     Promise = "a backup in which nothing goes wrong succeeds"
	promiseCode      Promise = "a handler that fails reports a writer's code (CVssWriter::SetWriterFailure)"
	promiseMissing   Promise = "a set without the writer's volumes is no failure, or an inconsistent snapshot"
	promiseQuiet     Promise = "nothing is written between Freeze and Thaw (CVssWriter::OnFreeze)"
	promiseImage     Promise = "the frozen image is consistent"
	promiseRecovered Promise = "the recovered image is consistent"
	promiseGoesOn    Promise = "the load goes on after Thaw and after Abort (CVssWriter::OnThaw, OnAbort)"
	promiseAbort     Promise = "Abort succeeds in any state, and again (Aborting VSS Operations)"
	promiseForgets   Promise = "nothing of a set that was given up shows in the next backup"
	promiseReturns   Promise = "a handler returns when its window is over"
	promiseDocument  Promise = "what the writer adds to the document can be stored and read"
	promiseLogs      Promise = "logs are truncated only when a backup has succeeded (CVssWriter::OnBackupComplete)"
	promiseRestore   Promise = "a restore in which nothing goes wrong succeeds"
	promiseTaken     Promise = "PostRestore takes the restored files into use (CVssWriter::OnPostRestore)"
	promiseOffline   Promise = "nothing is written between PreRestore and PostRestore (CVssWriter::OnPreRestore)"
	promiseLoad      Promise = "the load does not fail"
	promiseDeadlock  Promise = "a backup comes to an end"
)
