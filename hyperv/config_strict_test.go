package hyperv_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// written is the configuration file of a new machine, as text.
func written(t testing.TB) string {
	t.Helper()
	file, err := os.ReadFile("testdata/configuration.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(file), "----\n")
	return text
}

// What is not as hosts write it is refused by the strict reader, which says where, and
// accepted by the tolerant one, which keeps it.
func TestStrictConfigurations(t *testing.T) {
	const (
		nic   = "_70fe79ea-8fec-0334-1106-4f7500389300_"
		ide   = "_83f8638b-8dca-4152-9eda-2ca8b33039b4_"
		scsi  = "_8b1e3e77-76fc-0d01-0af6-8c527c0e0500_"
		floor = "_8f0d2762-0b00-4e04-af4f-19010527cb93_"
	)
	text := written(t)
	if _, err := hyperv.ReadConfigurationStrictly([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		was, is string
		path    string // "" if both readers accept it
		what    string
	}{
		"unknown leaf":        {"    <notes", "    <nought type=\"string\">x</nought>\n    <notes", "properties/nought", "is unknown"},
		"unknown container":   {"  <properties>", "  <more/>\n  <properties>", "more", "is unknown"},
		"drive of no number":  {"<drive1>\n        <pathname type=\"string\">PHYSICALDRIVE2", "<drivex>\n<pathname type=\"string\">y</pathname><type type=\"string\">VHD</type></drivex>\n      <drive1>\n        <pathname type=\"string\">PHYSICALDRIVE2", ide + "/controller1/drivex", "is unknown"},
		"section of nothing":  {"  <global_settings>", "  <_a_/>\n  <global_settings>", "_a_", "is not in the manifest"},
		"unknown device":      {"<device type=\"string\">d422512d", "<device type=\"string\">e422512d", scsi, "is of an unknown device"},
		"device is no GUID":   {"<device type=\"string\">d422512d", "<device type=\"string\">x422512d", "manifest/vdev002/device", "is not a GUID"},
		"no instance":         {"      <instance type=\"string\">8B1E3E77-76FC-0D01-0AF6-8C527C0E0500</instance>\n", "", "manifest/vdev002/instance", "is missing"},
		"instance twice":      {"8B1E3E77-76FC-0D01-0AF6-8C527C0E0500</instance>", "70FE79EA-8FEC-0334-1106-4F7500389300</instance>", "manifest/vdev003/instance", "stands twice"},
		"manifest too short":  {`<size type="integer">5</size>`, `<size type="integer">4</size>`, "manifest/size", "is not the number of lines, 5"},
		"wrong type":          {`<count type="integer">2`, `<count type="string">2`, "settings/processors/count", `is of the type "string", not integer`},
		"no type":             {`<count type="integer">2`, `<count>2`, "settings/processors/count", "has no type"},
		"type of a holder":    {"<processors>", `<processors type="string">`, "settings/processors", `has the attribute "type"`},
		"further attribute":   {`<count type="integer">2`, `<count type="integer" x="">2`, "settings/processors/count", "has further attributes"},
		"leaf that holds":     {`<count type="integer">2`, `<count type="integer">2<x/>`, "settings/processors/count", "holds elements"},
		"holder with text":    {"<processors>", `<processors>x`, "settings/processors", "holds text"},
		"number with blanks":  {`<count type="integer">2`, `<count type="integer"> 2 `, "settings/processors/count", "is no number"},
		"number with zeros":   {`<count type="integer">2`, `<count type="integer">02`, "settings/processors/count", "is no number"},
		"truth in other case": {`<Enabled type="bool">True`, `<Enabled type="bool">true`, "_5ced1297-4598-4915-a5fc-ad21bb4d02a4_/Enabled", "is neither True nor False"},
		"bytes without end":   {"    <global_id", "    <creation_time type=\"bytes\">AAAA</creation_time>\n    <global_id", "properties/creation_time", "is not base64 with a line end"},
		"bytes":               {"    <global_id", "    <creation_time type=\"bytes\">AAAA\n</creation_time>\n    <global_id", "", ""},
		"missing leaf":        {"      <count type=\"integer\">2</count>\n", "", "settings/processors/count", "is missing"},
		"missing holder":      {"    <processors>\n      <count type=\"integer\">2</count>\n    </processors>\n", "", "settings/processors", "is missing"},
		"no version":          {"    <version type=\"integer\">256</version>\n", "", "properties/version", "is missing"},
		"no channel":          {"<ChannelInstanceGuid type=\"string\">{8b1e3e77-76fc-0d01-0af6-8c527c0e0500}</ChannelInstanceGuid>\n    <controller0>", "<controller0/>\n    <controller2>", scsi + "/ChannelInstanceGuid", "is missing"},
		"leaf twice":          {`<notes`, "<name type=\"string\">sql01</name>\n    <notes", "properties/name", "stands twice"},
		"other order":         {"    <global_id", "    <subtype type=\"integer\">0</subtype>\n    <global_id", "properties/global_id", "stands behind subtype"},
		"unsorted sections":   {"  <" + ide + ">", "  <" + floor + "/>\n  <" + ide + ">", ide, "stands behind " + floor},
		"times, topology":     {"    <name type=\"string\">sql01", "    <last_powered_on_time type=\"integer\">130</last_powered_on_time>\n    <name type=\"string\">sql01", "", ""},
		"any numa":            {"  </settings>", "    <vnuma>\n      <node><a type=\"bool\">True</a></node>\n    </vnuma>\n  </settings>", "", ""},
		"numa is typed":       {"  </settings>", "    <vnuma>\n      <node><a>True</a></node>\n    </vnuma>\n  </settings>", "settings/vnuma/node/a", "holds text"},
		"quality of service":  {"        <pathname type=\"string\">D:\\VMs\\sql01\\log.vhd", "        <iops_limit type=\"integer\">0</iops_limit>\n        <pathname type=\"string\">D:\\VMs\\sql01\\log.vhd", "", ""},
		"no MAC":              {"    <MacAddress type=\"string\">00155DAABBCC</MacAddress>\n", "", strings.Replace(nic, "00_", "01_", 1) + "/MacAddress", "is missing"},
		"comment":             {"<configuration>", "<configuration><!-- by hand -->", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			edited := strings.Replace(text, row.was, row.is, 1)
			if name == "no channel" { // it is an IDE controller then, and needs a number of its own
				edited = strings.Replace(edited, "</controller0>\n  </"+scsi, "</controller2>\n  </"+scsi, 1)
			}
			if edited == text {
				t.Fatalf("%q is not in the file", row.was)
			}
			strict, err := hyperv.ReadConfigurationStrictly(toUTF16(edited))
			tolerant, lenient := hyperv.ReadConfiguration(toUTF16(edited))
			if lenient != nil {
				t.Fatalf("the tolerant reader says %v", lenient)
			}
			if row.path == "" {
				if err != nil || !strict.Equal(tolerant) {
					t.Errorf("%v", err)
				}
				return
			}
			var e *hyperv.ShapeError
			if strict != nil || !errors.Is(err, hyperv.ErrConfiguration) || !errors.As(err, &e) || e.Path != row.path || e.What != row.what {
				t.Fatalf("%v; want %s %s", err, row.path, row.what)
			}
			checkLine(t, edited, e)
			file, err := tolerant.Encode()
			if kept := strings.TrimSpace(row.is); err != nil || !strings.Contains(fromUTF16(t, file), strings.Split(kept, "\n")[0]) && name != "leaf that holds" {
				t.Errorf("%q is not kept (%v):\n%s", kept, err, fromUTF16(t, file))
			}
		})
	}
}

// checkLine checks that an error names the line where its element begins, or that of
// the one which lacks it.
func checkLine(t *testing.T, text string, e *hyperv.ShapeError) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if e.Line < 1 || e.Line > len(lines) || e.Column < 1 || e.Column > len(lines[e.Line-1]) {
		t.Fatalf("%v is not in the file", e)
	}
	name := path.Base(e.Path)
	if e.What == "is missing" {
		name = path.Base(path.Dir(e.Path))
	}
	rest := lines[e.Line-1][e.Column-1:]
	if !strings.HasPrefix(rest, "<"+name) && e.What != "holds text" && e.What != "stands twice" {
		t.Errorf("%v, and there stands %q", e, rest)
	}
}

// Files of other hosts and other versions have more than the shape knows; texts that
// are no configuration are none for the strict reader either.
func TestStrictReaderOfForeignFiles(t *testing.T) {
	var e *hyperv.ShapeError
	_, err := hyperv.ReadConfigurationStrictly([]byte(foreign(t)))
	if !errors.As(err, &e) || e.Path != "_ac6b8dc1-3257-4a70-b1b2-a9c9215659ad_/secret" || e.What != "is unknown" {
		t.Errorf("%v", err)
	}
	for text, says := range map[string]string{"": "no element", "<machine/>": `the root is "machine"`, "<configuration/>": "manifest is missing", "<configuration>": "ends inside"} {
		if _, err := hyperv.ReadConfigurationStrictly([]byte(text)); !errors.Is(err, hyperv.ErrConfiguration) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
	zero := strings.Replace(written(t), "5F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411", "00000000-0000-0000-0000-000000000000", 1)
	if _, err := hyperv.ReadConfigurationStrictly([]byte(zero)); !errors.Is(err, hyperv.ErrConfiguration) {
		t.Errorf("values are not looked at: %v", err)
	}
}

// Whatever a host does with its machines, all configuration files that it writes read
// back strictly.
func TestHostsWriteStrictly(t *testing.T) {
	l := newLab(t)
	other := l.h.AddSwitch("other")
	vm := l.running("db", also("data.vhd", guest.NTFS), also("log.vhd", guest.NTFS), also("more.vhd", guest.NTFS), also("scsi.vhd", guest.NTFS),
		onSwitch(l.lan), onSwitch(other), withLedger())
	dvd := l.machine("dvd", func(c *hyperv.VMConfig) { c.DVDs = []string{"", ""} })
	empty := dvd.Configuration()
	empty.DVDs = append(empty.DVDs[1:], hyperv.DVD{Slot: hyperv.Slot{Bus: hyperv.SCSI, Drive: 3}})
	l.must(dvd.Configure(l.ctx(), empty))
	strictly := func(when string) {
		t.Helper()
		files := 0
		for _, drive := range []string{"C", "D"} {
			l.must(fs.WalkDir(l.h.Files(), drive, func(name string, d fs.DirEntry, err error) error {
				if err != nil || !strings.HasSuffix(name, ".xml") || strings.HasSuffix(name, "InitialStore.xml") {
					return err
				}
				file, err := fs.ReadFile(l.h.Files(), name)
				l.must(err)
				if _, err := hyperv.ReadConfigurationStrictly(file); err != nil {
					t.Errorf("%s: %s: %v\n%s", when, name, err, fromUTF16(t, file))
				}
				files++
				return nil
			}))
		}
		if files < 2 {
			t.Errorf("%s: %d files", when, files)
		}
	}
	strictly("created")
	id, err := vm.Checkpoint(l.ctx(), "one")
	l.must(err)
	_, err = vm.Checkpoint(l.ctx(), "two")
	l.must(err)
	strictly("with checkpoints")
	l.must(vm.TurnOff(l.ctx()))
	l.must(vm.Apply(l.ctx(), id))
	strictly("at a checkpoint")
	l.must(vm.DeleteCheckpoint(l.ctx(), id))
	strictly("with a checkpoint less")
	l.must(vm.Connect(l.ctx(), 1, [16]byte{}))
	strictly("disconnected")
	if vm.State() == hyperv.StateSaved {
		l.must(vm.TurnOff(l.ctx()))
	}
	c := vm.Configuration()
	c.Adapters = append(c.Adapters[1:], hyperv.Adapter{Name: "new", MAC: "00155DAABBCC", StaticMAC: true})
	c.Drives = append(c.Drives[1:], hyperv.Drive{Slot: hyperv.Slot{Bus: hyperv.SCSI, Controller: 1, Drive: 12}, Kind: hyperv.DriveVHD, Path: `D:\new.vhd`})
	c.StartAction, c.StopAction, c.BackupOffered, c.Notes = hyperv.StartAlways, hyperv.StopSave, false, "notes\nof two lines"
	c.Initiators, c.MemoryMB = []string{"iqn.1", "iqn.2"}, 128
	l.must(vm.Configure(l.ctx(), c))
	strictly("configured")
	c.Drives = c.Drives[:len(c.Drives)-1]
	l.must(vm.Configure(l.ctx(), c))
	target := l.mustBackup()
	l.h.RemoveSwitch(other.ID)
	l.mustRestore(target)
	strictly("restored")
}

// FuzzReadConfigurationStrictly: what the strict reader accepts the tolerant one reads
// as the same, and written again it is as hosts write it; what it refuses it refuses
// with a place.
func FuzzReadConfigurationStrictly(f *testing.F) {
	text := written(f)
	f.Add([]byte(text))
	f.Add(toUTF16(text))
	f.Add([]byte(foreign(f)))
	f.Add([]byte(`<configuration><manifest><size type="integer">0</size></manifest><properties><global_id type="string">0F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</global_id><name type="string"/><type_id type="string"/><version type="integer">1</version></properties><settings><global><logical_id type="string">0F3C6F5A-5D0E-4A53-8A6B-F7D0C9F2B411</logical_id></global><memory><bank><size type="integer">1</size></bank></memory><processors><count type="integer">1</count></processors></settings></configuration>`))
	f.Fuzz(func(t *testing.T, file []byte) {
		strict, err := hyperv.ReadConfigurationStrictly(file)
		tolerant, lenient := hyperv.ReadConfiguration(file)
		if err != nil {
			var e *hyperv.ShapeError
			if !errors.Is(err, hyperv.ErrConfiguration) || lenient == nil && (!errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.What == "") {
				t.Fatalf("%v, and the tolerant reader says %v", err, lenient)
			}
			return
		}
		if lenient != nil {
			t.Fatalf("the tolerant reader says %v", lenient)
		}
		if diff := cmp.Diff(*strict, *tolerant, cmpopts.IgnoreUnexported(hyperv.Configuration{})); diff != "" {
			t.Fatalf("(-strict +tolerant):\n%s", diff)
		}
		strict.Name, strict.Adapters = "another", append(strict.Adapters, hyperv.Adapter{MAC: "00155DAABBCC"})
		strict.Checkpoints = append(strict.Checkpoints, guid.MustParse("3f3c6f5a-5d0e-4a53-8a6b-f7d0c9f2b411"))
		again, err := strict.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hyperv.ReadConfigurationStrictly(again); err != nil && len(strict.Checkpoints) <= hyperv.MaxCheckpoints {
			t.Fatalf("%v:\n%s", err, fromUTF16(t, again))
		}
	})
}
