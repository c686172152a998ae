// Package vsstest proves writers, providers and requesters: it runs them in a
// simulated machine through everything that the Volume Shadow Copy Service, its
// users and its accidents can do to them, and says which promises they broke.
//
// # Writers
//
// Hand in a function that starts the writer, what it does all day, and how to
// tell a good image from a bad one:
//
//	func TestLedgerWriter(t *testing.T) {
//		vsstest.RunWriter(t, func(ctx context.Context, env *vsstest.WriterEnv) (vss.Writer, error) {
//			return OpenLedger(ctx, env.Volume) // reads its files, or makes them
//		}, vsstest.WriterOptions{
//			Load: func(ctx context.Context, w vss.Writer) error {
//				return w.(*Ledger).Transact(ctx) // one of them; called over and over
//			},
//			Consistent: func(image fs.FS) error {
//				return CheckLedger(image) // from the bytes alone
//			},
//		})
//	}
//
// [RunWriter] makes sub-tests, [TestWriter] returns an error. Both make clean
// backups of all types, backups that are given up behind every call and every
// event, several requesters side by side, restores; every single fault of the
// service, the provider and the volume; the death of the requester, and of the
// writer's process between any two events, after which the function above starts
// the writer again on the files it left. Then come random sequences of all that.
// Behind each run the machine must be as before: the load goes on, and the next
// backup succeeds.
//
// # Providers
//
// [RunProvider] and [TestProvider] call a provider as the service does, and as it
// must never do, and compare its copies with what the volumes held at the instant
// of CommitSnapshots.
//
// # Requesters
//
// A [Judge] is a writer that watches requesters: what a backup takes along, what a
// restore puts back, and in which order the calls come.
//
// # What a finding says
//
// Each is a [*Broken]: the call, the promise, what happened, and a line that
// repeats the run when it is given back as Replay:
//
//	Freeze in session 4d802b82: nothing is written between Freeze and Thaw
//	(CVssWriter::OnFreeze): D:\ledger\log was written at 2.4s; Freeze had returned at 1.7s
//		replay with Replay: "backup"
//
// A random run that fails is shrunk first. RunWriter and RunProvider leave that
// to rapid, whose flags decide how many there are: -rapid.checks=10000.
//
// # What no kit can see
//
// A goroutine that a handler starts and that ends at once goes unseen, as does
// anything that happens outside of the environment a writer is given.
package vsstest
