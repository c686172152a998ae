// Package vss is the Volume Shadow Copy Service, simulated: requesters, writers,
// providers and the service between them, with the order of calls, the events,
// the states and the codes that Windows has, in a world of package sim.
//
// A [Service] is that of one machine. Volumes are added to it, writers subscribe
// to it, and a requester works with a [BackupComponents] object, step by step:
//
//	w := sim.New()
//	defer w.Close()
//	host := w.Actor("h1")
//	service := vss.NewService(host.Child("vss"), vss.ServiceConfig{})
//	err := service.AddVolume(volume)
//	_, err = service.Subscribe(writer, vss.WriterConfig{Actor: host.Child("ledger"), ClassID: id, Name: "Ledger"})
//	b, err := service.CreateBackupComponents(ctx)
//	…
//
// Calls work from ordinary code, where they drive the world, and inside the
// world's processes. Nothing runs by itself and nothing is left to chance: the
// same calls give the same trace.
//
// # Writers
//
// A [Writer] has handlers for the events of a session. Its state goes from stable
// through the waiting states back to stable, or to the FAILED_AT state of the
// event it refused; [WriterMoves] is the whole machine, and the service acts on
// nothing else. A refusal does not stop a backup: the requester finds it when it
// asks for the writers' status.
//
// # Requesters
//
// [CallRules] says which call may follow which. A call out of order is
// [ErrBadState].
//
// # Providers
//
// The system provider copies every volume that satisfies [Volume]. Other
// providers implement [Provider] and are registered with the service.
//
// # What goes wrong
//
// What administrators find in the event logs is in the trace: [EventLog].
// [ServiceConfig.Account] makes some callers ordinary users, and
// [ServiceConfig.Admits] processes that nobody can call back.
//
// [FaultPoints] lists the places where a fault plan can strike: each event of a
// writer, each call of a provider, the flush and the hold of each volume.
//
// # Where to read more
//
// The pages behind a name are those of the Windows documentation. A method of
// [BackupComponents] stands for the method of that name of
// IVssBackupComponents and of IVssBackupComponentsEx to Ex4, one of
// [WriterMetadata] for that of IVssCreateWriterMetadata, one of
// [WriterComponent] for that of IVssComponent, one of [Provider] for that of
// IVssProviderCreateSnapshotSet or IVssSoftwareSnapshotProvider, and a handler of
// [Writer] for the one of CVssWriter with "On" before it. Other comments name
// their page in parentheses. Numbers are those of the headers vss.h, vswriter.h,
// vsbackup.h and vsserror.h.
//
// # Where this is not Windows
//
// Windows leaves open, or does not document, how long most events may take, in
// which order writers of one level are called, and how many sessions a writer
// remembers. Here these are settings, without a limit and in the order of
// subscription where nothing is set; writers are thawed in the opposite order.
// Where public pages contradict each other the element's comment says which
// reading is taken.
package vss
