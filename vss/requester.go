package vss

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// BackupComponents is a requester's object: one backup, one restore or one query
// (IVssBackupComponents). It is never used for a second one. The methods have the
// order of [CallRules]; a call out of order is [ErrBadState] and changes nothing.
// While an operation is under way only its [Async], AbortBackup and Release are
// in order.
//
// Methods that change something or ask somebody take a context, as they are
// calls to the service; methods that only read do not. Each asynchronous method
// comes in two forms, one that waits and returns how the operation ended, and one
// that starts it.
//
//	b, err := service.CreateBackupComponents(ctx)
//	defer b.Release(ctx)
//	err = b.InitializeForBackup(ctx, nil)
//	err = b.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull})
//	err = b.GatherWriterMetadata(ctx)
//	for i := range b.GetWriterMetadataCount() { … b.AddComponent(ctx, …) … }
//	set, err := b.StartSnapshotSet(ctx)
//	id, err := b.AddToSnapshotSet(ctx, `D:\`, guid.GUID{})
//	err = b.PrepareForBackup(ctx)
//	err = b.DoSnapshotSet(ctx)
//	err = b.GatherWriterStatus(ctx)       // a writer's veto shows here alone
//	properties, err := b.GetSnapshotProperties(id)
//	files, err := service.Open(properties.DeviceObject)
//	…
//	err = b.SetBackupSucceeded(ctx, …)
//	err = b.BackupComplete(ctx)
//	xml, err := b.SaveAsXML()
type BackupComponents struct {
	service   *Service
	owner     *sim.Actor
	forget    func()
	sessionID guid.GUID
	name      string // the beginning of the session's identifier, for the trace
	phase     Phase
	restore   bool
	busy      *Async

	context    SnapshotContext
	contextSet bool
	stateSet   bool
	prepared   bool // PrepareForBackup has ended
	gathered   bool
	freed      bool // FreeWriterMetadata was called
	doc        *BackupComponentsDocument
	stored     bool // the document came from outside
	filter     writerFilter
	sessions   []*session
	optioned   map[*ComponentRecord]bool // SetRestoreOptions was called for them
	statuses   []WriterStatus
	haveStatus bool

	setID      guid.GUID
	members    []*member
	told       bool // the writers heard of the set
	posting    bool // PostSnapshot has begun
	finalizing bool // PostFinalCommitSnapshots has begun
	created    bool // the copies are there
	recovery   []recovery
	aborting   []*delivery // Aborts that run beside

	transactions []TransactionManager // frozen ones
}

// A member is a volume of the set.
type member struct {
	volume   Volume
	provider *provider
	id       guid.GUID // of the shadow copy
	device   string
	held     bool // its writes wait
}

// CreateBackupComponents makes a requester's object. It belongs to the actor that
// calls: when that is killed, the service gives up what is under way, deletes
// copies that are not to stay and tells the writers. An account that may not back
// up gets [ErrAccessDenied].
func (s *Service) CreateBackupComponents(ctx context.Context) (*BackupComponents, error) {
	const op = "CreateVssBackupComponents"
	b := &BackupComponents{service: s, owner: sim.Self(ctx)}
	err := s.actor.Call(ctx, op, func(context.Context) error {
		if err := s.admit(op, b.owner, AccessRequester); err != nil {
			return err
		}
		b.sessionID = s.actor.NewID("session")
		b.name = short(b.sessionID)
		if b.owner == nil || b.owner.Path() == "" {
			b.owner = s.actor
			b.forget = func() {}
			return nil
		}
		b.forget = b.owner.OnKill(s.actor, "requester lost", b.lost)
		return nil
	})
	if err != nil {
		return nil, s.unreachable(op, err)
	}
	return b, nil
}

// unreachable gives an error a caller can understand when the service is dead.
func (s *Service) unreachable(op string, err error) error {
	if errors.Is(err, sim.ErrDead) && s.actor.Dead() {
		return &Error{Op: op, On: s.config.Machine, Err: err}
	}
	return err
}

// Phase is how far the object has come.
func (b *BackupComponents) Phase() Phase { return b.phase }

// BackupType is the type of the backup that the object makes or restores, as its
// document has it: undefined as long as there is none. On Windows a requester
// finds it in the stored document.
func (b *BackupComponents) BackupType() BackupType {
	if b.doc == nil {
		return BackupUndefined
	}
	return b.doc.BackupType
}

// GetSessionID is the opaque identifier of the operation, which writers see too.
func (b *BackupComponents) GetSessionID() guid.GUID { return b.sessionID }

// facts are what is true now of what calls may demand.
func (b *BackupComponents) facts() Facts {
	f := noFacts
	for _, is := range []struct {
		true bool
		fact Facts
	}{
		{b.stateSet, FactBackupState},
		{b.doc != nil && b.doc.SelectComponents, FactComponentMode},
		{b.gathered, FactMetadata},
		{b.prepared, FactPrepared},
		{b.haveStatus, FactStatus},
		{b.context.Writers() && b.context != ContextAll, FactWriters},
		{b.context != ContextAll, FactCreatable},
		{!b.contextSet, FactContextUnset},
		{b.stored, FactStored},
		{!b.freed, FactMetadataKept},
		{b.phase == PhaseSelected && b.selected(), FactSelected},
	} {
		if is.true {
			f |= is.fact
		}
	}
	return f
}

// checkFor is check on behalf of an actor, which must be allowed to make the call
// at all.
func (b *BackupComponents) checkFor(caller *sim.Actor, method string) (CallRule, error) {
	if b.service.config.Account != nil && slices.Contains(guardedCalls, method) {
		if err := b.service.admit(method, caller, AccessRequester); err != nil {
			return CallRule{}, err
		}
	}
	return b.check(method)
}

// check looks the call up in the table.
func (b *BackupComponents) check(method string) (CallRule, error) {
	if b.busy != nil {
		return CallRule{}, fail(method, "", ErrBadState, "%s is still running", b.busy.method)
	}
	facts := b.facts()
	var problems []string
	for _, r := range rulesOf[method] {
		if r.Allows(b.phase, facts) {
			return r, nil
		}
		problems = append(problems, r.demands())
	}
	return CallRule{}, fail(method, "", ErrBadState, "the phase is %v; %s", b.phase, strings.Join(problems, ", or "))
}

// demands says when the rule allows its method.
func (r CallRule) demands() string {
	s := "it takes "
	for i, p := range r.From {
		if i > 0 {
			s += " or "
		}
		s += p.String()
	}
	if r.Needs != 0 {
		s += fmt.Sprintf(" and %v", r.Needs)
	}
	if r.NeedsWithWriters != 0 {
		s += fmt.Sprintf(", with writers also %v", r.NeedsWithWriters)
	}
	return s
}

// call makes a call to the service: it checks the order, runs fn as a process of
// the service, and goes on to the next phase.
func (b *BackupComponents) call(ctx context.Context, method string, fn func(ctx context.Context) error, attrs ...sim.Attr) error {
	caller := b.service.caller(ctx)
	err := b.service.actor.Call(ctx, method, func(ctx context.Context) error {
		kind, attrs := requesterKind(method), attrs
		rule, err := b.checkFor(caller, method)
		if rule.Asks {
			b.emit(kind, attrs...)
			kind, attrs = endOf(kind), nil
		}
		if err == nil {
			was := b.phase
			err = fn(ctx)
			if b.phase == was && b.phase != PhaseReleased {
				b.phase = rule.Next(was, err == nil)
			}
		}
		b.emitResult(kind, err, attrs...)
		return err
	})
	return b.service.unreachable(method, err)
}

// read checks the order of a call that only reads.
func (b *BackupComponents) read(method string) error {
	caller := b.owner
	if caller == b.service.actor { // ordinary code
		caller = nil
	}
	_, err := b.checkFor(caller, method)
	return err
}

func (b *BackupComponents) emit(kind string, attrs ...sim.Attr) {
	var room [6]sim.Attr
	b.owner.Emit(kind, "", append(append(room[:0], sim.S("session", b.name)), attrs...)...)
}

// emitResult is emit with the code of an error behind the attributes.
func (b *BackupComponents) emitResult(kind string, err error, attrs ...sim.Attr) {
	var room [4]sim.Attr
	b.emit(kind, append(append(room[:0], attrs...), sim.S("result", codeName(HRESULTOf(err))))...)
}

// An operation is the body of an asynchronous call. Work ends when the operation
// is cancelled, base does not: what must be undone is undone under base.
type operation func(base, work context.Context) error

// start makes an asynchronous call.
func (b *BackupComponents) start(ctx context.Context, method string, op operation) (*Async, error) {
	var a *Async
	caller := b.service.caller(ctx)
	err := b.service.actor.Call(ctx, method, func(context.Context) error {
		rule, err := b.checkFor(caller, method)
		if err != nil {
			b.emitResult(requesterKind(method), err)
			return err
		}
		a = &Async{service: b.service, method: method}
		a.over.Name = method
		b.busy = a
		b.emit(requesterKind(method))
		a.task = startTask(b.service.actor, method, func(base, work context.Context) error {
			b.operate(base, work, a, rule, op)
			return nil
		})
		return nil
	})
	return a, b.service.unreachable(method, err)
}

// operate runs an operation to its end.
func (b *BackupComponents) operate(base, work context.Context, a *Async, rule CallRule, op operation) {
	err := op(base, work)
	if work.Err() != nil && a.cancelled && err == nil {
		err = work.Err()
	}
	b.busy = nil
	if b.phase != PhaseReleased {
		b.phase = rule.Next(b.phase, err == nil)
	}
	a.finish(err)
	b.emitResult(endOf(requesterKind(a.method)), a.err)
}

// run makes an asynchronous call and waits for its end. A context that ends first
// cancels the operation, which then undoes what it began.
func (b *BackupComponents) run(ctx context.Context, method string, op operation) error {
	a, err := b.start(ctx, method, op)
	if err != nil {
		return err
	}
	if err := a.Wait(ctx); err != nil {
		if !errors.Is(err, sim.ErrDead) {
			_, _ = a.Cancel(context.WithoutCancel(ctx))
		}
		return err
	}
	return a.Err()
}
