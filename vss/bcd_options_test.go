package vss

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseRestoreOptions(t *testing.T) {
	for _, row := range []struct {
		text string
		want RestoreOptions
	}{
		{"", nil},
		{`"Authoritative"="All"`, RestoreOptions{{"", "Authoritative", "All"}}},
		{` "db\logs" : "Roll Forward" = "Partial:12:30" , "New Component Name"="a\b"`,
			RestoreOptions{{`db\logs`, "Roll Forward", "Partial:12:30"}, {"", "New Component Name", `a\b`}}},
		{`"x"="",""=""`, RestoreOptions{{"", "x", ""}, {"", "", ""}}},
	} {
		got, err := ParseRestoreOptions(row.text)
		if diff := cmp.Diff(row.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", row.text, err, diff)
		}
	}
	for _, bad := range []string{`x`, `"x"`, `"x"=`, `"x"="y`, `"x"="y",`, `"x"="y" "z"="w"`, `"a":="b"`, `"a":"b"`, `,"x"="y"`, `"a":"b":"c"="d"`, `"x`} {
		if got, err := ParseRestoreOptions(bad); !errors.Is(err, ErrInvalidArg) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func TestRestoreOptionsReadBack(t *testing.T) {
	text := rapid.StringOf(rapid.SampledFrom([]rune(`aB \:=,.`)))
	rapid.Check(t, func(t *rapid.T) {
		var options RestoreOptions
		for range rapid.IntRange(0, 4).Draw(t, "options") {
			options = append(options, RestoreOption{text.Draw(t, "component"), text.Draw(t, "name"), text.Draw(t, "value")})
		}
		printed, err := options.Format()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseRestoreOptions(printed); err != nil || !cmp.Equal(options, got) {
			t.Fatalf("%s reads back as %v, %v", printed, got, err)
		}
	})
	if _, err := (RestoreOptions{{"", "x", `"`}}).Format(); !errors.Is(err, ErrInvalidArg) {
		t.Errorf("a quotation mark is printed: %v", err)
	}
}

func TestRestoreOptionsHoldForDescendants(t *testing.T) {
	options := RestoreOptions{{"", "Authoritative", "All"}, {"db", "roll forward", "All"}, {`DB\logs`, "Roll Forward", "None"}, {"d", "Roll Forward", "x"}}
	for path, want := range map[string]RestoreOptions{
		"db": options[1:2], `db\logs`: options[1:3], `db\logs\today`: options[1:3], "dbx": nil, "other": nil,
	} {
		if diff := cmp.Diff(want, options.For(OptionRollForward, key(path))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if got := options.For(OptionAuthoritative, key("anything")); len(got) != 1 {
		t.Errorf("an option without a component is found %d times", len(got))
	}
}
