package hyperv

// WriterSessions counts the backups that the host's writer remembers.
func (h *Host) WriterSessions() int { return len(h.vmms.writer.sessions) }
