package vss

import (
	"slices"
	"strings"
)

// NewWriterMetadata returns the document of a writer that has said nothing but
// who it is (IVssCreateWriterMetadata).
func NewWriterMetadata(id WriterIdentity) *WriterMetadata { return &WriterMetadata{Identity: id} }

// SetBackupSchema says what the writer can do beyond full backups. A combination
// that makes no sense is an [ErrInvalidArg].
func (m *WriterMetadata) SetBackupSchema(s BackupSchema) error {
	if err := s.Check(); err != nil {
		return err
	}
	m.Schema = s
	return nil
}

// SetRestoreMethod says how the files are to be put back. Every writer must call
// it once; a later call replaces the policy and keeps the alternate locations.
// An undefined method or participation, and a method that needs a service
// without its name, are an [ErrInvalidArg]
// ("IVssCreateWriterMetadata::SetRestoreMethod").
func (m *WriterMetadata) SetRestoreMethod(p RestorePolicy) error {
	const op = "SetRestoreMethod"
	if problem := p.problem(); problem != "" {
		return fail(op, m.Identity.FriendlyName, ErrInvalidArg, "%s", problem)
	}
	for i := range p.AlternateLocations {
		if problem := p.AlternateLocations[i].problem(); problem != "" {
			return fail(op, m.Identity.FriendlyName, ErrInvalidArg, "%s", problem)
		}
	}
	if m.Restore != nil {
		p.AlternateLocations = append(m.Restore.AlternateLocations, p.AlternateLocations...)
	}
	m.Restore = &p
	return nil
}

func (p *RestorePolicy) problem() string {
	switch {
	case p.Method <= MethodUndefined || p.Method > MethodRestoreStopStart:
		return "no restore method"
	case p.WriterRestore <= WriterRestoreUndefined || p.WriterRestore > WriterRestoreAlways:
		return "whether the writer takes part in a restore is not said"
	case p.Method.UsesService() && p.Service == "":
		return p.Method.String() + " needs the name of a service"
	}
	return ""
}

// AddAlternateLocationMapping says where files go whose own place is not free.
// It comes after SetRestoreMethod, else it is an [ErrObjectNotFound]. Its files
// must be those of a file set, word for word; as the file set may be added
// later, [WriterMetadata.Check] looks for it.
func (m *WriterMetadata) AddAlternateLocationMapping(l FileMapping) error {
	const op = "AddAlternateLocationMapping"
	if m.Restore == nil {
		return fail(op, m.Identity.FriendlyName, ErrObjectNotFound, "no restore method has been set")
	}
	if problem := l.problem(); problem != "" {
		return fail(op, m.Identity.FriendlyName, ErrInvalidArg, "%s", problem)
	}
	m.Restore.AlternateLocations = append(m.Restore.AlternateLocations, l)
	return nil
}

// AddExcludeFiles leaves files out of every backup, whatever file sets say.
func (m *WriterMetadata) AddExcludeFiles(f FileSpec) error {
	if problem := f.problem(); problem != "" {
		return fail("AddExcludeFiles", m.Identity.FriendlyName, ErrInvalidArg, "%s", problem)
	}
	m.noteOrder(excludesChild)
	m.Excludes = append(m.Excludes, ExcludedFiles{FileSpec: f})
	return nil
}

// AddExcludeFilesFromSnapshot announces that the writer deletes files from the
// shadow copy in PostSnapshot. They may be rooted without a drive, and then are
// meant on every volume.
func (m *WriterMetadata) AddExcludeFilesFromSnapshot(f FileSpec) error {
	if problem := f.problem(); problem != "" {
		return fail("AddExcludeFilesFromSnapshot", m.Identity.FriendlyName, ErrInvalidArg, "%s", problem)
	}
	m.noteOrder(snapshotExcludesChild)
	m.SnapshotExcludes = append(m.SnapshotExcludes, ExcludedFiles{FileSpec: f})
	return nil
}

// AddComponent adds a component, with the file sets and dependencies it comes
// with. A component of that name is an [ErrObjectAlreadyExists]; a missing type,
// a missing name or one with a backslash, and file sets that the methods for
// them refuse are an [ErrInvalidArg].
func (m *WriterMetadata) AddComponent(c ComponentInfo) error {
	const op = "AddComponent"
	if problem := c.problem(); problem != "" {
		return fail(op, c.FullPath(), ErrInvalidArg, "%s", problem)
	}
	for i := range c.Dependencies {
		if problem := m.dependencyProblem(&c.Dependencies[i]); problem != "" {
			return fail(op, c.FullPath(), ErrInvalidArg, "%s", problem)
		}
	}
	m.index.rebuild(len(m.Components), m.keyAt)
	if _, ok := m.find(c.ComponentKey); ok {
		return &Error{Op: op, On: c.FullPath(), Err: ErrObjectAlreadyExists}
	}
	c.Files, c.DatabaseFiles, c.LogFiles = withMasks(c.Files), withMasks(c.DatabaseFiles), withMasks(c.LogFiles)
	m.noteOrder(componentsChild)
	m.index.add(len(m.Components), c.ComponentKey.fold())
	m.Components = append(m.Components, c)
	return nil
}

// withMasks copies file sets and fills in the masks that were not given.
func withMasks(sets []FileSet) []FileSet {
	sets = slices.Clone(sets)
	for i := range sets {
		sets[i].Mask = orDefaultMask(sets[i].Mask)
	}
	return sets
}

func orDefaultMask(m FileSpecBackupType) FileSpecBackupType {
	if m == 0 {
		return FileSpecDefault
	}
	return m
}

// problem says which rule the component breaks by itself, or "".
func (c *ComponentInfo) problem() string {
	switch {
	case c.Type != ComponentDatabase && c.Type != ComponentFileGroup:
		return "the component is neither database nor file group"
	case c.Name == "":
		return "the component has no name"
	case strings.Contains(c.Name, `\`):
		return "the component's name holds a backslash"
	case c.Type != ComponentFileGroup && len(c.Files) > 0:
		return "a database has files of a file group"
	case c.Type != ComponentDatabase && len(c.DatabaseFiles)+len(c.LogFiles) > 0:
		return "a file group has files of a database"
	}
	for set := range c.FileSets() {
		if problem := c.fileProblem(set); problem != "" {
			return problem
		}
	}
	return ""
}

// fileProblem says why set cannot be a file set of the component, or "".
func (c *ComponentInfo) fileProblem(set *FileSet) string {
	if c.Type == ComponentDatabase && set.Recursive {
		return "files of a database are not recursive"
	}
	if c.Type == ComponentDatabase && set.AlternatePath != "" {
		return "files of a database have no alternate path"
	}
	return set.problem()
}

// AddFilesToFileGroup adds a file set to a file group. An unknown component is
// an [ErrObjectNotFound], a database or a malformed file set an [ErrInvalidArg].
func (m *WriterMetadata) AddFilesToFileGroup(key ComponentKey, set FileSet) error {
	c, err := m.admitFiles("AddFilesToFileGroup", key, ComponentFileGroup, &set)
	if err == nil {
		c.Files = append(c.Files, set)
	}
	return err
}

// AddDatabaseFiles adds data files to a database. They are neither recursive nor
// have they an alternate path; otherwise as AddFilesToFileGroup.
func (m *WriterMetadata) AddDatabaseFiles(key ComponentKey, set FileSet) error {
	c, err := m.admitFiles("AddDatabaseFiles", key, ComponentDatabase, &set)
	if err == nil {
		c.DatabaseFiles = append(c.DatabaseFiles, set)
	}
	return err
}

// AddDatabaseLogFiles adds log files to a database, as AddDatabaseFiles does.
func (m *WriterMetadata) AddDatabaseLogFiles(key ComponentKey, set FileSet) error {
	c, err := m.admitFiles("AddDatabaseLogFiles", key, ComponentDatabase, &set)
	if err == nil {
		c.LogFiles = append(c.LogFiles, set)
	}
	return err
}

func (m *WriterMetadata) admitFiles(op string, key ComponentKey, want ComponentType, set *FileSet) (*ComponentInfo, error) {
	c := m.Component(key)
	if c == nil {
		return nil, &Error{Op: op, On: key.FullPath(), Err: ErrObjectNotFound}
	}
	if c.Type != want {
		return nil, fail(op, key.FullPath(), ErrInvalidArg, "the component is a %v", c.Type)
	}
	if problem := c.fileProblem(set); problem != "" {
		return nil, fail(op, key.FullPath(), ErrInvalidArg, "%s", problem)
	}
	set.Mask = orDefaultMask(set.Mask)
	return c, nil
}

// AddComponentDependency says that a component is of no use without one of
// another writer. An unknown component is an [ErrObjectNotFound], a dependency
// on the writer itself, unless it is that of another machine, an [ErrInvalidArg].
func (m *WriterMetadata) AddComponentDependency(key ComponentKey, d Dependency) error {
	const op = "AddComponentDependency"
	c := m.Component(key)
	if c == nil {
		return &Error{Op: op, On: key.FullPath(), Err: ErrObjectNotFound}
	}
	if problem := m.dependencyProblem(&d); problem != "" {
		return fail(op, key.FullPath(), ErrInvalidArg, "%s", problem)
	}
	c.Dependencies = append(c.Dependencies, d)
	return nil
}

func (m *WriterMetadata) dependencyProblem(d *Dependency) string {
	switch {
	case d.Name == "":
		return "a dependency names no component"
	case d.WriterID == m.Identity.WriterID && !d.Remote():
		return "a dependency on the writer itself"
	}
	return ""
}

// noteOrder remembers in which order components and excluded files were added,
// for writers mix them and the document lists them so.
func (m *WriterMetadata) noteOrder(kind int) { locationsElement.noteNext(&m.locations, m, kind) }
