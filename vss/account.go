package vss

import (
	"context"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// An Account is on whose behalf an actor acts ("Security Considerations for
// Requesters", "Security Considerations for Writers"). COM's own details have no
// part in the model: one actor is one principal.
type Account int

// The accounts that matter. The zero Account may do everything. A model that
// needs more of them takes other numbers; such an account is nobody special.
const (
	Administrator Account = iota
	BackupOperator
	LocalSystem
	OrdinaryUser
	LocalService
	NetworkService
)

// String names the account.
func (a Account) String() string {
	return nameOf([]string{"Administrator", "BackupOperator", "LocalSystem", "OrdinaryUser", "LocalService", "NetworkService"}, int(a))
}

// MayBackUp tells whether the account may be a requester or a writer where
// nothing else is said ([ServiceConfig.AccessControl]). All others get
// [ErrAccessDenied].
func (a Account) MayBackUp() bool {
	return a == Administrator || a == BackupOperator || a == LocalSystem
}

// An Access is what the registry value of an account below VSS\VssAccessControl
// says ("Security Considerations for Requesters").
type Access uint8

// The values. AccessNone shuts out even an account that may back up; the others
// grant something in addition to what the account may anyway.
const (
	AccessNone      Access = 0 // neither writer nor requester
	AccessWriter    Access = 1
	AccessRequester Access = 2
	AccessBoth      Access = 3
)

// String names what is granted.
func (a Access) String() string {
	return nameOf([]string{"none", "writer", "requester", "both"}, int(a))
}

// may tells whether an account may act in a role.
func (s *Service) may(a Account, role Access) bool {
	granted, listed := s.config.AccessControl[a]
	switch {
	case listed && granted == AccessNone:
		return false
	case listed && granted&role != 0:
		return true
	}
	return a.MayBackUp()
}

// admit refuses an actor whose account may not act in the role.
func (s *Service) admit(op string, actor *sim.Actor, role Access) error {
	if s.config.Account == nil || actor == nil {
		return nil
	}
	if a := s.config.Account(actor); !s.may(a, role) {
		return fail(op, actor.Path(), ErrAccessDenied, "%v may not be a %v", a, role)
	}
	return nil
}

// caller is the actor that makes a call, where that matters.
func (s *Service) caller(ctx context.Context) *sim.Actor {
	if s.config.Account == nil {
		return nil
	}
	return sim.Self(ctx)
}

// accountOf is on whose behalf an actor acts.
func (s *Service) accountOf(a *sim.Actor) Account {
	if s.config.Account == nil {
		return Administrator
	}
	return s.config.Account(a)
}

// reach tells whether a requester and a writer can call each other: a requester
// calls its writers' handlers, and they call back to edit the documents. Each
// process lets in who the documentation says it must, unless it was set up
// otherwise. A writer that cannot be reached, or cannot call back, is missing from
// the requester's lists.
func (b *BackupComponents) reach(sub *Subscription) bool {
	s := b.service
	if s.config.Account == nil && s.config.Admits == nil {
		return true
	}
	requester, writer := s.accountOf(b.owner), s.accountOf(sub.actor)
	in := s.admits(sub.actor, requester, requester == writer || requester.MayBackUp())
	back := s.admits(b.owner, writer, writer.MayBackUp() || writer == LocalService || writer == NetworkService)
	if in && back {
		return true
	}
	from, to := writer, b.owner
	if !in {
		from, to = requester, sub.actor
	}
	s.Log(sub.actor, LogEntry{ID: LogWriterCallback, Level: LogError, Text: "access denied querying for the callback interface of writer " +
		sub.name + " " + guid.Braced(sub.config.ClassID) + ": " + to.Path() + " does not let " + from.String() + " in"})
	return false
}

// admits tells whether a process lets a caller in. Standard is what the
// documentation has for a process that takes care.
func (s *Service) admits(process *sim.Actor, caller Account, standard bool) bool {
	if granted, listed := s.config.AccessControl[caller]; listed {
		return granted != AccessNone
	}
	if s.config.Admits != nil {
		return s.config.Admits(process, caller)
	}
	return standard
}
