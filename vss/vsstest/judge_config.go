package vsstest

import (
	"strings"

	"github.com/shadowsim/shadowsim/vss"
)

// A JudgeConfig says what kind of writer a [Judge] is: what a configuration file
// of the VSS test writer says ("VSS Test Writer Tool"). [ReadJudgeConfig] reads
// one.
type JudgeConfig struct {
	Usage     vss.UsageType
	Verbosity string // low, medium or high; it has no effect

	// DeleteFiles deletes the files that are backed up as soon as the shadow
	// copies are there, so that a requester which reads the live volume finds
	// nothing. Files of which only parts, or only changes, are backed up have
	// switches of their own.
	DeleteFiles            bool
	DeletePartialFiles     bool
	DeleteDifferencedFiles bool

	CheckIncludes bool // look for the files that a restore must bring back
	CheckExcludes bool // and for those that it must not

	Schema     vss.BackupSchema
	Restore    vss.RestorePolicy
	Excludes   []vss.FileSpec
	Components []JudgeComponent
	Fails      []FailEvent

	// Unknown lists what the file has beyond what is known, as sentences. It has
	// no effect.
	Unknown []string
}

// A JudgeComponent is a component of the configuration. Partial and differenced
// files are named to the requester in incremental and differential backups; a
// writer that supports neither names partial files in every backup.
type JudgeComponent struct {
	vss.ComponentInfo
	Partial     []vss.PartialFile
	Differenced []vss.DifferencedFiles
}

// A FailEvent makes a judge refuse an event.
type FailEvent struct {
	Event     vss.Event
	Retryable bool
	Times     int         // the first so many times; 0 is every time
	Code      vss.HRESULT // what is reported; by default what Retryable calls for
}

// code is what the judge reports. The tool reports a random one of the retryable
// codes; this is always the same.
func (f FailEvent) code() vss.HRESULT {
	switch {
	case f.Code != vss.SOK:
		return f.Code
	case f.Retryable:
		return vss.ErrWriterErrorRetryable
	}
	return vss.ErrWriterErrorNonRetryable
}

// A JudgeConfigError is a configuration file that cannot be used.
type JudgeConfigError struct {
	Element   string // "ComponentFile"
	Attribute string // "recursive", or ""
	Problem   string
	Err       error // what the XML reader found, or nil
}

// Error names the element, the attribute, and what is wrong with it.
func (e *JudgeConfigError) Error() string {
	parts := []string{"configuration of the test writer"}
	for _, s := range []string{e.Element, e.Attribute, e.Problem} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the XML reader's error.
func (e *JudgeConfigError) Unwrap() error { return e.Err }

// check works out the schema and builds the metadata once, which refuses what
// cannot be.
func (c *JudgeConfig) check() error {
	logs, differences := false, false
	for i := range c.Components {
		logs = logs || len(c.Components[i].LogFiles) > 0
		differences = differences || len(c.Components[i].Differenced) > 0
	}
	chain := c.Schema&(vss.SchemaIncremental|vss.SchemaDifferential) != 0
	if !logs {
		c.Schema &^= vss.SchemaLog
	}
	if chain {
		c.Schema |= vss.SchemaTimestamped
	}
	if chain && differences {
		c.Schema |= vss.SchemaLastModify
	}
	if c.Restore.Method == vss.MethodUndefined {
		c.Restore.Method, c.Restore.WriterRestore = vss.MethodRestoreIfCanReplace, vss.WriterRestoreAlways
	}
	m := vss.NewWriterMetadata(vss.WriterIdentity{})
	if err := c.describe(m); err != nil {
		return &JudgeConfigError{Element: "TestWriter", Err: err}
	}
	return nil
}

// describe fills a writer's metadata in.
func (c *JudgeConfig) describe(m *vss.WriterMetadata) error {
	if err := m.SetBackupSchema(c.Schema); err != nil {
		return err
	}
	if err := m.SetRestoreMethod(c.Restore); err != nil {
		return err
	}
	for i := range c.Components {
		if err := m.AddComponent(c.Components[i].ComponentInfo); err != nil {
			return err
		}
	}
	for _, x := range c.Excludes {
		if err := m.AddExcludeFiles(x); err != nil {
			return err
		}
	}
	return nil
}
