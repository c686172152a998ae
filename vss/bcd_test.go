package vss

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/shadowsim/shadowsim/internal/guid"
)

func TestWriterRecords(t *testing.T) {
	class, one, two := guid.GUID{1}, guid.GUID{2}, guid.GUID{3}
	d := &BackupComponentsDocument{}
	first := d.AddWriter(WriterRecord{WriterID: class, InstanceID: one, InstanceName: "one"})
	second := d.AddWriter(WriterRecord{WriterID: class, InstanceID: two})
	other := d.AddWriter(WriterRecord{WriterID: guid.GUID{9}, InstanceID: one})
	if again := d.AddWriter(WriterRecord{WriterID: class, InstanceID: one}); again != first || len(d.Writers) != 3 {
		t.Errorf("a writer is there twice: %v", d.Writers)
	}
	if d.Writer(class, two) != second || d.Writer(guid.GUID{9}, one) != other || d.Writer(guid.GUID{9}, two) != nil {
		t.Error("instances are mixed up")
	}
	if got := slices.Collect(d.WritersOf(class)); !slices.Equal(got, []*WriterRecord{first, second}) {
		t.Errorf("instances of the class: %v", got)
	}
	for range d.WritersOf(class) {
		break // an iterator may be left early
	}

	c, err := first.AddComponent(ComponentRecord{ComponentKey: key(`a\b`), Type: ComponentFileGroup})
	if err != nil || first.Component(key(`A\B`)) != c || second.Component(key(`a\b`)) != nil {
		t.Errorf("the component is not where it belongs: %v", err)
	}
	if _, err := first.AddComponent(ComponentRecord{ComponentKey: key(`A\b`)}); !errors.Is(err, ErrObjectAlreadyExists) {
		t.Errorf("a component is added twice: %v", err)
	}
	first.Components = nil
	if _, err := first.AddComponent(ComponentRecord{ComponentKey: key(`A\b`)}); err != nil {
		t.Errorf("a removed component is added again: %v", err)
	}
}

func TestComponentRecordDefaults(t *testing.T) {
	c := ComponentRecord{NewTargets: []FileMapping{{FileSpec: FileSpec{`D:\a`, "*", true}, Destination: `E:\`}}}
	if c.Target() != TargetOriginal {
		t.Errorf("without a target, files go to %v", c.Target())
	}
	c.RestoreTarget = TargetDirected
	if c.Target() != TargetDirected {
		t.Errorf("files go to %v", c.Target())
	}
	if to, ok := c.NewTarget(FileSpec{`d:\A\`, "*", true}); !ok || to != `E:\` {
		t.Errorf("the new target is %q, %v", to, ok)
	}
	if _, ok := c.NewTarget(FileSpec{`D:\a`, "*", false}); ok {
		t.Error("a new target is found for another file set")
	}
}

// TestClonesShareNothing changes everything in a clone that can be reached
// without replacing it.
func TestClonesShareNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := genComponents(t)
		c := d.Clone()
		if diff := cmp.Diff(d, c, exact); diff != "" {
			t.Fatalf("the clone differs (-original +clone):\n%s", diff)
		}
		untouched := d.Clone()
		for i := range c.Snapshots {
			c.Snapshots[i].Volume += "!"
			spoil(c.Snapshots[i].LUNInfo)
		}
		for _, w := range c.Writers {
			w.InstanceName += "!"
			for _, r := range w.Components {
				spoilRecord(r)
			}
			if _, err := w.AddComponent(ComponentRecord{ComponentKey: key("brand new component")}); err != nil {
				t.Fatal(err)
			}
			if w.Component(key("BRAND NEW COMPONENT")) == nil || d.Writer(w.WriterID, w.InstanceID).Component(key("brand new component")) != nil {
				t.Fatal("the clone's lookups are the original's")
			}
		}
		c.AddWriter(WriterRecord{WriterID: guid.GUID{0xFF}, InstanceID: guid.GUID{0xFF, 1}})
		if diff := cmp.Diff(untouched, d, exact); diff != "" {
			t.Fatalf("changing the clone changes the original:\n%s", diff)
		}
	})
}

func spoil(b []byte) {
	for i := range b {
		b[i]++
	}
}

func spoilRecord(r *ComponentRecord) {
	spoil(r.BackupMetadata)
	spoil(r.RestoreMetadata)
	for i := range r.PartialFiles {
		r.PartialFiles[i].Path += "!"
	}
	for i := range r.DifferencedFiles {
		r.DifferencedFiles[i].Path += "!"
	}
	for i := range r.Subcomponents {
		r.Subcomponents[i].Name += "!"
	}
	for i := range r.DirectedTargets {
		r.DirectedTargets[i].Source.Path += "!"
	}
	for i := range r.NewTargets {
		r.NewTargets[i].Path += "!"
	}
	for i := range r.AlternateLocations {
		r.AlternateLocations[i].Path += "!"
	}
	if r.Failure != nil {
		r.Failure.Message += "!"
	}
	r.Name += "!"
}

func TestFiletimes(t *testing.T) {
	for _, row := range []struct {
		time time.Time
		file Filetime
	}{
		{time.Time{}, 0},
		{time.Unix(0, 0), 116444736000000000},
		{time.Date(2009, 3, 14, 15, 9, 26, 535897900, time.UTC), 128815169665358979},
		{time.Date(1601, 1, 1, 0, 0, 0, 100, time.UTC), 1},
		{time.Date(1600, 12, 31, 23, 59, 59, 0, time.UTC), 0},
		{time.Date(60000, 1, 1, 0, 0, 0, 0, time.UTC), 18428943744000000000},
		{time.Date(70000, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxUint64},
		{time.Unix(math.MaxInt64/2, 0), math.MaxUint64},
	} {
		if got := FiletimeOf(row.time); got != row.file {
			t.Errorf("%v is %d, want %d", row.time, got, row.file)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		f := Filetime(rapid.Uint64Max(math.MaxUint64/filetimeSecond*filetimeSecond-1).Draw(t, "time"))
		if got := FiletimeOf(f.Time()); got != f {
			t.Fatalf("%d is %v, which is %d", f, f.Time(), got)
		}
	})
	if zone := Filetime(1).Time().Location(); zone != time.UTC {
		t.Errorf("the time is in %v", zone)
	}
}
