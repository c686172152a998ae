//go:build race

package vsstest_test

// racing tells that the race detector watches. Twins whose mistake is a goroutine
// of their own are data races, and it would rightly say so.
const racing = true
