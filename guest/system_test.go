package guest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"pgregory.net/rapid"
)

func sqlServer() *guest.System {
	return &guest.System{
		OS: guest.WindowsServer2008, ComputerName: "SQL01",
		Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
		Programs: []guest.Program{{Name: "ledger", Args: map[string]string{"data": "D:", "log": "E:"}}},
	}
}

// TestSystemReadsBack writes records over an earlier one.
func TestSystemReadsBack(t *testing.T) {
	text := rapid.StringMatching(`[ -~äß☃<&"]{1,40}`)
	rapid.Check(t, func(t *rapid.T) {
		s := &guest.System{OS: guest.OS(text.Draw(t, "os")), ComputerName: rapid.StringMatching(`[A-Z0-9-]{1,15}`).Draw(t, "computer")}
		for _, n := range guest.ServiceNames() {
			v := guest.IntegrationService{Name: n, Installed: rapid.Bool().Draw(t, "installed")}
			v.Start = rapid.SampledFrom([]guest.StartMode{guest.StartAutomatic, guest.StartManual, guest.StartDisabled}).Draw(t, "start")
			v.Running = v.Installed && rapid.Bool().Draw(t, "running")
			s.Services = append(s.Services, v)
		}
		for range rapid.IntRange(0, 3).Draw(t, "programs") {
			s.Programs = append(s.Programs, guest.Program{Name: text.Draw(t, "program"), Args: rapid.MapOfN(text, text, 0, 4).Draw(t, "args")})
		}
		d := disk.NewMemory(mib)
		if err := guest.WriteSystem(d, sqlServer()); err != nil {
			t.Fatal(err)
		}
		if err := guest.WriteSystem(d, s); err != nil {
			t.Fatal(err)
		}
		got, err := guest.ReadSystem(d)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("-written +read\n%s", diff)
		}
	})
}

// TestSystemDamage changes every byte of a record: no change passes.
func TestSystemDamage(t *testing.T) {
	d := disk.NewMemory(mib)
	if err := guest.WriteSystem(d, sqlServer()); err != nil {
		t.Fatal(err)
	}
	record := make([]byte, 4096)
	if _, err := d.ReadAt(record, guest.SystemOffset); err != nil {
		t.Fatal(err)
	}
	end := slices.Index(record, 0)
	seen := map[guest.Code]int{}
	for i := range end {
		f := d.Fork()
		poke(t, f, guest.SystemOffset+int64(i), record[i]^1)
		s, err := guest.ReadSystem(f)
		var place *guest.LayoutError
		var code guest.Code
		if s != nil || !errors.As(err, &place) || !errors.As(err, &code) {
			t.Fatalf("byte %d changed: %v, %v", i, s, err)
		}
		seen[code]++
	}
	want := []guest.Code{guest.ErrChecksum, guest.ErrVersion, guest.ErrField, guest.ErrNoSystem}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("the codes seen are %v, want %v", seen, want)
	}
}

// sealed puts a right header before a body, by the form that the package
// documents.
func sealed(body string) string {
	return fmt.Sprintf("shadowsim system record v01, %05d bytes, crc32 %08x\n%s", len(body), crc32.ChecksumIEEE([]byte(body)), body)
}

// TestSystemFits puts the longest record on the smallest volume.
func TestSystemFits(t *testing.T) {
	s := sqlServer()
	for len(s.Programs) < 64 {
		s.Programs = append(s.Programs, guest.Program{Name: "p", Args: map[string]string{"a": "", "b": "", "c": "", "d": ""}})
	}
	body, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	room := guest.MaxSystemSize - len(sealed(string(body)))
	for _, p := range s.Programs[1:] {
		for _, k := range []string{"a", "b", "c", "d"} {
			n := min(room, 255)
			p.Args[k] = strings.Repeat("v", n)
			room -= n
		}
	}
	d := disk.NewMemory(guest.DataOffset)
	if err := guest.WriteSystem(d, s); err != nil || room != 0 {
		t.Fatal(err, room)
	}
	got, err := guest.ReadSystem(d)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	s.ComputerName += "X"
	if err := guest.WriteSystem(d, s); !errors.Is(err, guest.ErrSpec) {
		t.Errorf("one byte more: %v", err)
	}
}

// TestSystemLimits reaches every limit of a record, and exceeds none.
func TestSystemLimits(t *testing.T) {
	s := &guest.System{OS: guest.OS(strings.Repeat("o", 255)), ComputerName: strings.Repeat("c", 63)}
	for i := range 32 {
		s.Services = append(s.Services, guest.IntegrationService{Name: guest.ServiceName("s" + itoa(int64(i)))})
	}
	p := guest.Program{Name: strings.Repeat("p", 255), Args: map[string]string{}}
	for i := range 32 {
		p.Args[itoa(int64(i))] = ""
	}
	s.Programs = append(s.Programs, p)
	if err := guest.WriteSystem(disk.NewMemory(mib), s); err != nil {
		t.Error(err)
	}
	p.Args["more"] = ""
	if err := guest.WriteSystem(disk.NewMemory(mib), s); !errors.Is(err, guest.ErrSpec) {
		t.Errorf("33 arguments: %v", err)
	}
}

// TestReadSystemRefuses reads volumes without a record, and records that hold
// what none may.
func TestReadSystemRefuses(t *testing.T) {
	if _, err := guest.ReadSystem(disk.NewMemory(mib)); !errors.Is(err, guest.ErrNoSystem) {
		t.Errorf("an empty volume: %v", err)
	}
	if _, err := guest.ReadSystem(disk.NewMemory(1000)); !errors.Is(err, guest.ErrNoSystem) {
		t.Errorf("a tiny volume: %v", err)
	}
	cause := errors.New("bad sector")
	d := disk.NewMemory(mib)
	if err := guest.WriteSystem(d, sqlServer()); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if s, err := guest.ReadSystem(&failing{Source: d, n: n, err: cause}); s != nil || !errors.Is(err, cause) {
			t.Errorf("read %d fails: %v, %v", n, s, err)
		}
	}
	// Contents that WriteSystem refuses, under a checksum that is right.
	for _, body := range []string{`{"os":"","computer":"x"}`, `{"os":"x","computer":"y"} `, `{"os":"x","computer":"y","more":1}`, `[]`, ``,
		`{"os":"x","computer":"y"}{}`, `{"os":"x","computer":"y","services":[{"name":"vmicvss","installed":false,"running":true}]}`} {
		poke(t, d, guest.SystemOffset, []byte(sealed(body))...)
		if s, err := guest.ReadSystem(d); s != nil || !errors.Is(err, guest.ErrField) {
			t.Errorf("%s reads as %v, %v", body, s, err)
		}
	}
	poke(t, d, guest.SystemOffset, []byte(sealed(`{"os":"x","computer":"y"}`))...)
	if s, err := guest.ReadSystem(d); err != nil || s.OS != "x" {
		t.Errorf("a record made by hand reads as %v, %v", s, err)
	}
}

// TestWriteSystemRefuses asks for records that could not be read back.
func TestWriteSystemRefuses(t *testing.T) {
	change := func(f func(*guest.System)) *guest.System {
		s := sqlServer()
		f(s)
		return s
	}
	for what, s := range map[string]*guest.System{
		"no system":        {ComputerName: "x"},
		"no name":          {OS: "x"},
		"control":          {OS: "x", ComputerName: "a\nb"},
		"not text":         {OS: "x\xff", ComputerName: "a"},
		"long name":        {OS: "x", ComputerName: strings.Repeat("a", 64)},
		"twice":            change(func(s *guest.System) { s.Services = append(s.Services, s.Services[0]) }),
		"not installed":    change(func(s *guest.System) { s.Services[0].Installed = false }),
		"start mode":       change(func(s *guest.System) { s.Services[0].Start = "sometimes" }),
		"no start mode":    change(func(s *guest.System) { s.Services[0].Start = "" }),
		"nameless program": change(func(s *guest.System) { s.Programs[0].Name = "" }),
		"nameless arg":     change(func(s *guest.System) { s.Programs[0].Args[""] = "x" }),
		"programs":         change(func(s *guest.System) { s.Programs = make([]guest.Program, 65) }),
		"services":         change(func(s *guest.System) { s.Services = make([]guest.IntegrationService, 33) }),
		"bytes": change(func(s *guest.System) {
			for range 60 {
				p := guest.Program{Name: "p", Args: map[string]string{}}
				for i := range 8 {
					p.Args[strings.Repeat("k", 200)+itoa(int64(i))] = strings.Repeat("v", 200)
				}
				s.Programs = append(s.Programs, p)
			}
		}),
	} {
		d := disk.NewMemory(mib)
		if err := guest.WriteSystem(d, s); !errors.Is(err, guest.ErrSpec) {
			t.Errorf("%s: %v", what, err)
		}
		if same, err := disk.Equal(d, disk.NewMemory(mib)); !same || err != nil {
			t.Errorf("%s: the disk was written, %v", what, err)
		}
	}
	if err := guest.WriteSystem(disk.NewMemory(guest.DataOffset-1), sqlServer()); !errors.Is(err, guest.ErrTruncated) {
		t.Errorf("a small volume: %v", err)
	}
	if err := guest.WriteSystem(disk.NewMemory(mib).Freeze(), sqlServer()); !errors.Is(err, disk.ErrReadOnly) {
		t.Errorf("a snapshot: %v", err)
	}
}

// TestIntegrationServices holds the table of names and classes.
func TestIntegrationServices(t *testing.T) {
	want := []string{
		"vmicvss Hyper-V Volume Shadow Copy Requestor 35fa2e29-ea23-4236-96ae-3a6ebacba440",
		"vmicheartbeat Hyper-V Heartbeat Service 57164f39-9115-4e78-ab55-382f3bd5422d",
		"vmickvpexchange Hyper-V Data Exchange Service a9a0f4e7-5a45-4d96-b827-8a841e8c03e6",
		"vmicshutdown Hyper-V Guest Shutdown Service 0e0b6031-5213-4934-818b-38d90ced39db",
		"vmictimesync Hyper-V Time Synchronization Service 9527e630-d0ae-497b-adce-e80ab0175caf",
		"vmicguestinterface Hyper-V Guest Service Interface 34d14be3-dee4-41c8-9ae7-6b174977c192",
	}
	var got []string
	for _, n := range guest.ServiceNames() {
		got = append(got, string(n)+" "+n.DisplayName()+" "+guid.String(n.ClassID()))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	other := guest.ServiceName("vmicother")
	if other.DisplayName() != "vmicother" || other.ClassID() != [16]byte{} || guest.WindowsServer2008.Supports(other) {
		t.Error("an unknown service is known")
	}
	s := &guest.System{Services: guest.IntegrationServices(guest.WindowsServer2008, "1.2")}
	if v := s.Service(guest.BackupService); !v.Installed || !v.Running || v.Version != "1.2" || v.Start != guest.StartAutomatic {
		t.Errorf("the backup service is %+v", v)
	}
	if v := s.Service(guest.GuestInterfaceService); v.Installed || v.Running || v.Name != guest.GuestInterfaceService {
		t.Errorf("the guest service interface is %+v", v)
	}
}

// TestOperatingSystems holds what each brings along.
func TestOperatingSystems(t *testing.T) {
	for _, c := range []struct {
		os                           guest.OS
		heartbeat, backup, vss, refs bool
		services                     int
	}{
		{guest.Windows2000Server, true, false, false, false, 4},
		{guest.WindowsXP, true, false, true, false, 4},
		{guest.WindowsServer2003, true, true, true, false, 5},
		{guest.WindowsServer2003R2, true, true, true, false, 5},
		{guest.WindowsVista, true, true, true, false, 5},
		{guest.WindowsServer2008, true, true, true, false, 5},
		{guest.Windows7, true, true, true, false, 5},
		{guest.WindowsServer2008R2, true, true, true, false, 5},
		{guest.WindowsServer2012, true, true, true, true, 5},
		{guest.WindowsServer2012R2, true, true, true, true, 6},
		{guest.WindowsServer2016, true, true, true, true, 6},
		{guest.WindowsServer2019, true, true, true, true, 6},
		{guest.WindowsServer2022, true, true, true, true, 6},
		{guest.Linux, true, true, false, false, 6},
		{"Linux, some distribution 7", true, true, false, false, 6},
		{guest.FreeBSD, true, true, false, false, 6},
		{"FreeBSD 11.1", true, true, false, false, 6},
		{"MS-DOS", false, false, false, false, 0},
	} {
		got := []bool{c.os.Supports(guest.HeartbeatService), c.os.Supports(guest.BackupService), c.os.VSS(), c.os.ReFS()}
		if want := []bool{c.heartbeat, c.backup, c.vss, c.refs}; !slices.Equal(got, want) {
			t.Errorf("%s: heartbeat, backup, VSS, ReFS are %v, want %v", c.os, got, want)
		}
		if n := len(guest.IntegrationServices(c.os, "")); n != c.services {
			t.Errorf("%s has %d services, want %d", c.os, n, c.services)
		}
	}
	if !guest.OS("Linux 6.1").IsLinux() || guest.WindowsServer2008.IsLinux() || guest.FreeBSD.IsLinux() {
		t.Error("Linux is not told from others")
	}
	if !guest.OS("FreeBSD 11.1").IsFreeBSD() || guest.WindowsServer2008.IsFreeBSD() || guest.Linux.IsFreeBSD() {
		t.Error("FreeBSD is not told from others")
	}
}
