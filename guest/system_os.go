package guest

import "strings"

// An OS is an operating system by the name its vendor gives it. Any name may
// stand in a [System]; one that is not known here supports no integration
// service and has no Volume Shadow Copy Service. A name that begins with "Linux" or
// "FreeBSD" is one, whatever follows.
type OS string

// Operating systems of guests.
const (
	Windows2000Server   OS = "Windows 2000 Server"
	WindowsXP           OS = "Windows XP"
	WindowsServer2003   OS = "Windows Server 2003"
	WindowsServer2003R2 OS = "Windows Server 2003 R2"
	WindowsVista        OS = "Windows Vista"
	WindowsServer2008   OS = "Windows Server 2008"
	Windows7            OS = "Windows 7"
	WindowsServer2008R2 OS = "Windows Server 2008 R2"
	WindowsServer2012   OS = "Windows Server 2012"
	WindowsServer2012R2 OS = "Windows Server 2012 R2"
	WindowsServer2016   OS = "Windows Server 2016"
	WindowsServer2019   OS = "Windows Server 2019"
	WindowsServer2022   OS = "Windows Server 2022"
	Linux               OS = "Linux"
	FreeBSD             OS = "FreeBSD"
)

// age orders the systems of Windows by what they bring along. Zero is no Windows
// that is known here.
type age int

const (
	age2000 age = iota + 1
	ageXP
	age2003
	age2008
	age2012
	age2012R2
)

func (os OS) age() age {
	switch os {
	case Windows2000Server:
		return age2000
	case WindowsXP:
		return ageXP
	case WindowsServer2003, WindowsServer2003R2:
		return age2003
	case WindowsVista, WindowsServer2008, Windows7, WindowsServer2008R2:
		return age2008
	case WindowsServer2012:
		return age2012
	case WindowsServer2012R2, WindowsServer2016, WindowsServer2019, WindowsServer2022:
		return age2012R2
	}
	return 0
}

// IsLinux tells a Linux of any distribution.
func (os OS) IsLinux() bool { return strings.HasPrefix(string(os), string(Linux)) }

// IsFreeBSD tells a FreeBSD of any version.
func (os OS) IsFreeBSD() bool { return strings.HasPrefix(string(os), string(FreeBSD)) }

// Supports tells whether the integration service exists for the operating
// system at all. There is no backup service for Windows 2000 and Windows XP,
// and no guest service interface before Windows Server 2012 R2. A Linux and a
// FreeBSD have a daemon for each, of which the one for backup works with hosts from Windows
// Server 2012 R2 on.
func (os OS) Supports(n ServiceName) bool {
	if n.ClassID() == [16]byte{} {
		return false
	}
	if os.IsLinux() || os.IsFreeBSD() {
		return true
	}
	switch n {
	case BackupService:
		return os.age() >= age2003
	case GuestInterfaceService:
		return os.age() >= age2012R2
	}
	return os.age() != 0
}

// VSS tells whether the operating system contains a Volume Shadow Copy
// Service. It came with Windows XP; without one there are no writers that a
// backup could ask to prepare.
func (os OS) VSS() bool { return os.age() >= ageXP }

// ReFS tells whether the operating system mounts ReFS, which came with Windows
// Server 2012.
func (os OS) ReFS() bool { return os.age() >= age2012 }
