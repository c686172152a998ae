// Package requester is a correct reference requester: it backs up any writers to
// any tree of files, and restores them from there.
//
//	r := &requester.Backup{Service: host.VSS(), Target: target}
//	result, err := r.Run(ctx)
//	...
//	restore := &requester.Restore{Service: host.VSS(), Source: target, Destination: host.Files()}
//	report, err := restore.Run(ctx)
//
// A backup chooses components, puts all volumes they need into one shadow copy
// set, looks at every writer's status after every phase, copies the files out of
// the shadow copies and stores the documents beside them. A restore brings back
// what is chosen, tells the writers how it went, component by component, and
// never writes a file of a writer that refused. Files go where the writers'
// restore methods and targets say, all files of a component or none.
//
// Backups are of any type. An incremental or differential one is given the backup
// that it builds on (Previous), hands the writers their stamps, and holds what they
// name when the shadow copies are there: files that have changed, whole, and parts
// of files, nothing else of them. [Restore.RunChain] restores such a chain. What
// BETest can be told ("BETest Tool") is a field here: components by writer and name,
// from its selection file too ([ReadSelection]), options, new targets, single
// subcomponents, shadow copies alone, BackupComplete alone. Components come with
// those that they depend on.
//
// Directed targets, alternate locations and times, attributes and security
// descriptors of files are heeded. Of a component with a file in use, or one that must not be replaced,
// no file is touched. No service is stopped or started, and what a writer wants done
// at the next start of the computer is done at once.
//
// It knows nothing of any particular writer. The order of calls follows
// "Overview of Processing a Backup Under VSS" and "Overview of Processing a
// Restore Under VSS".
//
// Below a target stand BackupComponents.xml, a directory Writers with the
// metadata document of each writer, and a directory files with the files under
// their original paths: D:\VMs\a.vhd is files/D/VMs/a.vhd. Of a file that a writer
// names in parts these stand there one behind the other, in the order of their
// offsets. Security descriptors stand in Security.txt ([SecurityName]), and the names
// of files that were gone in Missing.txt ([MissingName]).
package requester
