package vhd

import (
	"io"
)

// Format is what a file is by its content.
type Format uint8

// The formats that Detect tells apart.
const (
	FormatUnknown Format = iota
	FormatFixed          // a VHD of type fixed
	FormatSparse         // a VHD of another type: dynamic or differencing
	FormatVHDX
)

// String returns "unknown", "fixed VHD", "sparse VHD" or "VHDX".
func (f Format) String() string {
	switch f {
	case FormatFixed:
		return "fixed VHD"
	case FormatSparse:
		return "sparse VHD"
	case FormatVHDX:
		return "VHDX"
	}
	return "unknown"
}

// Detect tells the format of a file of size bytes by its content alone; no
// promise that it will open. A fixed VHD carries no mark at its start, where
// the guest may well have written one of another format, so a footer at the
// end that fits the file exactly comes before any mark. The error is one of
// reading the file.
func Detect(r io.ReaderAt, size int64) (Format, error) {
	tail, err := readTail(r, size)
	if err != nil {
		return FormatUnknown, during("Detect", err)
	}
	f, ferr := parseFooter(tail.footer(), 0)
	if ferr == nil && f.Type == Fixed && int64(f.CurrentSize) == tail.at {
		return FormatFixed, nil
	}
	var mark [8]byte
	if size >= int64(len(mark)) {
		if err := readFull(r, mark[:], 0, "first bytes"); err != nil {
			return FormatUnknown, during("Detect", err)
		}
	}
	switch {
	case string(mark[:]) == "vhdxfile":
		return FormatVHDX, nil
	case string(mark[:]) == footerCookie:
		return FormatSparse, nil
	case !tail.found:
		return FormatUnknown, nil
	case ferr == nil && f.Type != Fixed:
		return FormatSparse, nil
	}
	return FormatFixed, nil
}

// A tail is the end of a file, where a footer of 512 or 511 bytes may be.
type tail struct {
	buf   [FooterSize]byte // the footer, or the last bytes of a file without one
	size  int              // of the footer
	at    int64            // where it begins
	found bool             // its cookie is there
}

// footer returns the bytes of the footer.
func (t *tail) footer() []byte { return t.buf[:t.size] }

// readTail looks for a footer at the end of a file of size bytes. A file too
// short for one just has none.
func readTail(r io.ReaderAt, size int64) (*tail, error) {
	t := &tail{size: int(min(max(size, 0), FooterSize))}
	t.at = size - int64(t.size)
	if t.size < oldFooterSize {
		return t, nil
	}
	if err := readFull(r, t.footer(), t.at, "footer"); err != nil {
		return nil, err
	}
	if hasCookie(t.footer()) {
		t.found = true
	} else if t.size == FooterSize && hasCookie(t.buf[1:]) {
		copy(t.buf[:], t.buf[1:])
		t.buf[oldFooterSize] = 0
		t.size, t.at, t.found = oldFooterSize, t.at+1, true
	}
	return t, nil
}

func hasCookie(b []byte) bool { return string(b[:len(footerCookie)]) == footerCookie }
