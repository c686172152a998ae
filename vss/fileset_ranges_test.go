package vss

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestParseRanges(t *testing.T) {
	for text, want := range map[string][]Range{
		"0:512":                     {{0, 512}},
		" 0x1000:0X200 ,4096 : 16,": nil,
		"0x1000:0x200, 4096 : 16":   {{4096, 512}, {4096, 16}},
		"18446744073709551615:0":    {{math.MaxUint64, 0}},
		"0:18446744073709551615":    {{0, math.MaxUint64}},
		"1:18446744073709551615":    nil,
		"":                          nil,
		"5":                         nil,
		"5:":                        nil,
		"a:b":                       nil,
		"-1:5":                      nil,
		"0x1FFFFFFFFFFFFFFFF:1":     nil,
		"1:2:3":                     nil,
		"1:2 3:4":                   nil,
		"0:1,,2:3":                  nil,
		"C:5":                       nil,
		"0:9223372036854775807,9223372036854775808:1": {{0, math.MaxInt64}, {math.MaxInt64 + 1, 1}},
	} {
		got, file, err := ParseRanges(text)
		if want == nil && !errors.Is(err, ErrInvalidArg) || want != nil && (err != nil || file != "" || !slices.Equal(got, want)) {
			t.Errorf("%q: %v, %q, %v; want %v", text, got, file, err, want)
		}
	}
	for text, want := range map[string]string{
		`D:\backup\ranges.bin`: `D:\backup\ranges.bin`, `File=D:\r.bin`: `D:\r.bin`, `file= r.bin `: `r.bin`,
		`\\server\share\r`: `\\server\share\r`, `%TEMP%\r`: `%TEMP%\r`,
	} {
		if got, file, err := ParseRanges(text); err != nil || got != nil || file != want {
			t.Errorf("%q: %v, %q, %v; want the file %q", text, got, file, err, want)
		}
	}
}

func TestRangesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ranges := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Range {
			offset := rapid.Uint64().Draw(t, "offset")
			return Range{offset, rapid.Uint64Max(math.MaxUint64-offset).Draw(t, "length")}
		}), 1, 5).Draw(t, "ranges")
		if got, _, err := ParseRanges(FormatRanges(ranges)); err != nil || !slices.Equal(got, ranges) {
			t.Fatalf("%v reads back as %v, %v", ranges, got, err)
		}
		file := AppendRangesFile(nil, ranges)
		if got, err := ReadRangesFile(bytes.NewReader(file)); err != nil || !slices.Equal(got, ranges) {
			t.Fatalf("%v reads back from a file as %v, %v", ranges, got, err)
		}
		cut := rapid.IntRange(0, len(file)-1).Draw(t, "cut")
		if got, err := ReadRangesFile(bytes.NewReader(file[:cut])); !errors.Is(err, ErrInvalidArg) {
			t.Fatalf("cut short: %v, %v", got, err)
		}
	})
}

func TestRangesFileRefusals(t *testing.T) {
	huge := binary.LittleEndian.AppendUint64(nil, math.MaxUint64)
	if _, err := ReadRangesFile(bytes.NewReader(huge)); !errors.Is(err, ErrInvalidArg) {
		t.Errorf("a number without ranges: %v", err)
	}
	long := append(AppendRangesFile(nil, nil), 0)
	if _, err := ReadRangesFile(bytes.NewReader(long)); !errors.Is(err, ErrInvalidArg) {
		t.Errorf("a byte too many: %v", err)
	}
	over := AppendRangesFile(nil, []Range{{math.MaxUint64, 1}})
	if _, err := ReadRangesFile(bytes.NewReader(over)); !errors.Is(err, ErrInvalidArg) {
		t.Errorf("a range beyond 64 bits: %v", err)
	}
	whole := AppendRangesFile(nil, []Range{{1, 2}})
	for n := range len(whole) + 1 {
		r := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(errBroken))
		if _, err := ReadRangesFile(r); !errors.Is(err, errBroken) {
			t.Errorf("a broken disk after %d bytes: %v", n, err)
		}
	}
}
