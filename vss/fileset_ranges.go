package vss

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// A Range is a part of a file, in bytes (IVssComponent::AddPartialFile).
type Range struct {
	Offset uint64
	Length uint64
}

// ParseRanges reads the parts of a file as a [FilePart] names them: either a list,
// "offset:length, offset:length" in decimal or 0x hexadecimal, or the path of a
// ranges file, with "File=" before it or without, which [ReadRangesFile] reads.
// Text that is neither, and ranges beyond 64 bits, are an [ErrInvalidArg].
func ParseRanges(text string) (ranges []Range, file string, err error) {
	text = strings.TrimSpace(text)
	if path, ok := cutFileMark(text); ok {
		return nil, path, nil
	}
	if text == "" {
		return nil, "", fail("ParseRanges", "", ErrInvalidArg, "no ranges")
	}
	for part := range strings.SplitSeq(text, ",") {
		r, err := parseRange(strings.TrimSpace(part))
		if err != nil {
			return nil, "", &Error{Op: "ParseRanges", Err: err}
		}
		ranges = append(ranges, r)
	}
	return ranges, "", nil
}

// cutFileMark recognizes a path: by its mark, or because no list of numbers
// begins so.
func cutFileMark(text string) (string, bool) {
	if rest := cutPrefixFold(text, "File="); len(rest) != len(text) {
		return strings.TrimSpace(rest), true
	}
	rooted := strings.HasPrefix(text, `\`) || strings.HasPrefix(text, "%") || len(text) > 2 && text[1] == ':' && text[2] == '\\'
	return text, rooted
}

func parseRange(text string) (Range, error) {
	first, second, _ := strings.Cut(text, ":")
	offset, err := strconv.ParseUint(strings.TrimSpace(first), 0, 64)
	length, err2 := strconv.ParseUint(strings.TrimSpace(second), 0, 64)
	if err != nil || err2 != nil {
		return Range{}, fmt.Errorf("%w: %q is not offset:length", ErrInvalidArg, text)
	}
	return checkRange(Range{offset, length})
}

func checkRange(r Range) (Range, error) {
	if r.Length > math.MaxUint64-r.Offset {
		return Range{}, fmt.Errorf("%w: %v ends beyond 64 bits", ErrInvalidArg, r)
	}
	return r, nil
}

// String prints offset:length.
func (r Range) String() string { return fmt.Sprintf("%d:%d", r.Offset, r.Length) }

// FormatRanges prints a list that [ParseRanges] reads ("Working with Partial
// Files").
func FormatRanges(ranges []Range) string {
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = r.String()
	}
	return strings.Join(parts, ", ")
}

// ReadRangesFile reads a ranges file: the number of ranges, then offset and
// length of each, all of them 64 bits, low byte first (the byte order is
// assumed; "Working with Partial Files" does not say it). A file that is shorter
// or longer than its number says is an [ErrInvalidArg]; memory is taken only for
// ranges that are there.
func ReadRangesFile(r io.Reader) ([]Range, error) {
	const op = "ReadRangesFile"
	in := bufio.NewReader(r)
	var number [8]byte
	if _, err := io.ReadFull(in, number[:]); err != nil {
		return nil, rangesFileError(op, err)
	}
	var ranges []Range
	for n := binary.LittleEndian.Uint64(number[:]); n > 0; n-- {
		var pair [16]byte
		if _, err := io.ReadFull(in, pair[:]); err != nil {
			return nil, rangesFileError(op, err)
		}
		next, err := checkRange(Range{binary.LittleEndian.Uint64(pair[:8]), binary.LittleEndian.Uint64(pair[8:])})
		if err != nil {
			return nil, &Error{Op: op, Err: err}
		}
		ranges = append(ranges, next)
	}
	if _, err := in.ReadByte(); err == nil {
		return nil, fail(op, "", ErrInvalidArg, "the file is longer than its number of ranges")
	} else if err != io.EOF {
		return nil, rangesFileError(op, err)
	}
	return ranges, nil
}

// rangesFileError tells a short file from one that cannot be read.
func rangesFileError(op string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fail(op, "", ErrInvalidArg, "the file is shorter than its number of ranges")
	}
	return &Error{Op: op, Err: err}
}

// AppendRangesFile appends a ranges file to b ("Working with Partial Files").
func AppendRangesFile(b []byte, ranges []Range) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(ranges)))
	for _, r := range ranges {
		b = binary.LittleEndian.AppendUint64(b, r.Offset)
		b = binary.LittleEndian.AppendUint64(b, r.Length)
	}
	return b
}
