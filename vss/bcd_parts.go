package vss

import (
	"fmt"
	"strings"
)

// problem says what is wrong with a part of a file, or "".
func (p FilePart) problem() string {
	switch {
	case p.Path == "" || p.Name == "":
		return "a part of a file has no path or no name"
	case strings.ContainsAny(strings.TrimPrefix(p.Path, `\\?\`), "?*"), strings.ContainsAny(p.Name, `?*\`):
		return fmt.Sprintf("%s in %s holds a wildcard, or the name a backslash", p.Name, p.Path)
	}
	if _, _, err := ParseRanges(p.Ranges); err != nil {
		return fmt.Sprintf("%s in %s: %v", p.Name, p.Path, err)
	}
	return ""
}

// problem says what is wrong with a directed target, or "". Ranges that are kept
// in a file are not compared.
func (t DirectedTarget) problem() string {
	for _, part := range []FilePart{t.Source, t.Destination} {
		if problem := part.problem(); problem != "" {
			return problem
		}
	}
	from, file, _ := ParseRanges(t.Source.Ranges)
	to, file2, _ := ParseRanges(t.Destination.Ranges)
	if file != "" || file2 != "" {
		return ""
	}
	if len(from) != len(to) {
		return fmt.Sprintf("%d ranges go to %d", len(from), len(to))
	}
	for i := range from {
		if from[i].Length != to[i].Length {
			return fmt.Sprintf("%v goes to %v", from[i], to[i])
		}
	}
	return ""
}

// holds tells whether a directory is one of the component set's file sets, or
// lies below one.
func (c *WriterComponent) holds(path string) bool {
	for i := range c.call.session.metadata.Components {
		info := &c.call.session.metadata.Components[i]
		if !info.Same(c.r.ComponentKey) && !info.IsDescendantOf(c.r.ComponentKey) {
			continue
		}
		for set := range info.FileSets() {
			if inDirectory(windowsPath(path), windowsPath(set.Path)) {
				return true
			}
		}
	}
	return false
}
