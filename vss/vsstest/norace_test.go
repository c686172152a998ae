//go:build !race

package vsstest_test

const racing = false
