package guesttest_test

import (
	"testing"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/guesttest"
)

func TestWindowsRequestor(t *testing.T) {
	guesttest.RunRequestor(t, guest.DefaultRequestor, guesttest.Options{})
}

func TestLinuxDaemon(t *testing.T) {
	guesttest.RunRequestor(t, guest.DefaultRequestor, guesttest.Options{System: "Linux 6.1"})
}
