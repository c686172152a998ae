package vss

import (
	"context"
	"slices"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// RegisterProvider adds a provider. An ID that is taken is
// [ErrProviderAlreadyRegistered].
func (s *Service) RegisterProvider(p Provider, c ProviderConfig) error {
	if s.providerByID(c.ID) != nil {
		return fail("RegisterProvider", c.Name, ErrProviderAlreadyRegistered, "%s", guid.Braced(c.ID))
	}
	if c.Type == ProviderUnknown {
		c.Type = ProviderSoftware
	}
	if c.Actor == nil {
		c.Actor = s.actor.Child(c.Name)
	}
	info := ProviderInfo{ID: c.ID, Name: c.Name, Type: c.Type, Version: c.Version}
	s.providers = append(s.providers, &provider{service: s, Provider: p, ProviderInfo: info, actor: c.Actor})
	return nil
}

// UnregisterProvider takes a provider away. One that takes part in the set being
// made is [ErrProviderInUse]; an unknown one, and the system provider, which
// nobody registered, [ErrProviderNotRegistered].
func (s *Service) UnregisterProvider(id guid.GUID) error {
	const op = "UnregisterProvider"
	p := s.providerByID(id)
	if p == nil || p.Type == ProviderSystem {
		return fail(op, guid.Braced(id), ErrProviderNotRegistered, "no such provider")
	}
	if s.creating != nil && slices.ContainsFunc(s.creating.members, func(m *member) bool { return m.provider == p }) {
		return fail(op, p.Name, ErrProviderInUse, "a set is being made")
	}
	s.providers = slices.DeleteFunc(s.providers, func(o *provider) bool { return o == p })
	return nil
}

// Providers lists the providers, the system provider first.
func (s *Service) Providers() []ProviderInfo {
	var out []ProviderInfo
	for _, p := range s.providers {
		out = append(out, p.ProviderInfo)
	}
	return out
}

// Provider returns the provider with the ID, the system provider among them, nil
// if there is none. It is for those who test a provider: only the service calls it
// otherwise.
func (s *Service) Provider(id guid.GUID) Provider {
	if p := s.providerByID(id); p != nil {
		return p.Provider
	}
	return nil
}

func (s *Service) providerByID(id guid.GUID) *provider {
	for _, p := range s.providers {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// pick chooses the provider for a volume: any hardware provider that supports it,
// else any software provider, else the system provider, in the order of
// registration within a kind ("Selecting Providers").
func (s *Service) pick(ctx context.Context, v Volume, c SnapshotContext) (*provider, error) {
	for _, kind := range []ProviderType{ProviderHardware, ProviderFileShare, ProviderSoftware, ProviderSystem} {
		for _, p := range s.providers {
			if p.Type != kind {
				continue
			}
			ok, err := s.supports(ctx, p, v, c)
			if err != nil {
				return nil, err
			}
			if ok {
				return p, nil
			}
		}
	}
	return nil, fail("AddToSnapshotSet", v.Name(), ErrVolumeNotSupported, "no provider takes the volume in %v", c)
}

// supports asks a provider. Client-accessible copies are the system provider's
// alone.
func (s *Service) supports(ctx context.Context, p *provider, v Volume, c SnapshotContext) (bool, error) {
	if c.Attributes()&AttrClientAccessible != 0 && p.Type != ProviderSystem {
		return false, nil
	}
	ok := false
	err := s.callProvider(ctx, providerCall{p: p, point: PointProviderSupported, on: v.Name(), fn: func(ctx context.Context) (err error) {
		ok, err = p.IsVolumeSupported(ctx, v, c)
		return err
	}})
	return ok && err == nil, err
}

// A providerCall is a call to a provider: a process of the provider's actor.
type providerCall struct {
	p     *provider
	point sim.Point
	on    string // volume, or the set
	fn    func(ctx context.Context) error
	task
}

// callProvider makes a call and waits for it. The error is translated; a context
// that ends first leaves the call behind with a context that has ended too.
func (s *Service) callProvider(ctx context.Context, c providerCall) error {
	c.start()
	return c.wait(ctx)
}

func (c *providerCall) start() { c.task = startWork(c.p.actor, string(c.point), c.run) }

func (c *providerCall) run(ctx context.Context) error {
	sim.Emit(ctx, string(c.point), "", sim.S("provider", c.p.Name), sim.S("on", c.on))
	if err := sim.At(ctx, c.point); err != nil {
		return err
	}
	return sim.Protect(ctx, func() error { return c.fn(ctx) })
}

func (c *providerCall) wait(ctx context.Context) error {
	err := c.task.wait(ctx)
	if c.left {
		c.emitEnd(ErrAbort)
		return err
	}
	c.emitEnd(err)
	if err != nil {
		c.p.logFailure(c, err)
	}
	return c.p.translate(string(c.point), err)
}

func (c *providerCall) emitEnd(err error) {
	c.p.actor.Emit(endOf(string(c.point)), "", sim.S("provider", c.p.Name), sim.S("on", c.on), sim.S("hr", codeName(HRESULTOf(err))))
}

// logFailure notes a failed call in the event log.
func (p *provider) logFailure(c *providerCall, err error) {
	e := LogEntry{ID: LogProviderError, Text: "error calling " + string(c.point) + " of provider " + guid.Braced(p.ID) + " on " + c.on + ": " + codeName(HRESULTOf(err))}
	if p.actor.Dead() {
		e.ID, e.Text = LogProviderUnreachable, "the interface of provider "+guid.Braced(p.ID)+" cannot be reached for "+string(c.point)
	}
	p.service.Log(p.service.actor, e)
}

// translate makes what a provider returned into what a requester may see.
func (p *provider) translate(op string, err error) error {
	if err == nil {
		return nil
	}
	h := HRESULTOf(err)
	if legalProviderCode(h) {
		return &Error{Op: op, On: p.Name, Err: err}
	}
	return &Error{Op: op, On: p.Name, Err: &providerError{err}}
}

// legalProviderCode tells whether a provider may return h ("Error Handling in
// Shadow Copy Providers"). That page does not name [ErrRebootRequired], but
// DoSnapshotSet has it as a provider's error.
func legalProviderCode(h HRESULT) bool {
	switch h {
	case ErrOutOfMemory, ErrInvalidArg, ErrAccessDenied, ErrBadState, ErrObjectNotFound, ErrInsufficientStorage,
		ErrVolumeNotSupported, ErrVolumeNotSupportedByProvider, ErrMaximumNumberOfSnapshotsReached, ErrProviderVeto,
		ErrCannotRevertDiskID, ErrRebootRequired:
		return true
	}
	return false
}

// A providerError hides a code that a provider may not return.
type providerError struct{ err error }

// Error names the code and what was returned.
func (e *providerError) Error() string {
	return ErrUnexpectedProviderError.String() + ": " + e.err.Error()
}

// HRESULT is the code that stands for all others.
func (e *providerError) HRESULT() uint32 { return uint32(ErrUnexpectedProviderError) }

// Unwrap returns what the provider returned.
func (e *providerError) Unwrap() error { return e.err }

// eachProvider makes a call to every provider of the set at once and waits for
// all. The first one's error counts.
func (b *BackupComponents) eachProvider(ctx context.Context, point sim.Point, fn func(ctx context.Context, p *provider) error) error {
	providers := b.providers()
	calls := make([]*providerCall, 0, len(providers))
	set := short(b.setID)
	for _, p := range providers {
		c := &providerCall{p: p, point: point, on: set, fn: func(ctx context.Context) error { return fn(ctx, p) }}
		c.start()
		calls = append(calls, c)
	}
	var first error
	for _, c := range calls {
		if err := c.wait(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// providers lists the providers of the set, in the order they were first used.
func (b *BackupComponents) providers() []*provider {
	var out []*provider
	for _, m := range b.members {
		if !slices.Contains(out, m.provider) {
			out = append(out, m.provider)
		}
	}
	return out
}
