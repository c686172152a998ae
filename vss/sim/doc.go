// Package sim is the world a simulation lives in: virtual time, processes,
// choices, faults and the trace.
//
// A [World] runs processes one at a time. A process is a coroutine that belongs
// to an [Actor]; it gives way where it blocks: in [Sleep], in [Yield], in a wait
// for a [Signal], a [Mutex], a [Gate] or another process. Time stands still
// while anything can run and jumps to the next timer when nothing can, so a
// world is as fast as its code and gives the same result on every machine.
//
//	w := sim.New(sim.Seed(7), sim.Plan("vss/freeze on=h1/db/guest/ledger err=0x800423F4"))
//	defer w.Close()
//	err := w.Do(ctx, func(ctx context.Context) error {
//		sim.Go(ctx, "ticker", func(ctx context.Context) error {
//			return sim.Sleep(ctx, time.Second)
//		})
//		return sim.Sleep(ctx, time.Minute)
//	})
//	fmt.Print(w.Trace())
//
// # Life and death
//
// Actors form a tree. [Actor.Pause] stops everything below an actor, timers
// included, [Actor.Resume] lets it go on, and [Actor.Kill] ends it: a killed
// process gets [ErrDead] from the call it waits in and is ended by its second one,
// before anything else gets a turn. [World.Close] ends all and leaves no goroutine
// behind. A panic is the failure of its process alone; what belongs to a test
// framework goes on in the goroutine that drives the world ([Rethrow]).
//
// # Chance
//
// Whatever could go one way or another asks the world's [Chooser]: which process
// runs next, and everything that calls [Choose]. A seed, a recorded run
// ([Replay]), a property-based generator (package simtest) and an exhaustive
// [Search] are four choosers; a scenario runs unchanged under each. Without any
// the world takes the first way always and runs its processes first in, first
// out. Identities ([World.NewID]) are fixed hashes, the same under every seed;
// latencies ([Latency]) differ by seed alone.
//
// # Faults
//
// Code asks [At] at a named [Point] whether something is to go wrong there. What
// goes wrong is a plan, a list of [Fault] values that print as they are written.
// A [FaultSearch] tries every one of them alone, and every two.
//
// # From ordinary code
//
// Called with an ordinary context, [World.Do], [Actor.Call] and [Proc.Wait] drive
// the world until their process ends, so a test reads as straight-line Go. Such
// calls take turns, so they may come from several goroutines. Inside a process
// only the process's own context, or one derived from it, is good, and in its own
// goroutine alone: any other is [ErrContext]. Library code never starts a
// goroutine. Time limits are in virtual time: [WithTimeout].
//
// Nothing runnable, no timer and somebody waiting is a deadlock: the call ends
// with a [*StuckError] that names who waits for what, as does one that waits past
// the [Limits] of time and events.
package sim
