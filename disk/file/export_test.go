package file

import "syscall"

// NoSpace is what a full disk says.
const NoSpace = syscall.ENOSPC

// Fail wraps an error as every call does.
func Fail(err error) error { return fail("test", 0, err) }
