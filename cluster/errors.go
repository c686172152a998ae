package cluster

import "fmt"

// An Error says what failed, on what, on which node, and why.
type Error struct {
	Op   string // the call: "Online", "MoveGroup"
	On   string // a resource, group, node or volume
	Node string // where, or ""
	Err  error  // a Code, or a cause
}

func (e *Error) Error() string {
	s := e.Op
	if e.On != "" {
		s += ": " + e.On
	}
	if e.Node != "" {
		s += " on " + e.Node
	}
	return s + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// A Code is a Win32 error number of the failover cluster. It prints as its Windows
// name and number.
type Code uint32

// The codes that this package reports, with the numbers of winerror.h.
const (
	ErrNotSupported            Code = 50
	ErrInvalidParameter        Code = 87
	ErrCancelled               Code = 1223
	ErrTimeout                 Code = 1460
	ErrDependentResourceExists Code = 5001 // others depend on the resource
	ErrDependencyNotFound      Code = 5002
	ErrResourceNotOnline       Code = 5004
	ErrHostNodeNotAvailable    Code = 5005 // no node can have the group
	ErrResourceNotFound        Code = 5007
	ErrObjectAlreadyExists     Code = 5010
	ErrGroupNotFound           Code = 5013
	ErrResourceOnline          Code = 5019 // it has to be offline
	ErrInvalidState            Code = 5023 // the resource's state does not allow it
	ErrResourceFailed          Code = 5038
	ErrNodeNotFound            Code = 5042
	ErrNodeDown                Code = 5050
	ErrNodeUnreachable         Code = 5052 // the network does not lead there
	ErrNodePaused              Code = 5070
	ErrNoQuorum                Code = 5925
	ErrBackupInProgress        Code = 5949 // 0x8007173D: another node backs the Cluster Shared Volume up
)

var codeNames = map[Code]string{
	ErrNotSupported:            "ERROR_NOT_SUPPORTED",
	ErrInvalidParameter:        "ERROR_INVALID_PARAMETER",
	ErrCancelled:               "ERROR_CANCELLED",
	ErrTimeout:                 "ERROR_TIMEOUT",
	ErrDependentResourceExists: "ERROR_DEPENDENT_RESOURCE_EXISTS",
	ErrDependencyNotFound:      "ERROR_DEPENDENCY_NOT_FOUND",
	ErrResourceNotOnline:       "ERROR_RESOURCE_NOT_ONLINE",
	ErrHostNodeNotAvailable:    "ERROR_HOST_NODE_NOT_AVAILABLE",
	ErrResourceNotFound:        "ERROR_RESOURCE_NOT_FOUND",
	ErrObjectAlreadyExists:     "ERROR_OBJECT_ALREADY_EXISTS",
	ErrGroupNotFound:           "ERROR_GROUP_NOT_FOUND",
	ErrResourceOnline:          "ERROR_RESOURCE_ONLINE",
	ErrInvalidState:            "ERROR_INVALID_STATE",
	ErrResourceFailed:          "ERROR_RESOURCE_FAILED",
	ErrNodeNotFound:            "ERROR_CLUSTER_NODE_NOT_FOUND",
	ErrNodeDown:                "ERROR_CLUSTER_NODE_DOWN",
	ErrNodeUnreachable:         "ERROR_CLUSTER_NODE_UNREACHABLE",
	ErrNodePaused:              "ERROR_CLUSTER_NODE_PAUSED",
	ErrNoQuorum:                "ERROR_CLUSTER_NO_QUORUM",
	ErrBackupInProgress:        "ERROR_CLUSTER_BACKUP_IN_PROGRESS",
}

// Error prints the code's Windows name and its number.
func (c Code) Error() string {
	if name := codeNames[c]; name != "" {
		return fmt.Sprintf("%s (%d)", name, uint32(c))
	}
	return fmt.Sprintf("Win32 error %d", uint32(c))
}

// HRESULT is the code as COM reports it, HRESULT_FROM_WIN32.
func (c Code) HRESULT() uint32 { return 0x80070000 | uint32(c)&0xFFFF }
