package vss

import (
	"fmt"
	"strings"
)

// A FileSpec names files: those in a directory whose names match a pattern of
// ? and *, and, if Recursive, those in all directories below. The path may hold
// environment variables, but no wildcards; its trailing backslash is optional
// (IVssWMFiledesc).
type FileSpec struct {
	Path      string
	Spec      string
	Recursive bool
}

// String prints the files as a path: D:\VMs\*, with "..." in front of the
// pattern if it reaches below.
func (f FileSpec) String() string {
	dir := strings.TrimSuffix(f.Path, `\`) + `\`
	if f.Recursive {
		dir += `...\`
	}
	return dir + f.Spec
}

// Same tells whether f and other name the same files by the same words: the
// services match file sets so, without regard to case and to a trailing
// backslash.
func (f FileSpec) Same(other FileSpec) bool {
	return f.Recursive == other.Recursive && sameFolded(f.Spec, other.Spec) &&
		sameFolded(strings.TrimSuffix(f.Path, `\`), strings.TrimSuffix(other.Path, `\`))
}

func (f FileSpec) fold() FileSpec {
	return FileSpec{fold(strings.TrimSuffix(f.Path, `\`)), fold(f.Spec), f.Recursive}
}

// problem says what is wrong with f, or "".
func (f FileSpec) problem() string {
	switch {
	case f.Path == "":
		return "a file set has no path"
	case strings.ContainsAny(strings.TrimPrefix(f.Path, `\\?\`), "?*"):
		return fmt.Sprintf("path %s holds a wildcard", f.Path)
	case f.Spec == "":
		return fmt.Sprintf("no file specification for %s", f.Path)
	case strings.Contains(f.Spec, `\`):
		return fmt.Sprintf("file specification %s holds a backslash", f.Spec)
	}
	return ""
}

// A FileSet is a group of files of a component (IVssWMFiledesc).
type FileSet struct {
	FileSpec

	// AlternatePath is where a backup finds the files instead, with the same
	// pattern and recursion. A restore never uses it.
	AlternatePath string

	// Mask tells for which backups the files are needed. The methods that add a
	// file set to a component take 0 for [FileSpecDefault].
	Mask FileSpecBackupType

	extra *extra
}

// Source returns where a backup reads the files: the alternate path if there is
// one.
func (s FileSet) Source() FileSpec {
	f := s.FileSpec
	if s.AlternatePath != "" {
		f.Path = s.AlternatePath
	}
	return f
}

// A FileMapping sends a file set to another directory: an alternate location
// that a writer offers or a requester has used, or a new target that a requester
// has chosen ("Working with Alternate Locations during Restore").
type FileMapping struct {
	FileSpec
	Destination string

	extra *extra
}

func (m *FileMapping) problem() string {
	if m.Destination == "" {
		return fmt.Sprintf("%v is mapped to nowhere", m.FileSpec)
	}
	return m.FileSpec.problem()
}
