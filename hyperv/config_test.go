package hyperv_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// fromUTF16 checks that a file is UTF-16LE with a mark and the line ends of
// Windows, and returns its text with those of the tests.
func fromUTF16(t testing.TB, file []byte) string {
	t.Helper()
	if len(file) < 2 || file[0] != 0xFF || file[1] != 0xFE || len(file)%2 != 0 {
		t.Fatalf("%d bytes that begin with % x are no UTF-16LE with a mark", len(file), file[:min(2, len(file))])
	}
	units := make([]uint16, len(file)/2-1)
	for i := range units {
		units[i] = uint16(file[2*i+2]) | uint16(file[2*i+3])<<8
	}
	text := string(utf16.Decode(units))
	if strings.Count(text, "\n") != strings.Count(text, "\r\n") {
		t.Error("a line ends with a line feed alone")
	}
	return strings.ReplaceAll(text, "\r\n", "\n")
}

// toUTF16 is the inverse.
func toUTF16(text string) []byte {
	file := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(strings.ReplaceAll(text, "\n", "\r\n"))) {
		file = append(file, byte(u), byte(u>>8))
	}
	return file
}

// The file of a new machine: what it has of everything, in the form of Windows
// Server 2008.
func TestConfigurationOfANewMachine(t *testing.T) {
	l := newLab(t)
	l.lun("PHYSICALDRIVE2", false)
	l.lun("iqn.1991-05.com.microsoft:san", false)
	vm := l.machine("sql01", also("data.vhd", guest.NTFS), also("log.vhd", guest.NTFS), withDisk(hyperv.DiskConfig{PassThrough: "PHYSICALDRIVE2"}),
		also("scsi.vhd", guest.NTFS), withDisk(hyperv.DiskConfig{Initiator: "iqn.1991-05.com.microsoft:san"}), onSwitch(l.lan),
		func(c *hyperv.VMConfig) {
			c.ID = guid.MustParse("5f3c6f5a-5d0e-4a53-8a6b-f7d0c9f2b411")
			c.MemoryMB, c.Processors, c.Notes = 512, 2, "made for a test\nof two lines"
			c.Adapters = append(c.Adapters, hyperv.AdapterConfig{MAC: "00155DAABBCC"})
		})
	golden(t, "configuration", fromUTF16(t, l.bytes(vm.ConfigurationPath()))+"\n")
	c, err := hyperv.ReadConfiguration(l.bytes(vm.ConfigurationPath()))
	l.must(err)
	if diff := cmp.Diff(*vm.Configuration(), *c, cmpopts.IgnoreUnexported(hyperv.Configuration{})); diff != "" {
		t.Errorf("reads back otherwise (-made +read):\n%s", diff)
	}
	if !c.Equal(vm.Configuration()) {
		t.Error("it would be written otherwise")
	}
}

func foreign(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/foreign.xml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// wantForeign is what testdata/foreign.xml says, as far as it is understood.
var wantForeign = &hyperv.Configuration{
	ID:           guid.MustParse("0f3c6f5a-5d0e-4a53-8a6b-f7d0c9f2b411"),
	Name:         "erp <test> ",
	SnapshotRoot: `D:\VMs\erp`, MemoryMB: 2048, Processors: 2, BackupOffered: true,
	Drives: []hyperv.Drive{
		{Slot: hyperv.Slot{Bus: hyperv.IDE}, Kind: hyperv.DriveVHD, Path: `d:\vms\erp\SYSTEM.vhd`},
		{Slot: hyperv.Slot{Bus: hyperv.SCSI}, Kind: hyperv.DriveVHD, Path: `D:\VMs\erp\data.vhd`},
		{Slot: hyperv.Slot{Bus: hyperv.SCSI, Drive: 63}, Kind: hyperv.DrivePassThrough, Path: `PHYSICALDRIVE3`},
		{Slot: hyperv.Slot{Bus: hyperv.SCSI, Controller: 1, Drive: 5}, Kind: hyperv.DriveVHD, Path: `D:\VMs\erp\log.vhd`},
	},
	DVDs: []hyperv.DVD{{Slot: hyperv.Slot{Controller: 1}, Path: `C:\images\setup.iso`}},
	Adapters: []hyperv.Adapter{{
		Name: "Network & more", MAC: "00155D010203", StaticMAC: true,
		Switch: guid.MustParse("c4a1f3de-7b7e-4c0e-8f6b-2f6f3e1d9a10"), Port: guid.MustParse("3d1a9c77-0e55-4a0b-93b5-6f60e2a4c1d8"),
	}},
}

// A file of a later version, with devices that nobody here knows, in every form in
// which such files are found, says the same.
func TestForeignConfigurationIsRead(t *testing.T) {
	text := foreign(t)
	bigEndian := toUTF16(text)
	for i := 0; i < len(bigEndian); i += 2 {
		bigEndian[i], bigEndian[i+1] = bigEndian[i+1], bigEndian[i]
	}
	for form, file := range map[string][]byte{
		"single bytes that say UTF-16": []byte(text),
		"lines of Windows":             []byte(strings.ReplaceAll(text, "\n", "\r\n")),
		"UTF-8 with a mark":            append([]byte("\uFEFF"), text...),
		"UTF-16LE with a mark":         toUTF16(text),
		"UTF-16LE without":             toUTF16(text)[2:],
		"UTF-16BE":                     bigEndian,
		"on one line":                  []byte(strings.ReplaceAll(strings.ReplaceAll(text, ">\n", ">"), "  <", "<")),
	} {
		c, err := hyperv.ReadConfiguration(file)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		if diff := cmp.Diff(*wantForeign, *c, cmpopts.IgnoreUnexported(hyperv.Configuration{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", form, diff)
		}
	}
}

// Written again, a foreign file is the same byte for byte: nothing is lost, nothing
// is added, no GUID changes its form.
func TestForeignConfigurationIsKept(t *testing.T) {
	text := foreign(t)
	c, err := hyperv.ReadConfiguration(toUTF16(text))
	if err != nil {
		t.Fatal(err)
	}
	file, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, fromUTF16(t, file)); diff != "" {
		t.Errorf("(-read +written):\n%s", diff)
	}
}

// A change to a foreign file changes these lines and no others.
func TestForeignConfigurationIsChanged(t *testing.T) {
	drive := func(bus hyperv.Bus, controller, n int, path string) hyperv.Drive {
		return hyperv.Drive{Slot: hyperv.Slot{Bus: bus, Controller: controller, Drive: n}, Kind: hyperv.DriveVHD, Path: path}
	}
	for name, row := range map[string]struct {
		do   func(c *hyperv.Configuration)
		want []string // lines that are gone with -, that are new with +
	}{
		"name":     {func(c *hyperv.Configuration) { c.Name = "b&w" }, []string{`-<name type="string">erp &lt;test&gt; </name>`, `+<name type="string">b&amp;w</name>`}},
		"notes":    {func(c *hyperv.Configuration) { c.Notes = "n" }, []string{`+<notes type="string">n</notes>`}},
		"memory":   {func(c *hyperv.Configuration) { c.MemoryMB = 2047 }, []string{`-<size type="integer"> 2048 </size>`, `+<size type="integer">2047</size>`}},
		"backup":   {func(c *hyperv.Configuration) { c.BackupOffered = false }, []string{`+<Enabled type="bool">False</Enabled>`}},
		"location": {func(c *hyperv.Configuration) { c.SnapshotRoot = `C:\` }, []string{`-<data_root type="string">D:\VMs\erp</data_root>`, `+<data_root type="string">C:\</data_root>`}},
		"IDE disk": {func(c *hyperv.Configuration) { c.Drives[0].Path = `C:\a.vhd` }, []string{`-<pathname type="string">d:\vms\erp\SYSTEM.vhd</pathname>`, `+<pathname type="string">C:\a.vhd</pathname>`}},
		"second SCSI controller": {func(c *hyperv.Configuration) { c.Drives[3].Path = `C:\a.vhd` },
			[]string{`-<pathname type="string">D:\VMs\erp\log.vhd</pathname>`, `+<pathname type="string">C:\a.vhd</pathname>`}},
		"new disk": {func(c *hyperv.Configuration) { c.Drives = append(c.Drives, drive(hyperv.SCSI, 1, 6, `C:\a.vhd`)) },
			[]string{`+<drive6>`, `+<pathname type="string">C:\a.vhd</pathname>`, `+<type type="string">VHD</type>`, `+</drive6>`}},
		"new controller": {func(c *hyperv.Configuration) { c.Drives = append(c.Drives, drive(hyperv.SCSI, 3, 0, `C:\a.vhd`)) },
			[]string{`+<controller2>`, `+<drive0>`, `+<pathname type="string">C:\a.vhd</pathname>`, `+<type type="string">VHD</type>`, `+</drive0>`, `+</controller2>`}},
		"disk instead of none": {func(c *hyperv.Configuration) { c.Drives = append(c.Drives, drive(hyperv.IDE, 0, 1, `C:\a.vhd`)) },
			[]string{`-<pathname type="string"/>`, `-<type type="string">NONE</type>`, `+<pathname type="string">C:\a.vhd</pathname>`, `+<type type="string">VHD</type>`}},
		"disk taken out": {func(c *hyperv.Configuration) { c.Drives = c.Drives[:3] },
			[]string{`-<controller0>`, `-<drive5>`, `-<pathname type="string">D:\VMs\erp\log.vhd</pathname>`, `-<type type="string">VHD</type>`, `-</drive5>`, `-</controller0>`, `+<controller0/>`}},
		"disconnected": {func(c *hyperv.Configuration) { c.Adapters[0].Switch, c.Adapters[0].Port = guid.GUID{}, guid.GUID{} }, []string{
			`-<PortName type="string">{3d1a9c77-0e55-4a0b-93b5-6f60e2a4c1d8}</PortName>`, `-<SwitchName type="string">c4a1f3de-7b7e-4c0e-8f6b-2f6f3e1d9a10</SwitchName>`,
			`+<PortName type="string"/>`, `+<SwitchName type="string"/>`}},
		"new port": {func(c *hyperv.Configuration) { c.Adapters[0].Port = guid.GUID{1} }, []string{
			`-<PortName type="string">{3d1a9c77-0e55-4a0b-93b5-6f60e2a4c1d8}</PortName>`, `+<PortName type="string">01000000-0000-0000-0000-000000000000</PortName>`}},
		"initiator": {func(c *hyperv.Configuration) { c.Initiators = []string{"iqn.a"} }, []string{
			`+<guest_initiator>`, `+<target000>`, `+<name type="string">iqn.a</name>`, `+</target000>`, `+</guest_initiator>`}},
	} {
		text := foreign(t)
		c, err := hyperv.ReadConfiguration(toUTF16(text))
		if err != nil {
			t.Fatal(err)
		}
		row.do(c)
		file, err := c.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := changed(text, fromUTF16(t, file))
		slices.Sort(got)
		slices.Sort(row.want)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		back, err := hyperv.ReadConfiguration(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		byBus := func(a, b hyperv.Drive) int { return int(a.Slot.Bus) - int(b.Slot.Bus) }
		slices.SortStableFunc(c.Drives, byBus)
		if diff := cmp.Diff(*c, *back, cmpopts.IgnoreUnexported(hyperv.Configuration{})); diff != "" {
			t.Errorf("%s reads back otherwise (-written +read):\n%s", name, diff)
		}
	}
}

// changed lists lines that are in one text alone, without their indentation.
func changed(old, new string) []string {
	count := make(map[string]int)
	for line := range strings.SplitSeq(old, "\n") {
		count[strings.TrimLeft(line, " ")]--
	}
	for line := range strings.SplitSeq(new, "\n") {
		count[strings.TrimLeft(line, " ")]++
	}
	var out []string
	for line, n := range count {
		for range max(n, 0) {
			out = append(out, "+"+line)
		}
		for range max(-n, 0) {
			out = append(out, "-"+line)
		}
	}
	return out
}

// Adapters that come and go take their devices with them, and no others.
func TestAdaptersOfAForeignConfiguration(t *testing.T) {
	c, err := hyperv.ReadConfiguration([]byte(foreign(t)))
	if err != nil {
		t.Fatal(err)
	}
	first := c.Adapters[0]
	again := func(adapters ...hyperv.Adapter) string {
		t.Helper()
		c.Adapters = adapters
		file, err := c.Encode()
		if err == nil {
			c, err = hyperv.ReadConfiguration(file)
		}
		if err != nil {
			t.Fatal(err)
		}
		return fromUTF16(t, file)
	}
	ports := func(text string) int { return strings.Count(text, "Synthetic Ethernet Port") }
	text := again(first, hyperv.Adapter{Name: "second", MAC: "02"}, hyperv.Adapter{Name: "third"})
	if len(c.Adapters) != 3 || ports(text) != 3 || !strings.Contains(text, "AltSwitchName") || !strings.Contains(text, `<size type="integer">8</size>`) {
		t.Errorf("%d adapters, %d devices in\n%s", len(c.Adapters), ports(text), text)
	}
	i := slices.IndexFunc(c.Adapters, func(a hyperv.Adapter) bool { return a.Name == "third" })
	text = again(c.Adapters[i])
	if len(c.Adapters) != 1 || c.Adapters[0].Name != "third" || ports(text) != 1 || strings.Contains(text, "AltSwitchName") {
		t.Errorf("%+v in\n%s", c.Adapters, text)
	}
	if text = again(); ports(text) != 0 || strings.Contains(text, "MacAddress") || !strings.Contains(text, `<size type="integer">5</size>`) {
		t.Errorf("without adapters:\n%s", text)
	}
}

// Names that break those who do not escape.
var hostileNames = []string{
	`&<>"'\`, `a&amp;b`, `]]>`, `<!-- -->`, `C:\x`, `..`, `.`, `a/b`, `a#2`, `*`, `%41`, `=`, "blank ", " blank", "  ", "two\nlines", "tab\there", "cr\rhere",
	"ümläut", "日本語", "💾", "a\u00a0b", "e\u0301", strings.Repeat("n", 255), strings.Repeat("語", 255), "vmms", "vss", "guest", "h1",
}

func TestHostileNames(t *testing.T) {
	l := newLab(t)
	for i, name := range hostileNames {
		l.running(fmt.Sprint("vm", i), func(c *hyperv.VMConfig) {
			c.Name = name
			if i%2 == 1 {
				stopped(c)
			}
		})
	}
	target := l.mustBackup()
	l.settled()
	ids := make(map[string][16]byte)
	for _, vm := range l.h.VMs() {
		ids[vm.Name()] = vm.ID()
	}
	l.remove(l.h.VMs()...)
	l.mustRestore(target)
	for _, name := range hostileNames {
		vm := l.h.VMByID(ids[name])
		if vm == nil || vm.Name() != name {
			t.Errorf("%q comes back as %v", name, vm)
			continue
		}
		c, err := hyperv.ReadConfiguration(l.bytes(vm.ConfigurationPath()))
		if err != nil || c.Name != name {
			t.Errorf("%q stands in its file as %q, %v", name, c.Name, err)
		}
		l.must(vm.Start(l.ctx()))
		l.works(vm)
	}
	captions := make(map[string]bool)
	for _, c := range l.identified().Components {
		captions[c.Caption] = true
	}
	for _, vm := range l.h.VMs() {
		if !captions[vm.Decide().Method.Caption(vm.Name())] {
			t.Errorf("%q has no caption", vm.Name())
		}
	}
}

// Whatever a new configuration says, its file says, in an order that stays when it
// is written again.
func TestNewConfigurations(t *testing.T) {
	text := rapid.SampledFrom(append([]string{"", "a"}, hostileNames...))
	ids := rapid.Custom(func(t *rapid.T) (id [16]byte) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		id[0] |= 1
		return id
	})
	slot := rapid.Custom(func(t *rapid.T) hyperv.Slot {
		return hyperv.Slot{Bus: rapid.SampledFrom([]hyperv.Bus{hyperv.IDE, hyperv.SCSI}).Draw(t, "bus"),
			Controller: rapid.IntRange(0, 12).Draw(t, "controller"), Drive: rapid.IntRange(0, 63).Draw(t, "drive")}
	})
	draw := func(t *rapid.T) *hyperv.Configuration {
		c := &hyperv.Configuration{ID: ids.Draw(t, "id"), Name: text.Draw(t, "name"), Notes: text.Draw(t, "notes"), SnapshotRoot: text.Draw(t, "root"),
			MemoryMB: rapid.Int64Range(0, 1<<24).Draw(t, "memory"), Processors: rapid.Int64Range(0, 64).Draw(t, "processors"),
			BackupOffered: rapid.Bool().Draw(t, "offered"), StartAction: rapid.SampledFrom([]hyperv.StartAction{0, 1, 2}).Draw(t, "start"),
			StopAction: rapid.SampledFrom([]hyperv.StopAction{0, 1, 2}).Draw(t, "stop"), MergePending: rapid.Bool().Draw(t, "merge"), ReplicationPartner: rapid.SampledFrom([]string{"", "h2"}).Draw(t, "partner"),
			Checkpoints: rapid.SliceOfNDistinct(ids, 0, 3, rapid.ID[[16]byte]).Draw(t, "checkpoints"),
			Initiators:  rapid.SliceOfN(text, 0, 3).Draw(t, "initiators")}
		if len(c.Checkpoints) > 0 {
			c.ParentCheckpoint = c.Checkpoints[0]
		}
		for _, s := range rapid.SliceOfNDistinct(slot, 0, 4, rapid.ID[hyperv.Slot]).Draw(t, "slots") {
			kind := rapid.SampledFrom([]hyperv.DriveKind{hyperv.DriveVHD, hyperv.DrivePassThrough, "ISO"}).Draw(t, "kind")
			if kind == "ISO" {
				c.DVDs = append(c.DVDs, hyperv.DVD{Slot: s, Path: text.Draw(t, "iso")})
				continue
			}
			c.Drives = append(c.Drives, hyperv.Drive{Slot: s, Kind: kind, Path: "x" + text.Draw(t, "path")})
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "adapters") {
			c.Adapters = append(c.Adapters, hyperv.Adapter{Name: text.Draw(t, "adapter"), MAC: fmt.Sprintf("00155D%06X", i), StaticMAC: rapid.Bool().Draw(t, "static"), Switch: ids.Draw(t, "switch")})
		}
		return c
	}
	rapid.Check(t, func(t *rapid.T) {
		made := draw(t)
		file, err := made.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := hyperv.ReadConfiguration(file)
		if err != nil {
			t.Fatalf("%v:\n%s", err, file)
		}
		if strict, err := hyperv.ReadConfigurationStrictly(file); err != nil || !strict.Equal(read) {
			t.Errorf("not as hosts write it: %v", err)
		}
		again, err := read.Encode()
		if err != nil || !bytes.Equal(again, file) {
			t.Errorf("written again it is another (%v):\n%s\n%s", err, file, again)
		}
		name := func(s hyperv.Slot) string { return fmt.Sprintf("%v %02d:%02d", s.Bus, s.Controller, s.Drive) }
		slices.SortFunc(made.Drives, func(a, b hyperv.Drive) int { return strings.Compare(name(a.Slot), name(b.Slot)) })
		slices.SortFunc(made.DVDs, func(a, b hyperv.DVD) int { return strings.Compare(name(a.Slot), name(b.Slot)) })
		if diff := cmp.Diff(*made, *read, cmpopts.IgnoreUnexported(hyperv.Configuration{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("it says something else (-made +read):\n%s", diff)
		}
	})
}

// Names that no file could hold.
func TestImpossibleNames(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"", "\x00", "a\x01b", "\xff", "\ufffe"} {
		_, err := l.h.CreateVM(l.ctx(), l.config("vm", func(c *hyperv.VMConfig) { c.Name = name }))
		var e *hyperv.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", name, err)
		}
		if l.exists(`D:\VMs`) || len(l.h.VMs()) != 0 {
			t.Errorf("%q leaves something", name)
		}
	}
}

// Files that are refused, with what is wrong in them.
func TestMalformedConfigurations(t *testing.T) {
	const id = `<properties><global_id type="string">0F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</global_id></properties>`
	vhd := func(n string) string { return `<` + n + `><pathname>a</pathname><type>VHD</type></` + n + `>` }
	iso := func(n string) string { return `<` + n + `><type>ISO</type></` + n + `>` }
	for text, says := range map[string]string{
		``:                          "no element",
		`x`:                         "outside",
		`<configuration>`:           "ends inside",
		`<machine/>`:                `the root is "machine"`,
		`<configuration/>`:          "properties/global_id is missing",
		`<!DOCTYPE x><a/>`:          "document type",
		`<configuration>` + id[:30]: "does not end",
		`<configuration><properties><global_id>x</global_id></properties></configuration>`:                                                                                "is not a GUID",
		`<configuration><properties><global_id>00000000-0000-0000-0000-000000000000</global_id></properties></configuration>`:                                             "is missing",
		`<configuration>` + id + `<settings><global><logical_id>1F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</logical_id></global></settings></configuration>`:                    "is not the machine's",
		`<configuration>` + id + `<settings><memory><bank><size>-1</size></bank></memory></settings></configuration>`:                                                     "not a number that could be",
		`<configuration>` + id + `<settings><memory><bank><size>99999999999999999999</size></bank></memory></settings></configuration>`:                                   "not a number that could be",
		`<configuration>` + id + `<settings><memory><bank><size>16777217</size></bank></memory></settings></configuration>`:                                               "not a number that could be",
		`<configuration>` + id + `<settings><processors><count>two</count></processors></settings></configuration>`:                                                       "not a number that could be",
		`<configuration>` + id + `<_5ced1297-4598-4915-a5fc-ad21bb4d02a4_><Enabled>maybe</Enabled></_5ced1297-4598-4915-a5fc-ad21bb4d02a4_></configuration>`:              "neither True nor False",
		`<configuration>` + id + `<_a_><MacAddress/><SwitchName>x</SwitchName></_a_></configuration>`:                                                                     "_a_/SwitchName is not a GUID",
		`<configuration>` + id + `<_a_><controller0><drive0><type>VHD</type></drive0></controller0></_a_></configuration>`:                                                "IDE 0:0 has no path",
		`<configuration>` + id + `<_a_><controller0>` + vhd("drive0") + vhd("drive0") + `</controller0></_a_></configuration>`:                                            "IDE 0:0 is taken twice",
		`<configuration>` + id + `<_a_><controller0>` + vhd("drive0") + `</controller0></_a_><_b_><controller0>` + vhd("drive0") + `</controller0></_b_></configuration>`: "IDE 0:0 is taken twice",
		`<configuration>` + id + `<_a_><controller0>` + vhd("drive0") + `</controller0><controller0/></_a_></configuration>`:                                              "_a_/controller0 stands twice",
		`<configuration>` + id + `<_a_><controller0>` + vhd("drive0") + iso("drive0") + `</controller0></_a_></configuration>`:                                            "IDE 0:0 is taken twice",
		`<configuration>` + id + `<_a_><controller0>` + iso("drive1") + iso("drive1") + `</controller0></_a_></configuration>`:                                            "IDE 0:1 is taken twice",
		`<configuration>` + id + `<_a_/><_a_/></configuration>`:                                                                                                           "_a_ stands twice",
		`<configuration>` + strings.Repeat("<a>", 200) + strings.Repeat("</a>", 200) + `</configuration>`:                                                                 "within each other",
	} {
		c, err := hyperv.ReadConfiguration([]byte(text))
		var e *hyperv.Error
		if c != nil || !errors.Is(err, hyperv.ErrConfiguration) || !errors.As(err, &e) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, want %q", text, err, says)
		}
	}
}

// What is merely missing has its default, and numbers in names that nobody would
// write are no drives.
func TestSparseConfiguration(t *testing.T) {
	const text = `<configuration><properties><global_id>0F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</global_id></properties>` +
		`<_a_><controller00><drive0><pathname>a</pathname><type>VHD</type></drive0></controller00>` +
		`<controller0><drive01><pathname>a</pathname><type>VHD</type></drive01><drive64><pathname>a</pathname><type>VHD</type></drive64><drive-1/><drive/></controller0></_a_></configuration>`
	c, err := hyperv.ReadConfiguration([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := &hyperv.Configuration{ID: wantForeign.ID, BackupOffered: true}
	if diff := cmp.Diff(*want, *c, cmpopts.IgnoreUnexported(hyperv.Configuration{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Configure refuses what no file could say, and leaves everything as it was.
func TestConfigureRefuses(t *testing.T) {
	l := newLab(t)
	vm := l.machine("db", also("data.vhd", guest.NTFS))
	file := l.bytes(vm.ConfigurationPath())
	for name, change := range map[string]func(c *hyperv.Configuration){
		"two disks in one slot": func(c *hyperv.Configuration) { c.Drives[1].Slot = c.Drives[0].Slot },
		"a disk without a path": func(c *hyperv.Configuration) { c.Drives[1].Path = "" },
		"a disk of no kind":     func(c *hyperv.Configuration) { c.Drives[1].Kind = "ISO" },
		"a drive on a disk":     func(c *hyperv.Configuration) { c.DVDs = []hyperv.DVD{{Slot: c.Drives[1].Slot}} },
		"two drives in one": func(c *hyperv.Configuration) {
			c.DVDs = make([]hyperv.DVD, 2)
			c.DVDs[0].Slot.Bus, c.DVDs[1].Slot.Bus = 1, 1
		},
		"a drive on no bus":   func(c *hyperv.Configuration) { c.DVDs = []hyperv.DVD{{Slot: hyperv.Slot{Bus: 2}}} },
		"an ISO of no name":   func(c *hyperv.Configuration) { c.DVDs = []hyperv.DVD{{Slot: hyperv.Slot{Bus: 1}, Path: "\x00"}} },
		"no such bus":         func(c *hyperv.Configuration) { c.Drives[1].Slot.Bus = 2 },
		"no such controller":  func(c *hyperv.Configuration) { c.Drives[1].Slot.Controller = 64 },
		"no such drive":       func(c *hyperv.Configuration) { c.Drives[1].Slot.Drive = -1 },
		"too much memory":     func(c *hyperv.Configuration) { c.MemoryMB = 1 << 40 },
		"negative memory":     func(c *hyperv.Configuration) { c.MemoryMB = -1 },
		"too many processors": func(c *hyperv.Configuration) { c.Processors = 1 << 30 },
		"an impossible name":  func(c *hyperv.Configuration) { c.Name = "\x00" },
		"too many adapters":   func(c *hyperv.Configuration) { c.Adapters = make([]hyperv.Adapter, 257) },
	} {
		c := vm.Configuration()
		change(c)
		if err := vm.Configure(l.ctx(), c); !errors.Is(err, hyperv.ErrConfiguration) || !slices.Equal(file, l.bytes(vm.ConfigurationPath())) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := vm.Configuration()
	slices.Reverse(c.Drives)
	l.must(vm.Configure(l.ctx(), c))
	if got := vm.Configuration().VHDPaths(); got[0] != `D:\VMs\db\system.vhd` {
		t.Errorf("the disks are in the order %q", got)
	}
	l.must(vm.Start(l.ctx()))
}

// As many network adapters as a file has sections for are read as they were
// written; with one more a machine is not made, and a file is not written.
func TestManyAdapters(t *testing.T) {
	l := newLab(t)
	full := make([]hyperv.AdapterConfig, 256)
	made := l.machine("full", func(c *hyperv.VMConfig) { c.Adapters = full }).Configuration()
	file, err := made.Encode()
	l.must(err)
	read, err := hyperv.ReadConfiguration(file)
	l.must(err)
	if diff := cmp.Diff(made.Adapters, read.Adapters); diff != "" {
		t.Errorf("(-made +read):\n%s", diff)
	}
	_, err = l.h.CreateVM(l.ctx(), l.config("over", func(c *hyperv.VMConfig) { c.Adapters = append(full, hyperv.AdapterConfig{}) }))
	if !errors.Is(err, hyperv.ErrConfiguration) || l.h.VM("over") != nil || l.exists(`D:\VMs\over`) {
		t.Errorf("one adapter too many: %v", err)
	}
	read.Adapters = append(read.Adapters, hyperv.Adapter{MAC: "00155D0100FF"})
	if _, err := read.Encode(); !errors.Is(err, hyperv.ErrConfiguration) {
		t.Errorf("one adapter more: %v", err)
	}
}

// FuzzReadConfiguration: what is accepted can be written, reads back as the same,
// and is the same file from then on.
func FuzzReadConfiguration(f *testing.F) {
	text := foreign(f)
	f.Add([]byte(text))
	f.Add(toUTF16(text))
	f.Add([]byte(`<configuration><properties><global_id>0F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</global_id></properties><_a_><MacAddress/></_a_></configuration>`))
	f.Add([]byte(`<configuration><global_settings><power><host_startup><action type="integer">2</action></host_startup></power><snapshots><list><size type="integer">1</size><snapshot000><id>3F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</id></snapshot000></list><parent_id>3F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</parent_id></snapshots></global_settings><properties><global_id>0F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</global_id></properties></configuration>`))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := hyperv.ReadConfiguration(file)
		if err != nil {
			if !errors.Is(err, hyperv.ErrConfiguration) {
				t.Fatalf("%v", err)
			}
			return
		}
		first, err := c.Encode()
		if err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		back, err := hyperv.ReadConfiguration(first)
		if err != nil {
			t.Fatalf("cannot be read again: %v\n%s", err, fromUTF16(t, first))
		}
		if diff := cmp.Diff(*c, *back, cmpopts.IgnoreUnexported(hyperv.Configuration{})); diff != "" {
			t.Fatalf("(-read +again):\n%s", diff)
		}
		second, err := back.Encode()
		if err != nil || !slices.Equal(first, second) {
			t.Fatalf("written otherwise: %v\n%s", err, cmp.Diff(fromUTF16(t, first), fromUTF16(t, second)))
		}
	})
}

// A file that does not say where snapshots are leaves them in the default location of
// its host: a machine on that volume is backed up from inside, another is not.
func TestConfigurationWithoutSnapshotRoot(t *testing.T) {
	for root, method := range map[string]hyperv.Method{hyperv.DefaultRoot: hyperv.MethodChildSnapshot, `D:\Elsewhere`: hyperv.MethodSavedState} {
		l := newLabOf(t, hyperv.HostConfig{Root: root})
		vm := l.machine("db", func(c *hyperv.VMConfig) {
			c.Root, c.Disks[0].Path = `C:\VMs\db`, `C:\VMs\db\system.vhd`
		})
		path, c := vm.ConfigurationPath(), vm.Configuration()
		text, err := c.Encode()
		l.must(err)
		leaf := `<data_root type="string">` + c.SnapshotRoot + `</data_root>`
		bare := strings.Replace(fromUTF16(t, text), leaf, "", 1)
		l.must(vm.Delete(l.ctx()))
		l.must(l.h.Volume("C").WriteFile(path[2:], toUTF16(bare)))
		vm, err = l.h.Register(l.ctx(), path)
		l.must(err)
		if got := vm.Configuration().SnapshotRoot; got != root || bare == fromUTF16(t, text) {
			t.Errorf("the snapshots are in %q, want %q", got, root)
		}
		l.must(vm.Start(l.ctx()))
		if d := vm.Decide(); d.Method != method {
			t.Errorf("%s: %v", root, d)
		}
	}
}
