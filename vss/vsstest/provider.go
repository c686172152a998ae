package vsstest

import (
	"context"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A ProviderEnv is where a provider under test lives.
type ProviderEnv struct {
	World   *sim.World
	Actor   *sim.Actor // the provider's process, on which it is called
	Service *vss.Service
	Volumes []*Volume // D:\ and E:\ with NTFS, F:\ with FAT32; an application writes to them all the time
}

// A NewProvider makes a provider, in a process of the environment's actor.
type NewProvider func(ctx context.Context, env *ProviderEnv) (vss.Provider, error)

// ProviderOptions say what a kit must know about a provider.
type ProviderOptions struct {
	// Config is what the provider is registered with; Actor, and an ID and a name
	// if they are missing, are the kit's.
	Config vss.ProviderConfig

	// ReadOnly says that the provider's copies are never writable: it does not
	// support auto-recovery.
	ReadOnly bool

	Stuck  time.Duration // as in [WriterOptions]
	Runs   int
	Replay string
	World  []sim.Option
}

// TestProvider exercises providers and returns what they did wrong, joined: each
// a [*Broken]. It calls a provider directly, set after set, in the order of the
// service and out of it, gives sets up at every step, spoils its volumes' copies,
// and looks at the copies all the time; and it makes backups through the service
// with every fault of the provider's calls.
func TestProvider(newProvider NewProvider, o ProviderOptions) error {
	return providerKit(newProvider, o).test()
}

// RunProvider does the same as sub-tests; the random sequences are rapid's.
func RunProvider(t *testing.T, newProvider NewProvider, o ProviderOptions) {
	t.Helper()
	providerKit(newProvider, o).subtests(t)
}

func providerKit(newProvider NewProvider, o ProviderOptions) *kit {
	if o.Config.ID == (guid.GUID{}) {
		o.Config.ID = guid.MustParse("3d7c1f54-9a40-4a5e-8f0b-5c7d0e1a2b33")
	}
	if o.Config.Name == "" {
		o.Config.Name = "Provider under test"
	}
	k := &kit{
		cases: providerCases(), draw: drawProviderScript, world: o.World,
		runs: o.Runs, stuck: o.Stuck, replay: o.Replay, running: promiseProviderTurns,
	}
	if k.runs == 0 {
		k.runs = defaultRuns
	}
	if k.stuck == 0 {
		k.stuck = defaultStuck
	}
	k.run = func(w *sim.World, s script) []*Broken { return runProvider(w, s, newProvider, o) }
	return k
}

// What a provider promises.
const (
	promiseProviderTurns     Promise = "a call waits only where the world can see it"
	promiseProviderGoroutine Promise = "a call starts processes and no goroutine"
	promiseProviderContext   Promise = "a call uses the context it was given"
	promiseProviderPanic     Promise = "a provider does not panic"
	promiseProviderStart     Promise = "a provider starts"
	promiseProviderClean     Promise = "a set in which nothing goes wrong is made (Shadow Copy Creation for Providers)"
	promiseProviderCode      Promise = "a call that fails reports a provider's code (Error Handling in Shadow Copy Providers)"
	promiseProviderOrder     Promise = "a call out of order is refused (State Transitions in Shadow Copy Providers)"
	promiseProviderSupport   Promise = "a volume that is supported can be copied, and the answer stays the same (IVssSoftwareSnapshotProvider::IsVolumeSupported)"
	promiseProviderImage     Promise = "a copy holds what its volume held when writes were held (CommitSnapshots)"
	promiseProviderEarly     Promise = "there is no copy before CommitSnapshots"
	promiseProviderQuick     Promise = "CommitSnapshots ends while writes are held (Required Behaviors for Shadow Copy Providers)"
	promiseProviderRecovery  Promise = "a copy can be changed until PostFinalCommitSnapshots, if auto-recovery is allowed (PreFinalCommitSnapshots)"
	promiseProviderSealed    Promise = "a finished copy is read-only (PostFinalCommitSnapshots)"
	promiseProviderNothing   Promise = "nothing is left of a set that was given up (AbortSnapshots)"
	promiseProviderAbort     Promise = "AbortSnapshots succeeds in any state, and again"
	promiseProviderKeeps     Promise = "a finished copy stays until it is deleted"
	promiseProviderDelete    Promise = "DeleteSnapshot deletes one copy, and knows no other"
	promiseProviderOriginal  Promise = "the volume itself is left alone"
	promiseProviderProps     Promise = "the properties of a copy are filled in (VSS_SNAPSHOT_PROP)"
	promiseProviderDeadlock  Promise = "a call comes to an end"
)
