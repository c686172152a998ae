package requester

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// An Error says in which phase a backup or restore failed, and which writers had
// failed by then. It wraps the cause and the writers' codes.
type Error struct {
	Phase   string // "PrepareForBackup", "copy"
	On      string // a file or component, or ""
	Writers []vss.WriterStatus
	Err     error
}

// Error prints the cause and each failed writer with its state and code.
func (e *Error) Error() string {
	var parts []string
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	for _, w := range e.Writers {
		text := w.Name + ": " + w.State.String() + ": " + w.Code.Error()
		if w.Message != "" {
			text += ": " + w.Message
		}
		parts = append(parts, text)
	}
	s := e.Phase
	if e.On != "" {
		s += ": " + e.On
	}
	return s + ": " + strings.Join(parts, "; ")
}

// Unwrap gives the cause and the errors of the writers.
func (e *Error) Unwrap() []error {
	var out []error
	if e.Err != nil {
		out = append(out, e.Err)
	}
	for _, w := range e.Writers {
		out = append(out, w.Err())
	}
	return out
}

// Is tells whether the cause comes down to the code target, as [vss.HRESULTOf] has
// it.
func (e *Error) Is(target error) bool {
	code, ok := target.(vss.HRESULT)
	return ok && e.Err != nil && vss.HRESULTOf(e.Err) == code
}

var (
	// ErrNothing is a backup or restore for which no component was chosen.
	ErrNothing = errors.New("no component was chosen")

	// ErrNoMetadata is a backup that lacks the metadata document of a writer, or
	// one that does not know a component of the backup.
	ErrNoMetadata = errors.New("the backup has no metadata document of the writer")

	// ErrDependency is a component that is of no use without one of another
	// writer that is not there.
	ErrDependency = errors.New("a component that it depends on is not there")

	// ErrAtRoot is a component with files in the root of a volume, in a backup that
	// refuses such.
	ErrAtRoot = errors.New("files in the root of a volume are not supported")

	// ErrNotAChain is a list of backups of which one does not build on those
	// before it.
	ErrNotAChain = errors.New("the backups do not build on each other")

	// ErrNotATarget is a target with files in it that no backup has left there.
	ErrNotATarget = errors.New("the target holds files of something else")
)

// phase makes an error one of a phase; nil stays nil.
func phase(name, on string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Phase: name, On: on, Err: err}
}

// inOrder runs steps until one fails.
func inOrder(name string, steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return phase(name, "", err)
		}
	}
	return nil
}

// Instances are writer instances that take part.
type instances map[guid.GUID]bool

// check asks for the status of the writers, and fails if one of the instances has
// failed: an operation that ended well says nothing about them.
func check(ctx context.Context, bc client, name string, who instances) error {
	if err := bc.GatherWriterStatus(ctx); err != nil {
		return phase(name, "", err)
	}
	if bad := failed(bc, who); len(bad) > 0 {
		return &Error{Phase: name, Writers: bad}
	}
	return nil
}

func failed(bc client, who instances) []vss.WriterStatus {
	return slices.DeleteFunc(statuses(bc), func(st vss.WriterStatus) bool { return st.Err() == nil || !who[st.InstanceID] })
}

// statuses lists what was gathered; nothing if nothing was.
func statuses(bc client) []vss.WriterStatus {
	n, _ := bc.GetWriterStatusCount()
	var out []vss.WriterStatus
	for i := range n {
		if st, err := bc.GetWriterStatus(i); err == nil {
			out = append(out, st)
		}
	}
	return out
}
