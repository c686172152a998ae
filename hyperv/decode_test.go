package hyperv

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shadowsim/shadowsim/internal/xmlite"
)

var sampleState = &deviceState{
	Machine: [16]byte{1, 2, 3}, Memory: 4 << 20, Platform: platform{"Vendor <1>", "6.0"},
	Disks:         []diskIdentity{{Slot{IDE, 0, 1}, [16]byte{4}}, {Slot{SCSI, 3, 63}, [16]byte{5}}},
	PassedThrough: []passedDisk{{Slot{SCSI, 1, 2}, [32]byte{6, 31: 7}}},
}

var sampleNote = &note{Machine: [16]byte{1, 2, 3}, Name: `<&">`, Method: MethodSavedState, Prior: StatePaused, Path: `D:\VMs\a&b.xml`}

// What one writes the other reads.
func TestDeviceStateRoundTrip(t *testing.T) {
	for _, want := range []*deviceState{sampleState, {Machine: [16]byte{9}}} {
		file, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeDeviceState(file)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestNoteRoundTrip(t *testing.T) {
	for _, m := range []Method{MethodOffline, MethodSavedState, MethodChildSnapshot} {
		for _, s := range []State{StateRunning, StateOff, StatePaused, StateSaved} {
			want := *sampleNote
			want.Method, want.Prior = m, s
			data, err := want.encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeNote(new(xmlite.Parser), data)
			if diff := cmp.Diff(&want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if memory := m == MethodSavedState || s == StateSaved; got.saved() != memory {
				t.Errorf("%v of a machine that was %v: memory in the backup: %v", m, s, got.saved())
			}
		}
	}
}

// An attribute of the file that is out of its bounds is refused.
func TestMalformedDeviceStates(t *testing.T) {
	file, err := sampleState.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range [][2]string{
		{`version="1"`, `version="2"`}, {`version="1"`, ``}, {"saved_state", "state"}, {`machine="`, `machine="x`}, {`machine`, `other`},
		{`memory="4194304"`, `memory="-1"`}, {`memory="4194304"`, `memory="1125899906842625"`}, {`memory="4194304"`, ``},
		{`bus="IDE"`, `bus="SATA"`}, {`bus="IDE"`, ``}, {`controller="3"`, `controller="65"`}, {`controller="3"`, `controller="a"`},
		{`drive="63"`, `drive="-1"`}, {`drive="63"`, ``}, {`id="04`, `id="0g`}, {`drive="2"`, `drive="65"`}, {`sha256="06`, `sha256="0g`}, {`sha256="06`, `sha256="`}, {`sha256`, `md5`}, {`</saved_state>`, ``},
	} {
		text := strings.ReplaceAll(string(file), edit[0], edit[1])
		if text == string(file) {
			t.Errorf("there is no %s in\n%s", edit[0], file)
		}
		if s, err := decodeDeviceState([]byte(text)); err == nil {
			t.Errorf("with %q instead of %q it is read: %+v", edit[1], edit[0], s)
		}
	}
}

func TestMalformedNotes(t *testing.T) {
	data, err := sampleNote.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range [][2]string{
		{`version="1"`, `version="2"`}, {`version="1"`, ``}, {"virtual_machine", "machine"}, {` id="`, ` id="x`}, {` id=`, ` i=`},
		{`method="saved state"`, `method="none"`}, {`method="saved state"`, ``}, {`prior_state="paused"`, `prior_state="starting"`},
		{`prior_state="paused"`, ``}, {`configuration="D:\VMs\a&amp;b.xml"`, ``}, {`configuration="D:\VMs\a&amp;b.xml"`, `configuration=""`}, {`/>`, `>`},
	} {
		text := strings.ReplaceAll(string(data), edit[0], edit[1])
		if text == string(data) {
			t.Errorf("there is no %s in\n%s", edit[0], data)
		}
		if n, err := decodeNote(new(xmlite.Parser), []byte(text)); err == nil {
			t.Errorf("with %q instead of %q it is read: %+v", edit[1], edit[0], n)
		}
	}
}

// FuzzDecodeDeviceState: what is accepted can be written and reads back the same.
func FuzzDecodeDeviceState(f *testing.F) {
	file, err := sampleState.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`<saved_state version="1" machine="00000000-0000-0000-0000-000000000000" memory="0"/>`))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := decodeDeviceState(file)
		if err != nil {
			return
		}
		if s.Memory < 0 || slices.ContainsFunc(s.Disks, func(d diskIdentity) bool { return d.Slot.Controller > maxDrive || d.Slot.Drive > maxDrive }) {
			t.Fatalf("%+v", s)
		}
		again, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeDeviceState(again)
		if diff := cmp.Diff(s, back); err != nil || diff != "" {
			t.Fatalf("%v (-read +again):\n%s", err, diff)
		}
	})
}

// FuzzDecodeNote: what is accepted is complete, can be written, and reads back the
// same.
func FuzzDecodeNote(f *testing.F) {
	data, err := sampleNote.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := decodeNote(new(xmlite.Parser), data)
		if err != nil {
			return
		}
		if n.Path == "" || n.Method == 0 || n.Method == MethodNone || !n.Prior.Stable() {
			t.Fatalf("%+v", n)
		}
		again, err := n.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeNote(new(xmlite.Parser), again)
		if diff := cmp.Diff(n, back); err != nil || diff != "" {
			t.Fatalf("%v (-read +again):\n%s", err, diff)
		}
	})
}
