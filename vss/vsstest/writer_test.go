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
	o := journalOptions()
	o.Runs = 30
	if err := vsstest.TestWriter(newJournal, o); err != nil {
		t.Error(err)
	}
}
