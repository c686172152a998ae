package volume_test

import (
	"errors"
	"testing"

	"github.com/shadowsim/shadowsim/disk/volume"
)

// A walk never goes by what an earlier one has found and somebody has changed.
func TestWalkAfterChanges(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(v *volume.Volume) error
		want   string // what \a\b\file holds then; "" if it is not there
	}{
		"nothing":                {func(*volume.Volume) error { return nil }, "old"},
		"removed":                {func(v *volume.Volume) error { return v.RemoveAll(`\a`) }, ""},
		"renamed":                {func(v *volume.Volume) error { return v.Rename(`\a\b`, `\a\c`) }, ""},
		"renamed above":          {func(v *volume.Volume) error { return v.Rename(`\a`, `\c`) }, ""},
		"another in its place":   {func(v *volume.Volume) error { return v.Rename(`\other`, `\a\b\file`) }, "new"},
		"a link in its place":    {func(v *volume.Volume) error { return errors.Join(v.RemoveAll(`\a`), v.Symlink(`\x`, `\a`)) }, "linked"},
		"another directory":      {func(v *volume.Volume) error { return errors.Join(v.Rename(`\a`, `\c`), v.Rename(`\x`, `\a`)) }, "linked"},
		"another case of a name": {func(v *volume.Volume) error { return v.Rename(`\a`, `\A`) }, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			v := volume.New(volume.Config{})
			err := errors.Join(v.MkdirAll(`\a\b`), v.MkdirAll(`\x\b`),
				v.WriteFile(`\x\b\file`, []byte("linked")), v.WriteFile(`\other`, []byte("new")), v.WriteFile(`\a\b\file`, []byte("old")))
			if _, e := v.ReadFile(`\a\b\file`); err != nil || e != nil {
				t.Fatal(err, e)
			}
			if err := tt.change(v); err != nil {
				t.Fatal(err)
			}
			data, err := v.ReadFile(`\a\b\file`)
			if string(data) != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("the file holds %q, %v; want %q", data, err, tt.want)
			}
		})
	}
}
