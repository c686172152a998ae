package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A TransactionManager is what keeps transactions across files or machines, as
// the Kernel Transaction Manager and the Distributed Transaction Coordinator do.
// The service freezes it when the writers are frozen and thaws it before they
// thaw, unless the context has [AttrNotTransacted] ("Working with File System and
// Security Features"; that it is at these moments is inferred).
//
// An error of FreezeTransactions fails the set with
// [ErrTransactionFreezeTimeout], one of ThawTransactions with
// [ErrTransactionThawTimeout], whatever its own code is. ThawTransactions is also
// called where a set fails meanwhile.
type TransactionManager interface {
	// Name is how the event log names the manager.
	Name() string
	// FreezeTransactions lets no transaction commit until ThawTransactions.
	FreezeTransactions(ctx context.Context) error
	// ThawTransactions lets transactions go on.
	ThawTransactions(ctx context.Context) error
}

// The fault points of transaction managers: asked by the service for its own path
// once for each set, whether it has managers or not.
const (
	PointTransactionFreeze sim.Point = "vss/transaction-freeze"
	PointTransactionThaw   sim.Point = "vss/transaction-thaw"
)

// transacted tells whether transaction managers take part.
func (b *BackupComponents) transacted() bool {
	return b.context.Attributes()&AttrNotTransacted == 0
}

// freezeTransactions stops the transaction managers, one after the other.
func (b *BackupComponents) freezeTransactions(work context.Context) error {
	if !b.transacted() {
		return nil
	}
	s := b.service
	if err := sim.At(work, PointTransactionFreeze); err != nil {
		return s.transactionsFailed(work, "all", err, ErrTransactionFreezeTimeout)
	}
	for _, tm := range s.config.TransactionManagers {
		b.transactions = append(b.transactions, tm)
		err := sim.Protect(work, func() error { return tm.FreezeTransactions(work) })
		if err != nil {
			return s.transactionsFailed(work, tm.Name(), err, ErrTransactionFreezeTimeout)
		}
		sim.Emit(work, "vss/transactions-frozen", "", sim.S("manager", tm.Name()))
	}
	return nil
}

// thawTransactions lets them go on. The first failure counts, after all were
// thawed.
func (b *BackupComponents) thawTransactions(work context.Context) error {
	if !b.transacted() {
		return nil
	}
	s := b.service
	var first error
	if err := sim.At(work, PointTransactionThaw); err != nil {
		first = s.transactionsFailed(work, "all", err, ErrTransactionThawTimeout)
	}
	return firstError(first, b.releaseTransactions(work))
}

// releaseTransactions thaws the managers that are frozen.
func (b *BackupComponents) releaseTransactions(ctx context.Context) error {
	frozen := b.transactions
	b.transactions = nil
	var first error
	for _, tm := range frozen {
		err := sim.Protect(ctx, func() error { return tm.ThawTransactions(ctx) })
		if err != nil {
			first = firstError(first, b.service.transactionsFailed(ctx, tm.Name(), err, ErrTransactionThawTimeout))
			continue
		}
		sim.Emit(ctx, "vss/transactions-thawed", "", sim.S("manager", tm.Name()))
	}
	return first
}

// transactionsFailed gives a manager's failure its code, unless the set was given
// up.
func (s *Service) transactionsFailed(work context.Context, manager string, err error, code HRESULT) error {
	if work.Err() != nil {
		return work.Err()
	}
	s.Log(s.actor, LogEntry{ID: LogUnexpectedCall, Text: "unexpected error with the transaction manager " + manager + ": " + codeName(code)})
	return fail("DoSnapshotSet", manager, code, "%v", err)
}
