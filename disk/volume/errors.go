package volume

import (
	"errors"
	"fmt"
	"io/fs"
)

// A Code is a Win32 error number. It prints as its Windows name and number, and
// [errors.Is] matches it with the error of package io/fs that it stands for.
type Code uint32

// The codes that this package reports, with the numbers of winerror.h.
const (
	ErrFileNotFound     Code = 2    // the last element of the path does not exist
	ErrPathNotFound     Code = 3    // a directory on the way does not exist
	ErrAccessDenied     Code = 5    // read-only, a directory where a file was meant, or the wrong access
	ErrInvalidHandle    Code = 6    // the file is closed
	ErrNotSameDevice    Code = 17   // a rename from one volume to another
	ErrWriteProtect     Code = 19   // a sealed shadow copy, or a view that cannot be written
	ErrNotReady         Code = 21   // the device is gone
	ErrSharingViolation Code = 32   // somebody has the file open for writing
	ErrNotSupported     Code = 50   // a shadow copy of a shadow copy
	ErrFileExists       Code = 80   // a file that had to be new exists
	ErrInvalidParameter Code = 87   // a negative offset or size, or an attribute that nobody may set
	ErrDiskFull         Code = 112  // the volume has no room left
	ErrInvalidName      Code = 123  // a name that Windows does not allow
	ErrDirNotEmpty      Code = 145  // a directory that still has entries
	ErrAlreadyExists    Code = 183  // a directory, link or shadow copy of that name exists
	ErrFilenameTooLong  Code = 206  // a path of more than 32767 UTF-16 units
	ErrFileTooLarge     Code = 223  // more than 256 TiB, or more than ReadFile reads
	ErrDirectory        Code = 267  // a file where a directory was meant
	ErrNoSuchDevice     Code = 433  // the shadow copy is deleted, or was never made
	ErrInvalidSecurity  Code = 1338 // no security descriptor
	ErrCantResolveName  Code = 1921 // symbolic links that lead in a circle
	ErrNotReparsePoint  Code = 4390 // a file or directory where a symbolic link was meant
)

// meaning gives a code its Windows name and the portable error it stands for.
func (c Code) meaning() (name string, is error) {
	switch c {
	case ErrFileNotFound:
		return "ERROR_FILE_NOT_FOUND", fs.ErrNotExist
	case ErrPathNotFound:
		return "ERROR_PATH_NOT_FOUND", fs.ErrNotExist
	case ErrAccessDenied:
		return "ERROR_ACCESS_DENIED", fs.ErrPermission
	case ErrInvalidHandle:
		return "ERROR_INVALID_HANDLE", fs.ErrClosed
	case ErrNotSameDevice:
		return "ERROR_NOT_SAME_DEVICE", nil
	case ErrWriteProtect:
		return "ERROR_WRITE_PROTECT", fs.ErrPermission
	case ErrNotReady:
		return "ERROR_NOT_READY", nil
	case ErrSharingViolation:
		return "ERROR_SHARING_VIOLATION", nil
	case ErrNotSupported:
		return "ERROR_NOT_SUPPORTED", errors.ErrUnsupported
	case ErrFileExists:
		return "ERROR_FILE_EXISTS", fs.ErrExist
	case ErrInvalidParameter:
		return "ERROR_INVALID_PARAMETER", fs.ErrInvalid
	case ErrDiskFull:
		return "ERROR_DISK_FULL", nil
	case ErrInvalidName:
		return "ERROR_INVALID_NAME", fs.ErrInvalid
	case ErrDirNotEmpty:
		return "ERROR_DIR_NOT_EMPTY", fs.ErrExist
	case ErrAlreadyExists:
		return "ERROR_ALREADY_EXISTS", fs.ErrExist
	case ErrFilenameTooLong:
		return "ERROR_FILENAME_EXCED_RANGE", fs.ErrInvalid
	case ErrFileTooLarge:
		return "ERROR_FILE_TOO_LARGE", nil
	case ErrDirectory:
		return "ERROR_DIRECTORY", nil
	case ErrNoSuchDevice:
		return "ERROR_NO_SUCH_DEVICE", fs.ErrNotExist
	case ErrInvalidSecurity:
		return "ERROR_INVALID_SECURITY_DESCR", fs.ErrInvalid
	case ErrCantResolveName:
		return "ERROR_CANT_RESOLVE_FILENAME", nil
	case ErrNotReparsePoint:
		return "ERROR_NOT_A_REPARSE_POINT", fs.ErrInvalid
	}
	return "", nil
}

// Error prints the code's Windows name and its number.
func (c Code) Error() string {
	if name, _ := c.meaning(); name != "" {
		return fmt.Sprintf("%s (%d)", name, uint32(c))
	}
	return fmt.Sprintf("Win32 error %d", uint32(c))
}

// Is makes errors.Is(err, fs.ErrNotExist) and its siblings work.
func (c Code) Is(target error) bool {
	_, is := c.meaning()
	return is != nil && is == target
}

// HRESULT is the code as COM reports it, HRESULT_FROM_WIN32: a sharing violation
// is 0x80070020.
func (c Code) HRESULT() uint32 { return 0x80070000 | uint32(c)&0xFFFF }

// An Error says which call failed, on which path, and why. The methods that take
// Windows paths return it; those that take io/fs names return *fs.PathError with
// the same cause inside, as io/fs demands.
type Error struct {
	Op   string // the call: "Rename"
	Path string // the path as it was given
	Err  error  // a Code, an *Elsewhere, or a cause from below
}

// Error prints the call, the path and the cause.
func (e *Error) Error() string { return e.Op + " " + e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// An Elsewhere is the cause of an error when the path leads through a symbolic
// link to another volume. A volume does not know the drive letters; who does, as
// [Host], goes on at Path.
type Elsewhere struct {
	Path string // the whole path that is meant: `D:\VMs\sql01.xml`
}

// Error names the path that is meant.
func (e *Elsewhere) Error() string { return "leads to " + e.Path + " on another volume" }

// Unwrap makes an Elsewhere that nobody resolved an [ErrPathNotFound].
func (e *Elsewhere) Unwrap() error { return ErrPathNotFound }

// fail wraps a cause with the call and the path; it keeps nil.
func fail(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Path: path, Err: err}
}

// failName is fail for calls with io/fs names.
func failName(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: bare(err)}
}

// bare takes the call and the path off an error, to put others on.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Err
	}
	return err
}
