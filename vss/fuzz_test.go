package vss_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/vss"
)

// FuzzParseRanges: what is read reads back, ends within 64 bits, and what is
// refused is E_INVALIDARG.
func FuzzParseRanges(f *testing.F) {
	for _, s := range []string{"0:10", "0x10:0x20, 100:1", `File=D:\ranges`, `D:\ranges`, `\\server\share\r`, "%SystemRoot%\\r", "", ",", "1:2,", ":", "-1:5",
		"18446744073709551615:1", "0b1:0o7", "1:2:3", "file=", "１:２"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ranges, file, err := vss.ParseRanges(s)
		switch {
		case err != nil:
			if !errors.Is(err, vss.ErrInvalidArg) || ranges != nil || file != "" {
				t.Fatalf("%q: %v, %v, %q", s, err, ranges, file)
			}
			return
		case file != "" && ranges != nil:
			t.Fatalf("%q is both a list and a file", s)
		case ranges == nil:
			return
		}
		for _, r := range ranges {
			if r.Offset+r.Length < r.Offset {
				t.Fatalf("%q: %v ends beyond 64 bits", s, r)
			}
		}
		again, _, err := vss.ParseRanges(vss.FormatRanges(ranges))
		if err != nil || !slices.Equal(again, ranges) {
			t.Fatalf("%q: %v reads back as %v, %v", s, ranges, again, err)
		}
	})
}

// FuzzReadRangesFile: a ranges file that is read is written again as it was, and
// no number in it takes memory.
func FuzzReadRangesFile(f *testing.F) {
	f.Add(vss.AppendRangesFile(nil, nil))
	f.Add(vss.AppendRangesFile(nil, []vss.Range{{Offset: 1, Length: 2}, {Offset: 1 << 40, Length: 1 << 30}}))
	f.Add(bytes.Repeat([]byte{0xFF}, 24))
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		ranges, err := vss.ReadRangesFile(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, vss.ErrInvalidArg) {
				t.Fatal(err)
			}
			return
		}
		if got := vss.AppendRangesFile(nil, ranges); !bytes.Equal(got, data) {
			t.Fatalf("%x becomes %x", data, got)
		}
	})
}

// FuzzParseRestoreOptions: options that are read print as a text that reads the
// same.
func FuzzParseRestoreOptions(f *testing.F) {
	for _, s := range []string{`"Authoritative"="All"`, `"a\b":"Roll Forward"="Partial:17", "New Component Name"="x\y"`, `"x"=""`, `=`, `"`, `"a"="b",`, `"a":"b"`,
		`"a"="b" "c"="d"`, `"a,b"="c=d"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		options, err := vss.ParseRestoreOptions(s)
		if err != nil {
			if !errors.Is(err, vss.ErrInvalidArg) {
				t.Fatal(err)
			}
			return
		}
		text, err := options.Format()
		if err != nil {
			t.Fatal(err)
		}
		again, err := vss.ParseRestoreOptions(text)
		if err != nil || !slices.Equal(again, options) {
			t.Fatalf("%q: %v prints as %q and reads as %v, %v", s, options, text, again, err)
		}
	})
}

// FuzzParseHRESULT: a code that is read prints as a text that reads the same, and
// every enumeration refuses or reads any text.
func FuzzParseHRESULT(f *testing.F) {
	for _, s := range []string{"VSS_E_BAD_STATE", "0x80042301", "VSS_E_BAD_STATE (0x80042301)", "2147750657", "-2147217663", "", "0x", "S_OK", "vss_bt_full", "FULL|LOG", "0x1|"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := vss.ParseHRESULT(s); err == nil {
			again, err := vss.ParseHRESULT(h.String())
			if err != nil || again != h {
				t.Fatalf("%q is %v, which reads as %v, %v", s, h, again, err)
			}
		} else if !errors.Is(err, vss.ErrInvalidArg) {
			t.Fatal(err)
		}
		readBack[vss.BackupType](t, s)
		readBack[vss.WriterState](t, s)
		readBack[vss.SnapshotAttributes](t, s)
		readBack[vss.SnapshotContext](t, s)
		readBack[vss.FileSpecBackupType](t, s)
	})
}

func readBack[E vss.Enum](t *testing.T, s string) {
	e, err := vss.ParseEnum[E](s)
	if err != nil {
		if !errors.Is(err, vss.ErrInvalidArg) {
			t.Fatal(err)
		}
		return
	}
	if again, err := vss.ParseEnum[E](e.String()); err != nil || again != e {
		t.Fatalf("%q is %v, which reads as %v, %v", s, e, again, err)
	}
}
