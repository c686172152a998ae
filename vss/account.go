package vss

import "github.com/shadowsim/shadowsim/vss/sim"

// An Account is on whose behalf an actor acts ("Security Considerations for
// Requesters", "Security Considerations for Writers"). COM's own details have no
// part in the model.
type Account int

// The accounts that matter. The zero Account may do everything.
const (
	Administrator Account = iota
	BackupOperator
	LocalSystem
	OrdinaryUser
)

// String names the account.
func (a Account) String() string {
	return nameOf([]string{"Administrator", "BackupOperator", "LocalSystem", "OrdinaryUser"}, int(a))
}

// MayBackUp tells whether the account may be a requester or a writer. All others
// get [ErrAccessDenied].
func (a Account) MayBackUp() bool {
	return a == Administrator || a == BackupOperator || a == LocalSystem
}

func (s *Service) admit(op string, actor *sim.Actor) error {
	if s.config.Account == nil || actor == nil {
		return nil
	}
	if a := s.config.Account(actor); !a.MayBackUp() {
		return fail(op, actor.Path(), ErrAccessDenied, "%v is neither an administrator nor a backup operator", a)
	}
	return nil
}
