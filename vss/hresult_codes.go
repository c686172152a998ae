package vss

// The success codes.
const (
	SOK                      HRESULT = 0x00000000 // success
	SFalse                   HRESULT = 0x00000001 // success with nothing to show: an optional value is absent, a step was not needed
	AsyncPending             HRESULT = 0x00042309 // the operation is still running
	AsyncFinished            HRESULT = 0x0004230A // the operation has finished with success
	AsyncCancelled           HRESULT = 0x0004230B // the operation was cancelled
	SomeSnapshotsNotImported HRESULT = 0x00042321 // a part of the set was imported
)

// The general codes of COM that the calls of the service return.
const (
	ErrNotImpl       HRESULT = 0x80004001 // not implemented
	ErrPointer       HRESULT = 0x80004003 // a pointer is missing
	ErrAbort         HRESULT = 0x80004004 // the operation was ended from outside
	ErrFail          HRESULT = 0x80004005 // an unspecified failure
	ErrCOMUnexpected HRESULT = 0x8000FFFF // an unexpected failure, as reported before Windows 7
	ErrAccessDenied  HRESULT = 0x80070005 // access is denied
	ErrOutOfMemory   HRESULT = 0x8007000E // out of memory
	ErrInvalidArg    HRESULT = 0x80070057 // an argument is not valid
)

// The failure codes of the service (vsserror.h).
const (
	ErrBadState                             HRESULT = 0x80042301 // a call out of order
	ErrUnexpected                           HRESULT = 0x80042302 // an unexpected failure; the event log has details
	ErrProviderAlreadyRegistered            HRESULT = 0x80042303 // the provider is registered already
	ErrProviderNotRegistered                HRESULT = 0x80042304 // the provider is not registered
	ErrProviderVeto                         HRESULT = 0x80042306 // the provider refused or failed
	ErrProviderInUse                        HRESULT = 0x80042307 // the provider is in use
	ErrObjectNotFound                       HRESULT = 0x80042308 // no such shadow copy, volume, component or index
	ErrVolumeNotSupported                   HRESULT = 0x8004230C // no provider takes the volume
	ErrObjectAlreadyExists                  HRESULT = 0x8004230D // the object exists already
	ErrVolumeNotSupportedByProvider         HRESULT = 0x8004230E // the named provider does not take the volume
	ErrUnexpectedProviderError              HRESULT = 0x8004230F // the provider returned a code it may not return
	ErrCorruptXMLDocument                   HRESULT = 0x80042310 // a corrupt document; no longer used
	ErrInvalidXMLDocument                   HRESULT = 0x80042311 // a malformed document, or not of this kind
	ErrMaximumNumberOfVolumesReached        HRESULT = 0x80042312 // the set has its 64 volumes
	ErrFlushWritesTimeout                   HRESULT = 0x80042313 // flushing the volumes failed or took too long
	ErrHoldWritesTimeout                    HRESULT = 0x80042314 // writes were held for longer than 10 s
	ErrUnexpectedWriterError                HRESULT = 0x80042315 // an event could not be sent to the writers
	ErrSnapshotSetInProgress                HRESULT = 0x80042316 // another requester is creating a shadow copy set
	ErrMaximumNumberOfSnapshotsReached      HRESULT = 0x80042317 // the volume has its maximum of shadow copies
	ErrWriterInfrastructure                 HRESULT = 0x80042318 // the service or the event system is not running
	ErrWriterNotResponding                  HRESULT = 0x80042319 // the writer died or is stuck
	ErrWriterAlreadySubscribed              HRESULT = 0x8004231A // the writer has subscribed already
	ErrUnsupportedContext                   HRESULT = 0x8004231B // this kind of shadow copy is not supported
	ErrVolumeInUse                          HRESULT = 0x8004231D // the volume is in use
	ErrMaximumDiffAreaAssociationsReached   HRESULT = 0x8004231E // no more storage associations
	ErrInsufficientStorage                  HRESULT = 0x8004231F // no room for the shadow copy
	ErrNoSnapshotsImported                  HRESULT = 0x80042320 // nothing was imported
	ErrSomeSnapshotsNotImported             HRESULT = 0x80042321 // a part of the set was not imported
	ErrMaximumNumberOfRemoteMachinesReached HRESULT = 0x80042322 // no more remote machines
	ErrRemoteServerUnavailable              HRESULT = 0x80042323 // the remote server is not available
	ErrRemoteServerUnsupported              HRESULT = 0x80042324 // the remote server cannot do this
	ErrRevertInProgress                     HRESULT = 0x80042325 // the volume is being reverted
	ErrRevertVolumeLost                     HRESULT = 0x80042326 // the volume was lost while it was reverted
	ErrRebootRequired                       HRESULT = 0x80042327 // the computer must be restarted first
	ErrTransactionFreezeTimeout             HRESULT = 0x80042328 // the transaction manager did not freeze in time
	ErrTransactionThawTimeout               HRESULT = 0x80042329 // the transaction manager did not thaw in time
	ErrUnselectedVolume                     HRESULT = 0x8004232A // another volume would be overwritten
	ErrSnapshotNotInSet                     HRESULT = 0x8004232B // the shadow copy is not in the set
	ErrNestedVolumeLimit                    HRESULT = 0x8004232C // the volume lies on a virtual disk within the set, or within another one
	ErrVolumeNotLocal                       HRESULT = 0x8004232D // the volume is not mounted on this computer
	ErrClusterTimeout                       HRESULT = 0x8004232E // preparing a cluster volume took too long
	ErrNotSupported                         HRESULT = 0x8004232F // not supported here
	ErrWriterErrorPartialFailure            HRESULT = 0x80042336 // the writer failed for some components
	ErrWriterErrorInconsistentSnapshot      HRESULT = 0x800423F0 // the set lacks volumes that the writer needs
	ErrWriterErrorOutOfResources            HRESULT = 0x800423F1 // the writer ran out of resources
	ErrWriterErrorTimeout                   HRESULT = 0x800423F2 // the writer timed out between freeze and thaw
	ErrWriterErrorRetryable                 HRESULT = 0x800423F3 // the writer failed for a passing reason
	ErrWriterErrorNonRetryable              HRESULT = 0x800423F4 // the writer failed and will fail again
	ErrWriterErrorRecoveryFailed            HRESULT = 0x800423F5 // the writer could not recover the shadow copy
	ErrBreakRevertIDFailed                  HRESULT = 0x800423F6 // a disk identity could not be reverted
	ErrLegacyProvider                       HRESULT = 0x800423F7 // the provider is too old for this
	ErrMissingDisk                          HRESULT = 0x800423F8 // a disk did not arrive
	ErrMissingHiddenVolume                  HRESULT = 0x800423F9 // a hidden volume did not arrive
	ErrMissingVolume                        HRESULT = 0x800423FA // a volume did not arrive
	ErrAutoRecoveryFailed                   HRESULT = 0x800423FB // the shadow copy could not be recovered
	ErrDynamicDiskError                     HRESULT = 0x800423FC // an error with a dynamic disk
	ErrNonTransportableBCD                  HRESULT = 0x800423FD // the document describes no transportable set
	ErrCannotRevertDiskID                   HRESULT = 0x800423FE // the disk identity cannot be reverted
	ErrResyncInProgress                     HRESULT = 0x800423FF // a resynchronization is under way
	ErrClusterError                         HRESULT = 0x80042400 // the cluster reported an error
	ErrWriterStatusNotAvailable             HRESULT = 0x80042409 // the writer has no session left to report on
	ErrFSSTimeout                           HRESULT = 0x80042417 // the file server took too long
)

// The failure codes that only the writer of Automated System Recovery sets.
const (
	ErrASRDiskAssignmentFailed                         HRESULT = 0x80042401 // disks could not be assigned
	ErrASRDiskRecreationFailed                         HRESULT = 0x80042402 // a disk could not be made again
	ErrASRNoArcPath                                    HRESULT = 0x80042403 // a disk has no firmware path
	ErrASRMissingDynDisk                               HRESULT = 0x80042404 // a dynamic disk is missing
	ErrASRSharedCriDisk                                HRESULT = 0x80042405 // a critical disk is shared
	ErrASRDataDiskRDisk0                               HRESULT = 0x80042406 // a data disk stands where the system disk must
	ErrASRRDisk0TooSmall                               HRESULT = 0x80042407 // the system disk is too small
	ErrASRCriticalDisksTooSmall                        HRESULT = 0x80042408 // the critical disks are too small
	ErrASRDynamicVHDNotSupported                       HRESULT = 0x8004240A // a dynamic virtual disk is not supported
	ErrCriticalVolumeOnInvalidDisk                     HRESULT = 0x80042411 // a critical volume lies on a disk that cannot be recovered
	ErrASRRDiskForSystemDiskNotFound                   HRESULT = 0x80042412 // no disk fits the system disk
	ErrASRNoPhysicalDiskAvailable                      HRESULT = 0x80042413 // no physical disk is available
	ErrASRFixedPhysicalDiskAvailableAfterDiskExclusion HRESULT = 0x80042414 // no fixed disk is left after the exclusions
	ErrASRCriticalDiskCannotBeExcluded                 HRESULT = 0x80042415 // a critical disk cannot be excluded
	ErrASRSystemPartitionHidden                        HRESULT = 0x80042416 // the system partition is hidden
)
