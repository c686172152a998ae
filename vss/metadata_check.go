package vss

import (
	"errors"
	"fmt"
)

// Check returns all rules for writers that the document breaks, joined, or nil.
// A service takes a document that breaks them, and some well-known writers have
// one; a writer's own test should not ("Writer Metadata Document Contents",
// "Definition of Components by Writers").
func (m *WriterMetadata) Check() error {
	c := &metadataCheck{metadata: m, sets: map[FileSpec]string{}}
	c.writer()
	seen := map[ComponentKey]bool{}
	for i := range m.Components {
		component := &m.Components[i]
		if key := component.ComponentKey.fold(); seen[key] {
			c.found(component.FullPath(), ErrObjectAlreadyExists, "a component of that name stands before it")
		} else {
			seen[key] = true
		}
		c.component(component)
	}
	c.excludes()
	c.restore()
	return errors.Join(c.broken...)
}

// A metadataCheck collects the broken rules of one document.
type metadataCheck struct {
	metadata *WriterMetadata
	sets     map[FileSpec]string // the file sets seen, and whose they are
	logs     bool                // some database has log files
	broken   []error
}

func (c *metadataCheck) found(on string, h HRESULT, format string, args ...any) {
	c.broken = append(c.broken, fail("Check", on, h, format, args...))
}

// writer checks what is said about the writer as a whole.
func (c *metadataCheck) writer() {
	m, id := c.metadata, &c.metadata.Identity
	if id.WriterID == [16]byte{} {
		c.found(id.FriendlyName, ErrInvalidArg, "the writer has no class id")
	}
	if id.FriendlyName == "" {
		c.found("", ErrInvalidArg, "the writer has no name")
	}
	if id.Usage <= UsageUndefined || id.Usage > UsageOther {
		c.found(id.FriendlyName, ErrInvalidArg, "the writer does not say what it is used for")
	}
	if id.Source <= SourceUndefined || id.Source > SourceOther {
		c.found(id.FriendlyName, ErrInvalidArg, "the writer does not say what kind of data it has")
	}
	if len(m.Components) == 0 {
		c.found(id.FriendlyName, ErrObjectNotFound, "the writer has no component")
	}
}

func (c *metadataCheck) component(info *ComponentInfo) {
	on := info.FullPath()
	if problem := info.problem(); problem != "" {
		c.found(on, ErrInvalidArg, "%s", problem)
	}
	if info.RestoreMetadata || info.NotifyOnBackupComplete {
		c.found(on, ErrInvalidArg, "a reserved flag is set")
	}
	if len(info.LogFiles) > 0 {
		c.logs = true
	}
	for set := range info.FileSets() {
		key := set.FileSpec.fold()
		if other, twice := c.sets[key]; twice {
			c.found(on, ErrObjectAlreadyExists, "%v is named twice, also by %s", set.FileSpec, other)
			continue
		}
		c.sets[key] = on
	}
	for i := range info.Dependencies {
		if problem := c.metadata.dependencyProblem(&info.Dependencies[i]); problem != "" {
			c.found(on, ErrInvalidArg, "%s", problem)
		}
	}
}

func (c *metadataCheck) excludes() {
	for _, list := range [][]ExcludedFiles{c.metadata.Excludes, c.metadata.SnapshotExcludes} {
		for i := range list {
			if problem := list[i].problem(); problem != "" {
				c.found(c.metadata.Identity.FriendlyName, ErrInvalidArg, "%s", problem)
			}
		}
	}
}

// restore checks restore method and schema, which speak of the file sets.
func (c *metadataCheck) restore() {
	m, on := c.metadata, c.metadata.Identity.FriendlyName
	if err := m.Schema.Check(); err != nil {
		c.broken = append(c.broken, err)
	}
	if m.Schema&SchemaLog != 0 && !c.logs {
		c.found(on, ErrInvalidArg, "log backups without a log file")
	}
	if m.Restore == nil {
		c.found(on, ErrObjectNotFound, "no restore method")
		return
	}
	if problem := m.Restore.problem(); problem != "" {
		c.found(on, ErrInvalidArg, "%s", problem)
	}
	if m.Restore.Service != "" && !m.Restore.Method.UsesService() {
		c.found(on, ErrInvalidArg, "%v has no use for a service", m.Restore.Method)
	}
	for i := range m.Restore.AlternateLocations {
		l := &m.Restore.AlternateLocations[i]
		if _, ok := c.sets[l.FileSpec.fold()]; !ok {
			c.found(on, ErrObjectNotFound, "%v", mappingProblem(l))
		}
	}
}

func mappingProblem(l *FileMapping) string {
	if problem := l.problem(); problem != "" {
		return problem
	}
	return fmt.Sprintf("the mapping of %v matches no file set", l.FileSpec)
}
