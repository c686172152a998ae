package hyperv

import (
	"context"
	"errors"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// ManagementService is the display name of the service that the writer belongs
// to (R22).
const ManagementService = "Hyper-V Virtual Machine Management"

// A managementService is the process vmms.exe: the writer lives in it, and a
// restart makes a new instance of the writer. What the writer did and has to
// undo stands on the host and outlives the process.
type managementService struct {
	host   *Host
	actor  *sim.Actor // nil when the service is stopped
	writer *Writer
	sub    *vss.Subscription
}

func (s *managementService) running() bool { return s.actor != nil && !s.actor.Dead() }

// start starts the process and subscribes the writer.
func (s *managementService) start() error {
	if s.running() {
		return nil
	}
	s.actor = s.host.actor.Child("vmms")
	s.writer = NewWriter(s.host, s.host.managed())
	sub, err := s.host.service.Subscribe(s.writer, s.writer.config(s.actor))
	if err != nil {
		return err
	}
	s.sub = sub
	s.actor.Emit("service/start", "R22", sim.S("service", ManagementService))
	return nil
}

// stop ends the process. The machines go on.
func (s *managementService) stop(ctx context.Context) error {
	if s.running() {
		s.actor.Emit("service/stop", "R22", sim.S("service", ManagementService))
		s.sub.Unsubscribe()
	}
	if s.actor == nil {
		return nil
	}
	a := s.actor
	s.actor = nil
	return a.Close(context.WithoutCancel(ctx)) // its name is free for the next process
}

// managed is the management that writer and undo stack work with, in the wrapping
// that the host's configuration asks for.
func (h *Host) managed() Management {
	if h.wrapped == nil {
		h.wrapped = h.Management()
		if h.manage != nil {
			h.wrapped = h.manage(h.wrapped)
		}
	}
	return h.wrapped
}

// ManagementRunning tells whether the management service runs; without it the
// host has no Hyper-V writer (R22).
func (h *Host) ManagementRunning() bool { return h.vmms.running() }

// StartManagement starts the management service. It first undoes what an
// earlier run of the service left behind when it died: machines that its writer
// saved come back, snapshots inside guests are deleted, locks are given up. If
// some of that fails the service runs all the same, and the error says what.
func (h *Host) StartManagement(ctx context.Context) error {
	return h.call(ctx, "start vmms", func(ctx context.Context) error {
		if h.vmms.running() {
			return nil
		}
		if err := h.vmms.stop(ctx); err != nil {
			return err
		}
		err := h.undo.unwind(ctx, h.managed())
		return errors.Join(h.vmms.start(), err)
	})
}

// StopManagement stops the management service. Machines go on as they are.
func (h *Host) StopManagement(ctx context.Context) error {
	return h.call(ctx, "stop vmms", h.vmms.stop)
}

// Writer is the host's Hyper-V writer, or nil while the management service does
// not run.
func (h *Host) Writer() *Writer {
	if !h.vmms.running() {
		return nil
	}
	return h.vmms.writer
}
