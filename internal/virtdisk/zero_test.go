package virtdisk

import (
	"fmt"
	"testing"
)

func TestNonzeroRuns(t *testing.T) {
	const Page = 4096
	for _, c := range []struct {
		size int
		set  []int
		want string
	}{
		{0, nil, ""},
		{100, nil, ""},
		{100, []int{99}, " 0-100"},
		{3 * Page, []int{0, Page, 3*Page - 1}, " 0-12288"},
		{3*Page + 5, []int{Page - 1, 3*Page + 4}, " 0-4096 12288-12293"},
		{3 * Page, []int{Page}, " 4096-8192"},
	} {
		p := make([]byte, c.size)
		for _, i := range c.set {
			p[i] = 1
		}
		if AllZero(p) != (len(c.set) == 0) {
			t.Errorf("AllZero with %v set", c.set)
		}
		got := ""
		for from, to := range NonzeroRuns(p) {
			got += fmt.Sprintf(" %d-%d", from, to)
		}
		if got != c.want {
			t.Errorf("%d bytes with %v set: runs%s, want%s", c.size, c.set, got, c.want)
		}
		for range NonzeroRuns(p) {
			break
		}
	}
}
