package guest

import (
	"fmt"

	"github.com/shadowsim/shadowsim/internal/guid"
)

// A Role is what a partition's type says it is for. The type is a promise of
// whoever made the table; what a partition holds is its [FileSystem].
type Role uint8

// The roles Windows tells apart.
const (
	RoleData         Role = iota // a volume for files
	RoleEFI                      // the EFI system partition
	RoleReserved                 // Microsoft reserved: room for later, never a volume
	RoleRecovery                 // Windows recovery environment
	RoleOEM                      // a manufacturer's diagnostics or hibernation partition
	RoleExtended                 // the container of an MBR's logical partitions
	RoleDynamic                  // metadata or space of the Logical Disk Manager: the disk is dynamic
	RoleStorageSpace             // a member of a storage pool
	RoleForeign                  // a type that Windows leaves alone
)

var roleNames = [...]string{"data", "EFI system", "Microsoft reserved", "recovery", "OEM", "extended",
	"dynamic", "storage space", "foreign"}

// String names the role.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// A PartitionType is the type as the table holds it: a number in an MBR, a
// GUID in a GPT. The other field is zero.
type PartitionType struct {
	MBR byte
	GPT guid.GUID
}

// String prints 0x07, or the GUID in lower case; a type that is not set
// prints as a dash.
func (t PartitionType) String() string {
	switch {
	case t.MBR != 0:
		return fmt.Sprintf("0x%02x", t.MBR)
	case t.GPT != guid.GUID{}:
		return guid.String(t.GPT)
	}
	return "-"
}

// Numbers of MBR partition types, of those this package has to write or name.
const (
	mbrFAT12        = 0x01
	mbrFAT16        = 0x06
	mbrNTFS         = 0x07 // NTFS, exFAT and ReFS
	mbrFAT32        = 0x0C
	mbrExtended     = 0x05
	mbrExtendedLBA  = 0x0F
	mbrOEM          = 0x12
	mbrHidden       = 0x10 // added to the number of a hidden data partition
	mbrRecovery     = 0x27
	mbrDynamic      = 0x42
	mbrLinux        = 0x83
	mbrExtendedLin  = 0x85
	mbrStorageSpace = 0xE7
	mbrProtective   = 0xEE
	mbrEFI          = 0xEF
)

// GUIDs of GPT partition types.
var (
	gptData         = guid.MustParse("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")
	gptEFI          = guid.MustParse("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
	gptReserved     = guid.MustParse("E3C9E316-0B5C-4DB8-817D-F92DF00215AE")
	gptRecovery     = guid.MustParse("DE94BBA4-06D1-4D40-A16A-BFD50179D6AC")
	gptDynamicMeta  = guid.MustParse("5808C8AA-7E8F-42E0-85D2-E1E90434CFB3")
	gptDynamicData  = guid.MustParse("AF9B60A0-1431-4F62-BC68-3311714A69AD")
	gptStorageSpace = guid.MustParse("E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D")
	gptLinux        = guid.MustParse("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
)

// role tells what a type is for, and whether it is the hidden twin of a data
// type, which only an MBR has.
func (t PartitionType) role() (r Role, hidden bool) {
	if t.GPT != (guid.GUID{}) {
		return gptRole(t.GPT), false
	}
	switch t.MBR {
	case mbrFAT12, 0x04, mbrFAT16, mbrNTFS, 0x0B, mbrFAT32, 0x0E:
		return RoleData, false
	case 0x11, 0x14, 0x16, 0x17, 0x1B, 0x1C, 0x1E:
		return RoleData, true
	case mbrExtended, mbrExtendedLBA, mbrExtendedLin:
		return RoleExtended, false
	case mbrRecovery:
		return RoleRecovery, false
	case mbrOEM, 0x84, 0xA0, 0xDE, 0xFE:
		return RoleOEM, false
	case mbrDynamic:
		return RoleDynamic, false
	case mbrStorageSpace:
		return RoleStorageSpace, false
	case mbrEFI:
		return RoleEFI, false
	}
	return RoleForeign, false
}

func gptRole(t guid.GUID) Role {
	switch t {
	case gptData:
		return RoleData
	case gptEFI:
		return RoleEFI
	case gptReserved:
		return RoleReserved
	case gptRecovery:
		return RoleRecovery
	case gptDynamicMeta, gptDynamicData:
		return RoleDynamic
	case gptStorageSpace:
		return RoleStorageSpace
	}
	return RoleForeign
}
