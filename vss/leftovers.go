package vss

import "fmt"

// Leftovers lists what should not be there while no requester is at work: a
// shadow copy set in the making, sessions of writers that are still open, and
// shadow copies that were to be released with their requester. Each is a
// sentence. An empty list is what every backup and restore has to leave behind,
// whatever became of it.
func (s *Service) Leftovers() []string {
	var out []string
	if s.creating != nil {
		out = append(out, "a shadow copy set is being created")
	}
	for _, sub := range s.writers {
		for _, x := range sub.sessions {
			if !x.closed && !x.evicted {
				out = append(out, fmt.Sprintf("%s has an open session in state %v", sub.name, x.state))
			}
		}
	}
	for _, c := range s.Snapshots() {
		if c.Attributes&AttrNoAutoRelease == 0 {
			out = append(out, fmt.Sprintf("shadow copy %s of %s was not released", short(c.SnapshotID), c.OriginalVolumeName))
		}
	}
	return out
}
