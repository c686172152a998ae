package vss

import (
	"fmt"
	"strings"
	"time"
)

// Retry tells whether it helps to do the same again ("Writer Errors and Vetoes",
// "IVssBackupComponents::DoSnapshotSet").
type Retry uint8

// The kinds of answer that the documentation gives.
const (
	RetryNotApplicable Retry = iota // the code is no failure
	RetryNever                      // not without a change
	RetryLater                      // the cause is transient
	RetryUnclear                    // the documentation does not say
	RetryPerComponent               // the components' own codes decide
)

// String returns a word for a transcript.
func (r Retry) String() string {
	return wordOf(r, "not applicable", "never", "later", "unclear", "per component")
}

// A Remedy is what a requester does before it tries again, or instead
// ("Writer Errors and Vetoes").
type Remedy uint8

// The remedies of "Determining Writer Status" and "Writer Errors and Vetoes".
const (
	NoRemedy           Remedy = iota
	AddVolumes                // put all volumes the writer needs into the set
	LowerLoad                 // try when the machine has less to do
	RestartWriter             // restart the service that hosts the writer, if trying again did not help
	SkipWriter                // leave the writer out
	FreeStorage               // make room for the copy
	DeleteOldCopies           // delete shadow copies of the volume
	StartService              // start the Volume Shadow Copy Service or the event system
	RestartMachine            // restart the computer
	AskEachComponent          // look at the failures of the components
	WaitForOtherBackup        // another requester is creating a set
)

// String returns a phrase for a transcript, "" for [NoRemedy].
func (r Remedy) String() string {
	return wordOf(r, "", "add the volumes the writer needs", "lower the load", "if it fails again, restart the writer's service",
		"skip the writer", "free storage", "delete old shadow copies", "start the service", "restart the computer",
		"look at each component", "wait for the other backup")
}

func wordOf[T ~uint8](n T, words ...string) string {
	if int(n) < len(words) {
		return words[n]
	}
	return fmt.Sprint(uint8(n))
}

// Advice is what the documentation tells a requester to do about a code
// ("Writer Errors and Vetoes").
type Advice struct {
	Retry    Retry
	Remedy   Remedy
	Wait     time.Duration // before each attempt; 0 where none is documented
	Attempts int           // 0 where no number is documented
}

// String prints the advice: "later, after 10m0s, up to 3 times: lower the load".
func (a Advice) String() string {
	var b strings.Builder
	b.WriteString(a.Retry.String())
	if a.Wait > 0 {
		fmt.Fprintf(&b, ", after %v, up to %d times", a.Wait, a.Attempts)
	}
	if a.Remedy != NoRemedy {
		fmt.Fprintf(&b, ": %v", a.Remedy)
	}
	return b.String()
}

// RetryWait and RetryAttempts are the pause and the number of attempts that
// "IVssBackupComponents::DoSnapshotSet" recommends for transient failures.
const (
	RetryWait     = 10 * time.Minute
	RetryAttempts = 3
)

// Advice returns what a requester should do about h. A failure that the table
// does not know is [RetryUnclear].
func (h HRESULT) Advice() Advice {
	if i, ok := h.find(); ok {
		return codes[i].advice
	}
	if h.Succeeded() {
		return Advice{}
	}
	return unclear
}

// The advices of the table of codes.
var (
	never   = Advice{Retry: RetryNever}
	later   = Advice{Retry: RetryLater}
	unclear = Advice{Retry: RetryUnclear}
	thrice  = Advice{Retry: RetryLater, Wait: RetryWait, Attempts: RetryAttempts}
)

// with returns a with a remedy.
func (a Advice) with(r Remedy) Advice {
	a.Remedy = r
	return a
}
