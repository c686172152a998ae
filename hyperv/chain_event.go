package hyperv

import (
	"errors"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/vss"
)

// EventChainBroken is the number under which the host's VHD driver reports that a
// differencing disk cannot be opened, for what is in the place of its parent is
// another disk, or one that was written since (the driver's event provider).
const EventChainBroken = 7

// Where the VHD driver writes its entries.
const (
	logSourceVHD = "VHDMP"
	logNameVHD   = "Microsoft-Windows-VHDMP-Operational"
)

// A ChainError says that the file in the place of a differencing VHD's parent is not
// its parent. It wraps [vhd.ErrParentID], [vhd.ErrParentTime] or [vhd.ErrParentSize].
type ChainError struct {
	Child, Parent string // whole paths
	Err           error
}

// Error names both files.
func (e *ChainError) Error() string {
	return e.Child + ": its parent " + e.Parent + ": " + e.Err.Error()
}

// Unwrap is what does not fit.
func (e *ChainError) Unwrap() error { return e.Err }

// noteChain writes into the event log if an error is that of a broken chain: the
// identity or the time stamp of the parent is not the one recorded. It returns the
// error.
func (h *Host) noteChain(err error) error {
	broken, ok := errors.AsType[*ChainError](err)
	if ok && h.Running() && (errors.Is(err, vhd.ErrParentID) || errors.Is(err, vhd.ErrParentTime)) {
		h.service.Log(h.actor, vss.LogEntry{
			Log: logNameVHD, Source: logSourceVHD, ID: EventChainBroken, Level: vss.LogError,
			Text: "the chain of virtual disk " + broken.Child + " is broken: " + broken.Parent + " is not the parent that it was made on: " + broken.Err.Error(),
		})
	}
	return err
}
