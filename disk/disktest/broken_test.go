package disktest_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/disktest"
)

// found runs the kit and returns the promises it says are broken.
func found(t *testing.T, newStore func() disk.Store) (promises []string) {
	t.Helper()
	err := disktest.TestStore(func() (disk.Store, error) { return newStore(), nil })
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("the kit returns a %T: %v", err, err)
	}
	for _, err := range joined.Unwrap() {
		var b *disktest.Broken
		if !errors.As(err, &b) {
			t.Fatalf("the kit returns a %T: %v", err, err)
		}
		t.Log(b)
		if len(b.Calls) > 6 {
			t.Errorf("it takes %d calls to say that %s", len(b.Calls), b.Promise)
		}
		promises = append(promises, b.Promise)
	}
	return promises
}

// TestBrokenStoresAreCaught demands that the kit catches every broken twin, with
// a sentence that names the promise that it breaks.
func TestBrokenStoresAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("a short run leaves the broken twins out")
	}
	for name, m := range mistakes {
		t.Run(name, func(t *testing.T) {
			got := found(t, func() disk.Store {
				h := &hooked{Memory: disk.NewMemory(odd)}
				m.make(h)
				return h
			})
			if !slices.ContainsFunc(got, func(p string) bool { return slices.Contains(m.promises, p) }) {
				t.Errorf("the kit says %q, want one of %q", got, m.promises)
			}
		})
	}
	t.Logf("%d broken twins", len(mistakes))
}

// TestHookedStoreIsSound shows that it is the mistakes that are caught.
func TestHookedStoreIsSound(t *testing.T) {
	disktest.RunStore(t, func(*testing.T) disk.Store { return &hooked{Memory: disk.NewMemory(odd)} })
}

// wrapped cuts offsets to 32 bits.
type wrapped struct{ plain }

func (w wrapped) WriteAt(p []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(p)) <= w.Size() {
		return w.Store.WriteAt(p, int64(uint32(off)))
	}
	return w.Store.WriteAt(p, off)
}

func TestLargeBrokenStoresAreCaught(t *testing.T) {
	for name, c := range map[string]struct {
		make    func() disk.Store
		promise string
	}{
		"offsets of 32 bits":           {func() disk.Store { return wrapped{plain{disk.NewMemory(1 << 40)}} }, writesRead},
		"a refusal of what is allowed": {func() disk.Store { return refusing{plain{disk.NewMemory(1 << 40)}} }, writesAll},
	} {
		t.Run(name, func(t *testing.T) {
			if got := found(t, c.make); !slices.Contains(got, c.promise) {
				t.Errorf("the kit says %q, want %q", got, c.promise)
			}
		})
	}
}

// refusing takes no write behind 4 GiB.
type refusing struct{ plain }

func (r refusing) WriteAt(p []byte, off int64) (int, error) {
	if off >= 4<<30 && off < r.Size() {
		return 0, disk.ErrNoSpace
	}
	return r.Store.WriteAt(p, off)
}
