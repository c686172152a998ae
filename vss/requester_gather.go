package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// GatherWriterMetadata asks the writers that are subscribed and enabled to
// describe themselves, once for each object. Registered express writers come
// behind them ([Service.RegisterExpressWriter]). A writer that fails is missing
// afterwards, from the metadata and from the status.
func (b *BackupComponents) GatherWriterMetadata(ctx context.Context) error {
	return b.run(ctx, "GatherWriterMetadata", b.gather)
}

// StartGatherWriterMetadata is GatherWriterMetadata without waiting.
func (b *BackupComponents) StartGatherWriterMetadata(ctx context.Context) (*Async, error) {
	return b.start(ctx, "GatherWriterMetadata", b.gather)
}

func (b *BackupComponents) gather(_, work context.Context) error {
	asked := make([]*session, 0, len(b.service.writers))
	for _, sub := range b.service.writers {
		if sub.alive() && b.filter.passes(sub) && b.reach(sub) {
			asked = append(asked, b.newSession(sub))
		}
	}
	if err := b.service.round(work, EventIdentify, asked); err != nil {
		return err
	}
	b.sessions = nil
	for _, x := range asked {
		if !x.omitted {
			b.sessions = append(b.sessions, x)
		}
	}
	for _, sub := range b.service.express {
		if b.filter.passes(sub) {
			b.sessions = append(b.sessions, b.newExpressSession(sub))
		}
	}
	b.gathered = true
	return nil
}

func (b *BackupComponents) newSession(sub *Subscription) *session {
	c := sub.config
	return &session{
		bc: b, sub: sub, state: StateStable,
		metadata: NewWriterMetadata(WriterIdentity{
			WriterID: c.ClassID, InstanceID: sub.instance, InstanceName: c.InstanceName,
			FriendlyName: c.Name, Usage: c.Usage, Source: c.Source,
		}),
	}
}

// GetWriterMetadataCount is the number of writers that described themselves.
func (b *BackupComponents) GetWriterMetadataCount() (int, error) {
	if err := b.read("GetWriterMetadata"); err != nil {
		return 0, err
	}
	return len(b.sessions), nil
}

// GetWriterMetadata returns a writer's description, in the order in which the
// writers subscribed. It must not be changed. A bad index is [ErrObjectNotFound].
func (b *BackupComponents) GetWriterMetadata(i int) (*WriterMetadata, error) {
	const op = "GetWriterMetadata"
	if err := b.read(op); err != nil {
		return nil, err
	}
	if i < 0 || i >= len(b.sessions) {
		return nil, fail(op, "", ErrObjectNotFound, "writer %d of %d", i, len(b.sessions))
	}
	return b.sessions[i].metadata, nil
}

// FreeWriterMetadata gives the descriptions up: they can be read no more, and all
// else goes on as before.
func (b *BackupComponents) FreeWriterMetadata() error {
	if err := b.read("FreeWriterMetadata"); err != nil {
		return err
	}
	b.freed = true
	return nil
}

// GatherWriterStatus asks how the writers of the operation stand: what a
// finished DoSnapshotSet does not tell. After BackupComplete it ends the writers'
// sessions. Before a writer has had its first event of the session, and in a
// restore without GatherWriterMetadata, it shows the writer's last known state,
// which may be an old failure or that of another session.
func (b *BackupComponents) GatherWriterStatus(ctx context.Context) error {
	return b.run(ctx, "GatherWriterStatus", b.gatherStatus)
}

// StartGatherWriterStatus is GatherWriterStatus without waiting.
func (b *BackupComponents) StartGatherWriterStatus(ctx context.Context) (*Async, error) {
	return b.start(ctx, "GatherWriterStatus", b.gatherStatus)
}

func (b *BackupComponents) gatherStatus(_, work context.Context) error {
	b.statuses = nil
	if b.phase == PhaseRestore {
		for _, sub := range b.service.writers {
			if b.filter.passes(sub) {
				b.statuses = append(b.statuses, sub.Status())
			}
		}
	}
	for _, x := range b.sessions {
		if x.sub.express != nil {
			continue
		}
		b.statuses = append(b.statuses, x.status())
		if b.phase == PhaseCompleted || b.phase == PhasePostRestored {
			x.leave()
		}
	}
	b.haveStatus = true
	return work.Err()
}

// GetWriterStatusCount is the number of writers whose status is known.
func (b *BackupComponents) GetWriterStatusCount() (int, error) {
	if err := b.read("GetWriterStatus"); err != nil {
		return 0, err
	}
	return len(b.statuses), nil
}

// GetWriterStatus returns what GatherWriterStatus found out about a writer. A bad
// index is [ErrObjectNotFound].
func (b *BackupComponents) GetWriterStatus(i int) (WriterStatus, error) {
	const op = "GetWriterStatus"
	if err := b.read(op); err != nil {
		return WriterStatus{}, err
	}
	if i < 0 || i >= len(b.statuses) {
		return WriterStatus{}, fail(op, "", ErrObjectNotFound, "writer %d of %d", i, len(b.statuses))
	}
	return b.statuses[i], nil
}

// FreeWriterStatus gives the statuses up.
func (b *BackupComponents) FreeWriterStatus() error {
	if err := b.read("FreeWriterStatus"); err != nil {
		return err
	}
	b.statuses, b.haveStatus = nil, false
	return nil
}

// participants decides who takes part from here on: every writer that described
// itself, but in component mode only those with a component in the document
// ("Working with Selectability and Logical Paths").
func (b *BackupComponents) participants() {
	for _, x := range b.sessions {
		rec := b.doc.Writer(x.sub.config.ClassID, x.sub.instance)
		x.takes = !b.doc.SelectComponents || rec != nil && len(rec.Components) > 0
	}
}

// recordOf is a writer's part of the document. In a restore it is that of an
// earlier instance; a writer without one gets an empty part.
func (x *session) recordOf() *WriterRecord {
	b, c := x.bc, x.sub.config
	if rec := b.doc.Writer(c.ClassID, x.sub.instance); rec != nil {
		return rec
	}
	if b.restore {
		for rec := range b.doc.WritersOf(c.ClassID) {
			if b.restoresTo(rec) == x {
				return rec
			}
		}
	}
	return &WriterRecord{WriterID: c.ClassID, InstanceID: x.sub.instance, InstanceName: c.InstanceName}
}

// restoresTo finds the running writer that stands for a stored one: the same
// instance, else one of the same class and instance name, else the first of the
// class.
func (b *BackupComponents) restoresTo(rec *WriterRecord) *session {
	chosen := guid.GUID{}
	for _, r := range rec.Components {
		if r.SelectedInstance != chosen {
			chosen = r.SelectedInstance
			break
		}
	}
	var named, first *session
	for _, x := range b.sessions {
		c := x.sub.config
		switch {
		case c.ClassID != rec.WriterID || !x.sub.alive():
			continue
		case chosen != guid.GUID{}:
			if x.sub.instance == chosen {
				return x
			}
			continue
		case x.sub.instance == rec.InstanceID:
			return x
		case rec.InstanceName != "" && c.InstanceName == rec.InstanceName && named == nil:
			named = x
		}
		if first == nil {
			first = x
		}
	}
	if named != nil {
		return named
	}
	return first
}
