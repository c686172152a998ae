package guest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode/utf8"

	"github.com/shadowsim/shadowsim/disk"
)

// A System is an installation of an operating system: everything a virtual
// machine needs to know to start, as it stands on the machine's own disk.
type System struct {
	OS           OS                   `json:"os"`
	ComputerName string               `json:"computer"`
	Services     []IntegrationService `json:"services,omitempty"`
	Programs     []Program            `json:"programs,omitempty"`

	ShadowStorage []ShadowStorage `json:"shadowStorage,omitempty"`
}

// An IntegrationService is one of the services through which host and guest
// work together, as it is set up inside the guest.
type IntegrationService struct {
	Name      ServiceName `json:"name"`
	Version   string      `json:"version,omitempty"`
	Installed bool        `json:"installed"`
	Start     StartMode   `json:"start,omitempty"`
	Running   bool        `json:"running"`
}

// A StartMode says when a service starts.
type StartMode string

// The start modes of Windows services.
const (
	StartAutomatic StartMode = "automatic"
	StartManual    StartMode = "manual"
	StartDisabled  StartMode = "disabled"
)

// A Program is started with the system. Name is what a catalog knows it by,
// and Args are its own: which volume holds its data, which its log.
type Program struct {
	Name string            `json:"name"`
	Args map[string]string `json:"args,omitempty"`
}

// Service returns the integration service of that name; one that is not listed
// is not installed.
func (s *System) Service(name ServiceName) IntegrationService {
	for _, v := range s.Services {
		if v.Name == name {
			return v
		}
	}
	return IntegrationService{Name: name}
}

// Where a volume keeps what is not its file system's own. The model has no
// files inside of guest volumes: the boot area comes first, then the system
// record, and from [DataOffset] on everything belongs to programs, up to the
// last [TailSize] bytes, where NTFS keeps the second copy of its boot sector.
const (
	SystemOffset  = 192 << 10 // the system record
	MaxSystemSize = 64 << 10  // its bound, header included
	DataOffset    = SystemOffset + MaxSystemSize
	TailSize      = 4 << 10
)

// The record is a line of text of fixed length, then JSON:
//
//	shadowsim system record v01, 00321 bytes, crc32 9ae0daaf
const (
	systemMagic   = "shadowsim system record v"
	systemVersion = "01"
	systemHeader  = len(systemMagic) + len("01, 00321 bytes, crc32 9ae0daaf\n")
)

// Bounds of a record's contents.
const (
	maxText     = 255
	maxServices = 32
	maxPrograms = 64
	maxArgs     = 32
)

// WriteSystem puts the record of s on a volume, in place of an earlier one.
// What cannot be read back is refused with [ErrSpec], a volume that ends before
// [DataOffset] with [ErrTruncated]; nothing is written then.
func WriteSystem(volume disk.Store, s *System) error {
	d := image{r: volume, size: volume.Size(), sector: sectorSize, op: "WriteSystem"}
	if d.size < DataOffset {
		return d.fail(SystemOffset, "system record", ErrTruncated)
	}
	if what := s.fault(); what != "" {
		return d.fail(SystemOffset, what, ErrSpec)
	}
	body, err := json.Marshal(s)
	if err != nil {
		return d.fail(SystemOffset, "system record", err)
	}
	record := append(systemHead(len(body), crc32.ChecksumIEEE(body)), body...)
	if len(record) > MaxSystemSize {
		return d.fail(SystemOffset, "system record", ErrSpec)
	}
	padded := make([]byte, alignUp(int64(len(record)), sectorSize))
	copy(padded, record)
	if _, err := volume.WriteAt(padded, SystemOffset); err != nil {
		return d.fail(SystemOffset, "system record", err)
	}
	return nil
}

func systemHead(size int, sum uint32) []byte {
	return fmt.Appendf(nil, "%s%s, %05d bytes, crc32 %08x\n", systemMagic, systemVersion, size, sum)
}

// ReadSystem reads the record back from the bytes of a volume. A volume
// without one is [ErrNoSystem]. A record that was made by a later version is
// [ErrVersion], one that was changed since it was written [ErrChecksum] or
// [ErrField], one that says what WriteSystem would refuse [ErrField].
func ReadSystem(volume disk.Source) (*System, error) {
	d := image{r: volume, size: volume.Size(), sector: sectorSize, op: "ReadSystem"}
	s, bad := d.readSystem()
	if bad != nil {
		return nil, bad
	}
	return s, nil
}

func (d image) readSystem() (*System, *LayoutError) {
	const what = "system record"
	if d.size < DataOffset {
		return nil, d.fail(SystemOffset, what, ErrNoSystem)
	}
	head, bad := d.read(SystemOffset, int64(systemHeader), what)
	if bad != nil {
		return nil, bad
	}
	size, sum, cause := parseSystemHead(head)
	if cause != 0 {
		return nil, d.fail(SystemOffset, what, cause)
	}
	body, bad := d.read(SystemOffset+int64(systemHeader), int64(size), what)
	if bad != nil {
		return nil, bad
	}
	if crc32.ChecksumIEEE(body) != sum {
		return nil, d.fail(SystemOffset, what, ErrChecksum)
	}
	s := new(System)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if dec.Decode(s) != nil || dec.InputOffset() != int64(size) {
		return nil, d.fail(SystemOffset, what, ErrField)
	}
	if fault := s.fault(); fault != "" {
		return nil, d.fail(SystemOffset, what+": "+fault, ErrField)
	}
	return s, nil
}

// parseSystemHead takes the line apart. Only a line that systemHead would have
// written is believed.
func parseSystemHead(head block) (size int, sum uint32, cause Code) {
	switch {
	case !head.is(0, systemMagic):
		return 0, 0, ErrNoSystem
	case !head.is(len(systemMagic), systemVersion):
		return 0, 0, ErrVersion
	}
	_, err := fmt.Sscanf(string(head[len(systemMagic):]), systemVersion+", %05d bytes, crc32 %08x\n", &size, &sum)
	if err != nil || size < 0 || size > MaxSystemSize-systemHeader || !bytes.Equal(head, systemHead(size, sum)) {
		return 0, 0, ErrField
	}
	return size, sum, 0
}

// hasSystem tells whether a volume carries a record, readable or not.
func (d image) hasSystem() (bool, *LayoutError) {
	if d.size < DataOffset {
		return false, nil
	}
	b, bad := d.read(SystemOffset, int64(len(systemMagic)), "system record")
	return b.is(0, systemMagic), bad
}

// fault names the first thing in s that no record may hold, or nothing.
func (s *System) fault() string {
	switch {
	case !plainText(string(s.OS), 1, maxText):
		return "name of the operating system"
	case !plainText(s.ComputerName, 1, 63):
		return "computer name"
	case len(s.Services) > maxServices:
		return "number of services"
	case len(s.Programs) > maxPrograms:
		return "number of programs"
	}
	seen := map[ServiceName]bool{}
	for _, v := range s.Services {
		if seen[v.Name] || !v.sound() {
			return fmt.Sprintf("service %q", v.Name)
		}
		seen[v.Name] = true
	}
	for i, v := range s.ShadowStorage {
		if i >= maxStorage || !v.sound(s.ShadowStorage[:i]) {
			return fmt.Sprintf("shadow storage of %q", v.Volume)
		}
	}
	for _, p := range s.Programs {
		if !p.sound() {
			return fmt.Sprintf("program %q", p.Name)
		}
	}
	return ""
}

// sound tells whether a service is one that can be: only what is installed runs.
func (v IntegrationService) sound() bool {
	switch v.Start {
	case StartAutomatic, StartManual, StartDisabled:
	case "":
		if v.Installed {
			return false
		}
	default:
		return false
	}
	return plainText(string(v.Name), 1, maxText) && plainText(v.Version, 0, maxText) && (v.Installed || !v.Running)
}

func (p Program) sound() bool {
	if !plainText(p.Name, 1, maxText) || len(p.Args) > maxArgs {
		return false
	}
	for k, v := range p.Args {
		if !plainText(k, 1, maxText) || !plainText(v, 0, maxText) {
			return false
		}
	}
	return true
}

// plainText tells text of a length in bytes without control characters.
func plainText(s string, least, most int) bool {
	control := func(r rune) bool { return r < ' ' || r == 0x7F }
	return len(s) >= least && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, control)
}
