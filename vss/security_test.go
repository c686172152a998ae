package vss_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// accounts sets a service up so that actors by their names act for accounts.
func accounts(c vss.ServiceConfig, of map[string]vss.Account) vss.ServiceConfig {
	c.Account = func(a *sim.Actor) vss.Account {
		if account, ok := of[a.Path()]; ok {
			return account
		}
		return vss.LocalSystem
	}
	return c
}

// TestAccessByAccount holds the accounts, with every value of the registry key,
// against the page "Security Considerations for Requesters": administrators, backup
// operators and the system may be both, 0 shuts out even them, 1 lets an account
// be a writer, 2 a requester, 3 both.
func TestAccessByAccount(t *testing.T) {
	const unlisted = 9
	for _, tt := range []struct {
		account   vss.Account
		value     vss.Access
		requester bool
		writer    bool
	}{
		{vss.Administrator, unlisted, true, true}, {vss.BackupOperator, unlisted, true, true}, {vss.LocalSystem, unlisted, true, true},
		{vss.OrdinaryUser, unlisted, false, false}, {vss.LocalService, unlisted, false, false}, {vss.NetworkService, unlisted, false, false},
		{vss.Account(77), unlisted, false, false},
		{vss.Administrator, vss.AccessNone, false, false}, {vss.LocalSystem, vss.AccessNone, false, false}, {vss.OrdinaryUser, vss.AccessNone, false, false},
		{vss.OrdinaryUser, vss.AccessWriter, false, true}, {vss.OrdinaryUser, vss.AccessRequester, true, false}, {vss.OrdinaryUser, vss.AccessBoth, true, true},
		{vss.NetworkService, vss.AccessWriter, false, true}, {vss.Account(77), vss.AccessRequester, true, false},
		{vss.Administrator, vss.AccessWriter, true, true}, {vss.BackupOperator, vss.AccessRequester, true, true},
	} {
		t.Run(fmt.Sprintf("%v %v", tt.account, tt.value), func(t *testing.T) {
			c := vss.ServiceConfig{}
			if tt.value != unlisted {
				c.AccessControl = map[vss.Account]vss.Access{tt.account: tt.value}
			}
			w := sim.New()
			defer func() { _ = w.Close() }()
			s := vss.NewService(w.Actor("h1").Child("vss"), accounts(c, map[string]vss.Account{"someone": tt.account}))
			someone := w.Actor("someone")
			err := someone.Call(t.Context(), "try", func(ctx context.Context) error {
				b, err := s.CreateBackupComponents(ctx)
				if err != nil {
					return err
				}
				return b.Release(ctx)
			})
			if !tt.requester && !errors.Is(err, vss.ErrAccessDenied) || tt.requester && err != nil {
				t.Errorf("as a requester: %v", err)
			}
			_, err = s.Subscribe(&quiet{}, vss.WriterConfig{Actor: someone, ClassID: guid.GUID{1}, Name: "x"})
			if !tt.writer && !errors.Is(err, vss.ErrAccessDenied) || tt.writer && err != nil {
				t.Errorf("as a writer: %v", err)
			}
		})
	}
}

// TestGuardedCalls has a stranger call the methods of an administrator's object:
// those whose pages name E_ACCESSDENIED give it before the method runs, whatever
// the phase, and the object stays as it was.
func TestGuardedCalls(t *testing.T) {
	guarded := []string{"InitializeForBackup", "EnableWriterClasses", "DisableWriterClasses", "DisableWriterInstances", "GatherWriterMetadata",
		"IsVolumeSupported", "AddToSnapshotSet", "GatherWriterStatus", "DoSnapshotSet", "ImportSnapshots", "DeleteSnapshots",
		"BreakSnapshotSet", "ExposeSnapshot", "UnexposeSnapshot", "Query", "RevertToSnapshot", "QueryRevertStatus",
		"InitializeForRestore", "PostRestore"}
	first := newMachine(t, vss.ServiceConfig{})
	first.b.schema = fullSchema
	xml, err := first.backup2()
	first.must(err)
	for _, st := range stages(xml) {
		for method := range calls(first, xml) {
			if method == "GetSnapshotProperties" || method == "Release" {
				continue // the one reads without a caller, the other ends the object
			}
			m := newMachine(t, accounts(vss.ServiceConfig{}, map[string]vss.Account{"stranger": vss.OrdinaryUser}))
			var b *vss.BackupComponents
			m.must(m.as(func(ctx context.Context) (err error) {
				b, err = m.s.CreateBackupComponents(ctx)
				return errors.Join(err, st.reach(ctx, m, b))
			}))
			err := m.w.Actor("stranger").Call(t.Context(), "try", func(ctx context.Context) error { return calls(m, xml)[method](ctx, b) })
			want := slices.Contains(guarded, method)
			if errors.Is(err, vss.ErrAccessDenied) != want {
				t.Errorf("%s in %v: %v", method, st.phase, err)
			}
			if want && b.Phase() != st.phase {
				t.Errorf("%s leads from %v to %v", method, st.phase, b.Phase())
			}
		}
	}
}

// What only reads is refused to an owner who has lost its rights.
func TestGuardedReads(t *testing.T) {
	rights := vss.Administrator
	m := newMachine(t, vss.ServiceConfig{Account: func(*sim.Actor) vss.Account { return rights }})
	m.must(m.as(func(ctx context.Context) error {
		b, ids, err := m.take(ctx, vss.ContextFileShareBackup, `C:\`)
		rights = vss.OrdinaryUser
		if _, e := b.GetSnapshotProperties(ids[0]); !errors.Is(e, vss.ErrAccessDenied) {
			t.Errorf("%v", e)
		}
		rights = vss.Administrator
		_, e := b.GetSnapshotProperties(ids[0])
		return errors.Join(err, e, b.Release(ctx))
	}))
}

// TestWritersThatCannotCallBack: a requester's process must let its writers'
// accounts in, and a writer's process the requester's. Where one of them does not,
// the writer is missing from metadata and status, hears nothing, and the
// Application log says why under 8194.
func TestWritersThatCannotCallBack(t *testing.T) {
	user, network := vss.OrdinaryUser, vss.NetworkService
	both := map[vss.Account]vss.Access{user: vss.AccessBoth}
	admin := func(admits bool) func(*sim.Actor, vss.Account) bool {
		return func(p *sim.Actor, caller vss.Account) bool {
			return admits || caller == vss.LocalSystem || p.Path() != "h1/backup"
		}
	}
	for _, tt := range []struct {
		name      string
		requester vss.Account
		writer    vss.Account
		control   map[vss.Account]vss.Access
		admits    func(*sim.Actor, vss.Account) bool
		missing   bool
	}{
		{name: "both for the system", requester: vss.LocalSystem, writer: vss.LocalSystem},
		{name: "an administrator and a backup operator", requester: vss.Administrator, writer: vss.BackupOperator},
		{name: "a network service that is let in as a writer", requester: vss.Administrator, writer: network, control: map[vss.Account]vss.Access{network: vss.AccessWriter}},
		{name: "a listed user as requester", requester: user, writer: vss.Administrator, control: both},
		{name: "a listed user as both", requester: user, writer: user, control: both},
		{name: "a requester that lets in nobody but the system", requester: vss.Administrator, writer: vss.Administrator, admits: admin(false), missing: true},
		{name: "a requester that lets everybody in", requester: vss.Administrator, writer: vss.Administrator, admits: admin(true)},
		{name: "the registry before the process's own setting", requester: vss.Administrator, writer: user, control: both, admits: admin(false)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := vss.ServiceConfig{AccessControl: tt.control, Admits: tt.admits}
			m := newMachine(t, accounts(c, map[string]vss.Account{"h1/backup": tt.requester, "h1/B": tt.writer}))
			m.must(m.as(func(ctx context.Context) error {
				b, err := m.prepared(ctx, m.f, m.b)
				err = errors.Join(err, b.DoSnapshotSet(ctx))
				if _, _, e := status(ctx, b, m.b); (e != nil) != tt.missing {
					t.Errorf("its status: %v", e)
				}
				return errors.Join(err, b.Release(ctx))
			}))
			if heard := len(m.b.heard) > 0; heard == tt.missing || !slices.Contains(m.f.heard, "Freeze") {
				t.Errorf("B heard %v, F %v", m.b.heard, m.f.heard)
			}
			logged := slices.ContainsFunc(vss.EventLog(m.w.Trace()), func(e vss.LogEntry) bool {
				return e.ID == vss.LogWriterCallback && e.Actor == "h1/B" && e.Log == "Application" && e.Source == "VSS" && e.Level == vss.LogError
			})
			if logged != tt.missing {
				t.Errorf("the log says %+v", vss.EventLog(m.w.Trace()))
			}
		})
	}
	// A process that is set up with care does not let just anybody in, and a
	// writer's account that lost its rights is such a one.
	rights := vss.Administrator
	m := newMachine(t, vss.ServiceConfig{Account: func(a *sim.Actor) vss.Account {
		if a.Path() == "h1/B" {
			return rights
		}
		return vss.LocalSystem
	}})
	rights = vss.OrdinaryUser
	m.must(m.as(func(ctx context.Context) error { return gatherOnly(ctx, m) }))
	if len(m.b.heard) > 0 {
		t.Errorf("B heard %v", m.b.heard)
	}
	rights = vss.LocalService
	m.must(m.as(func(ctx context.Context) error { return gatherOnly(ctx, m) }))
	if len(m.b.heard) != 1 {
		t.Errorf("a local service is not let in: %v", m.b.heard)
	}
}
