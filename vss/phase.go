package vss

// A Phase is how far a requester object has come. It is not a Windows
// enumeration: the documentation only says which call must precede which.
type Phase uint8

// The phases. A backup goes from PhaseBackup to PhaseCompleted, a restore from
// PhaseRestore to PhasePostRestored.
const (
	PhaseNew             Phase = iota
	PhaseBackup                // InitializeForBackup
	PhaseGathered              // GatherWriterMetadata
	PhaseSetStarted            // StartSnapshotSet
	PhasePrepared              // PrepareForBackup
	PhaseSnapped               // DoSnapshotSet
	PhaseFailed                // DoSnapshotSet failed
	PhaseCompleted             // BackupComplete
	PhaseAborted               // AbortBackup
	PhaseCatalogue             // Query: the object is used for nothing else
	PhaseImported              // ImportSnapshots
	PhaseRestore               // InitializeForRestore
	PhaseRestoreGathered       // GatherWriterMetadata
	PhaseSelected              // SetSelectedForRestore
	PhasePreRestored           // PreRestore
	PhasePostRestored          // PostRestore
	PhaseReleased
	phaseCount
)

var phaseNames = [phaseCount]string{
	"New", "Backup", "Gathered", "SetStarted", "Prepared", "Snapped", "Failed", "Completed", "Aborted", "Catalogue", "Imported",
	"Restore", "RestoreGathered", "Selected", "PreRestored", "PostRestored", "Released",
}

// String names the phase.
func (p Phase) String() string { return nameOf(phaseNames[:], int(p)) }

// Facts are what a call may demand beside its phase: what the pages of
// IVssBackupComponents name as done before it.
type Facts uint16

// The facts about a requester object.
const (
	FactBackupState   Facts = 1 << iota // SetBackupState was called
	FactComponentMode                   // it chose components
	FactMetadata                        // GatherWriterMetadata has ended
	FactPrepared                        // PrepareForBackup has ended
	FactStatus                          // GatherWriterStatus has ended
	FactWriters                         // writers take part in the context
	FactCreatable                       // shadow copies can be made in the context
	FactContextUnset                    // SetContext was not called
	FactStored                          // the document was stored by another object
	FactMetadataKept                    // FreeWriterMetadata was not called
	FactSelected                        // a component is selected for restore

	noFacts Facts = 0
)

var factNames = []string{"SetBackupState", "component mode", "GatherWriterMetadata", "PrepareForBackup", "GatherWriterStatus",
	"a context with writers", "a context to create in", "no SetContext before", "a stored document", "no FreeWriterMetadata before", "a selected component"}

// String lists the facts.
func (f Facts) String() string {
	s := ""
	for i, name := range factNames {
		if f&(1<<i) != 0 {
			if s != "" {
				s += ", "
			}
			s += name
		}
	}
	return s
}

// A CallRule is a row of the requester's call-order table: in which phases a
// method may be called, what it demands besides, and where it leads. What breaks
// the rule is [ErrBadState] (IVssBackupComponents).
type CallRule struct {
	Method string
	From   []Phase
	To     Phase // the phase after success
	Stays  bool  // the phase is the same after success; To says nothing
	Fails  Phase // the phase after failure; PhaseNew: the same
	// Needs must all hold; NeedsWithWriters as well, in contexts with writers.
	Needs            Facts
	NeedsWithWriters Facts
	// Asks says that the method talks to writers or providers before it returns,
	// so that the trace shows its beginning and its end.
	Asks bool
}

// Allows tells whether the rule lets the method be called.
func (r CallRule) Allows(p Phase, f Facts) bool {
	needs := r.Needs
	if f&FactWriters != 0 {
		needs |= r.NeedsWithWriters
	}
	if needs&^f != 0 {
		return false
	}
	for _, from := range r.From {
		if from == p {
			return true
		}
	}
	return false
}

// Next is the phase after the method was called in p and succeeded, or not.
func (r CallRule) Next(p Phase, succeeded bool) Phase {
	switch {
	case succeeded && !r.Stays:
		return r.To
	case !succeeded && r.Fails != PhaseNew:
		return r.Fails
	}
	return p
}
