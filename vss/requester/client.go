package requester

import (
	"context"
	"io"
	"io/fs"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// A client is all that a requester asks of the service: the methods of
// [vss.BackupComponents] that it calls, and the way to the files of a shadow
// copy. Its being an interface lets tests stand in between.
type client interface {
	backupClient
	restoreClient

	Phase() vss.Phase
	BackupType() vss.BackupType
	GatherWriterMetadata(ctx context.Context) error
	GetWriterMetadataCount() (int, error)
	GetWriterMetadata(i int) (*vss.WriterMetadata, error)
	GatherWriterStatus(ctx context.Context) error
	GetWriterStatusCount() (int, error)
	GetWriterStatus(i int) (vss.WriterStatus, error)
	GetWriterComponentsCount() (int, error)
	GetWriterComponents(i int) (*vss.WriterRecord, error)
	Release(ctx context.Context) error
}

// A backupClient has the calls of a backup.
type backupClient interface {
	InitializeForBackup(ctx context.Context, xml io.Reader) error
	SetContext(ctx context.Context, c vss.SnapshotContext) error
	SetBackupState(ctx context.Context, st vss.BackupState) error
	AddComponent(ctx context.Context, c vss.ComponentChoice) error
	SetBackupOptions(ctx context.Context, c vss.ComponentChoice, options string) error
	SetPreviousBackupStamp(ctx context.Context, c vss.ComponentChoice, stamp string) error
	StartSnapshotSet(ctx context.Context) (guid.GUID, error)
	AddToSnapshotSet(ctx context.Context, volume string, provider guid.GUID) (guid.GUID, error)
	PrepareForBackup(ctx context.Context) error
	DoSnapshotSet(ctx context.Context) error
	GetSnapshotProperties(id guid.GUID) (vss.SnapshotProperties, error)
	Open(device string) (fs.FS, error)
	SetBackupSucceeded(ctx context.Context, c vss.ComponentChoice, succeeded bool) error
	BackupComplete(ctx context.Context) error
	AbortBackup(ctx context.Context) error
	SaveAsXML() ([]byte, error)
}

// A restoreClient has the calls of a restore.
type restoreClient interface {
	InitializeForRestore(ctx context.Context, xml io.Reader) error
	SetRestoreState(ctx context.Context, t vss.RestoreType) error
	SetSelectedForRestore(ctx context.Context, c vss.ComponentChoice, selected bool) error
	SetSelectedForRestoreEx(ctx context.Context, c vss.ComponentChoice, selected bool, instance guid.GUID) error
	AddRestoreSubcomponent(ctx context.Context, c vss.ComponentChoice, sub vss.ComponentKey) error
	SetAdditionalRestores(ctx context.Context, c vss.ComponentChoice, more bool) error
	SetRestoreOptions(ctx context.Context, c vss.ComponentChoice, options string) error
	SetAuthoritativeRestore(ctx context.Context, c vss.ComponentChoice, authoritative bool) error
	SetRollForward(ctx context.Context, c vss.ComponentChoice, t vss.RollForwardType, point string) error
	SetRestoreName(ctx context.Context, c vss.ComponentChoice, name string) error
	AddNewTarget(ctx context.Context, c vss.ComponentChoice, m vss.FileMapping) error
	PreRestore(ctx context.Context) error
	AddAlternativeLocationMapping(ctx context.Context, c vss.ComponentChoice, m vss.FileMapping) error
	SetRangesFilePath(ctx context.Context, c vss.ComponentChoice, partial int, path string) error
	SetFileRestoreStatus(ctx context.Context, c vss.ComponentChoice, st vss.FileRestoreStatus) error
	PostRestore(ctx context.Context) error
}

// A connection is the client that is there.
type connection struct {
	*vss.BackupComponents
	service *vss.Service
}

// Open gives access to the files of a shadow copy.
func (c connection) Open(device string) (fs.FS, error) { return c.service.Open(device) }

// connect makes the client of one run. Through, if set, stands in between.
func connect(ctx context.Context, s *vss.Service, through func(client) client) (client, error) {
	bc, err := s.CreateBackupComponents(ctx)
	if err != nil {
		return nil, phase("CreateBackupComponents", "", err)
	}
	if through == nil {
		return connection{bc, s}, nil
	}
	return through(connection{bc, s}), nil
}
