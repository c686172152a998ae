package xmlite

import (
	"io"
	"math"
	"strings"
	"testing"
)

// A sized reader says how much it has, and may be wrong.
type sized struct {
	io.Reader
	size  int
	reads int
}

func (s *sized) Len() int { return s.size }

func (s *sized) Read(p []byte) (int, error) {
	s.reads++
	return s.Reader.Read(p)
}

// Whatever a reader says of its size, all of it is read, in pieces that make sense.
func TestReadOfAnySize(t *testing.T) {
	text := "<a>" + strings.Repeat(" ", 10_000) + "</a>"
	for _, size := range []int{0, 1, len(text), math.MaxInt - 1, math.MaxInt} {
		s := &sized{Reader: strings.NewReader(text), size: size}
		got, err := Read(s, Limits{Size: 1 << 20})
		if err != nil || got != text || s.reads > 30 {
			t.Errorf("said to be %d: %d bytes in %d reads, %v", size, len(got), s.reads, err)
		}
	}
}
