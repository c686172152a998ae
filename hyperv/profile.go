package hyperv

import (
	"time"

	"github.com/shadowsim/shadowsim/guest"
)

// A Profile is a version of Windows Server as far as backup goes. The zero value
// is W2008.
type Profile struct {
	// Windows names the version, in whatever words: a machine does not go on from a
	// state that another version saved.
	Windows string
	// CopyBackup makes the requestor inside the child run a copy backup, which
	// leaves logs alone, instead of a full one.
	CopyBackup bool
	// OldestService is the oldest version of the backup service in guests that the
	// host speaks with: "6.0.6001.18016". Empty, it speaks with all.
	OldestService string
	// CurrentService is the version of the backup service that comes with the host.
	// An older one in a guest is degraded, and works all the same. Empty, none is.
	CurrentService string
	// BusyAfterBoot is how long after a boot the backup services of guests are not up
	// yet, so that a backup fails and can be tried again.
	BusyAfterBoot time.Duration
	// Detection is how long the backup services of guests look for volumes.
	Detection guest.Detection
	// Policy settles what the document leaves open.
	Policy Policy
}

// W2008 is Windows Server 2008, the system that the document describes.
var W2008 = Profile{}
