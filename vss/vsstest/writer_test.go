package vsstest_test

import (
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/vss/vsstest"
)

const loadPause = 5 * time.Millisecond

// The correct samples keep every promise; -rapid.checks says in how many random
// sequences.
func TestSampleWriters(t *testing.T) {
	t.Run("journal", func(t *testing.T) { vsstest.RunWriter(t, newJournal, journalOptions()) })
	t.Run("note", func(t *testing.T) { vsstest.RunWriter(t, newNote, noteOptions()) })
}

func TestSampleWritersAsErrors(t *testing.T) {
	for name, err := range map[string]error{
		"journal": vsstest.TestWriter(newJournal, journalOptions()),
		"note":    vsstest.TestWriter(newNote, noteOptions()),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
