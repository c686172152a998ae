package vss

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A tray is the least of a volume: it counts its copies.
type tray struct {
	copies map[guid.GUID]bool // whether it is sealed
}

func (*tray) ID() [16]byte                       { return guid.GUID{1} }
func (*tray) Name() string                       { return `T:\` }
func (*tray) FileSystem() string                 { return "NTFS" }
func (*tray) FlushAndHold(context.Context) error { return nil }
func (*tray) Release()                           {}

func (t *tray) CreateShadow(_ context.Context, id [16]byte) error {
	t.copies[id] = false
	return nil
}

func (t *tray) SealShadow(_ context.Context, id [16]byte) error {
	t.copies[id] = true
	return nil
}

func (t *tray) DeleteShadow(_ context.Context, id [16]byte) error {
	if _, ok := t.copies[id]; !ok {
		return fs.ErrNotExist
	}
	delete(t.copies, id)
	return nil
}

func (t *tray) OpenShadow([16]byte) (fs.FS, error) { return nil, fs.ErrNotExist }

func (t *tray) Shadows() [][16]byte {
	var out [][16]byte
	for id := range t.copies {
		out = append(out, id)
	}
	return out
}

// TestSystemProviderCallsOutOfOrder makes each call in each step of a set, as the
// states of Microsoft's sample provider have it: a call out of order is a veto that
// aborts the set, so that nothing of it is left and the next call is out of order
// too; AbortSnapshots is in order everywhere, and ignored when the set is finished.
func TestSystemProviderCallsOutOfOrder(t *testing.T) {
	set, snapshot := guid.GUID{1}, guid.GUID{2}
	type call = func(ctx context.Context, p *systemProvider, v *tray) error
	calls := []struct {
		name string
		do   call
	}{
		{"Begin", func(ctx context.Context, p *systemProvider, v *tray) error {
			return p.BeginPrepareSnapshot(ctx, PrepareRequest{Set: set, Snapshot: snapshot, Volume: v, Context: ContextFileShareBackup})
		}},
		{"End", func(ctx context.Context, p *systemProvider, _ *tray) error { return p.EndPrepareSnapshots(ctx, set) }},
		{"PreCommit", func(ctx context.Context, p *systemProvider, _ *tray) error { return p.PreCommitSnapshots(ctx, set) }},
		{"Commit", func(ctx context.Context, p *systemProvider, _ *tray) error { return p.CommitSnapshots(ctx, set) }},
		{"PostCommit", func(ctx context.Context, p *systemProvider, _ *tray) error { return p.PostCommitSnapshots(ctx, set) }},
		{"PreFinal", func(ctx context.Context, p *systemProvider, _ *tray) error {
			return p.PreFinalCommitSnapshots(ctx, set)
		}},
		{"PostFinal", func(ctx context.Context, p *systemProvider, _ *tray) error {
			return p.PostFinalCommitSnapshots(ctx, set)
		}},
	}
	w := sim.New()
	defer func() { _ = w.Close() }()
	err := w.Do(t.Context(), func(ctx context.Context) error {
		for made := 0; made <= len(calls); made++ {
			for next := 0; next <= len(calls); next++ {
				p, v := &systemProvider{service: &Service{}}, &tray{copies: map[guid.GUID]bool{}}
				for _, c := range calls[:made] {
					if err := c.do(ctx, p, v); err != nil {
						t.Fatalf("%s in its turn: %v", c.name, err)
					}
				}
				if next == len(calls) {
					checkAbort(ctx, t, p, v, set, made == len(calls))
					continue
				}
				c := calls[next]
				err := c.do(ctx, p, v)
				// A set begins with Begin, which may come again for another volume.
				inOrder := next == made%len(calls) || next == 0 && made == 1
				switch {
				case inOrder && err != nil:
					t.Errorf("%s behind %d calls: %v", c.name, made, err)
				case !inOrder && !errors.Is(err, ErrProviderVeto):
					t.Errorf("%s behind %d calls: %v", c.name, made, err)
				case !inOrder && made < len(calls) && len(v.copies) > 0:
					t.Errorf("%s behind %d calls leaves a copy", c.name, made)
				case !inOrder && next > 0 && !errors.Is(calls[1].do(ctx, p, v), ErrProviderVeto):
					t.Errorf("%s behind %d calls does not abort the set", c.name, made)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func checkAbort(ctx context.Context, t *testing.T, p *systemProvider, v *tray, set guid.GUID, finished bool) {
	t.Helper()
	if err := p.AbortSnapshots(ctx, set); err != nil {
		t.Errorf("AbortSnapshots: %v", err)
	}
	if (len(v.copies) == 1) != finished {
		t.Errorf("AbortSnapshots leaves %d copies, finished %v", len(v.copies), finished)
	}
}

// TestSystemProviderSeals: a copy can be written to until PostFinalCommit, one
// without recovery until PostCommit.
func TestSystemProviderSeals(t *testing.T) {
	for c, want := range map[SnapshotContext][3]bool{
		ContextBackup:                          {false, false, true},
		ContextBackup.With(AttrNoAutoRecovery): {true, true, true},
	} {
		w := sim.New()
		err := w.Do(t.Context(), func(ctx context.Context) error {
			p, v, set := &systemProvider{service: &Service{}}, &tray{copies: map[guid.GUID]bool{}}, guid.GUID{1}
			id := guid.GUID{2}
			err := errors.Join(p.BeginPrepareSnapshot(ctx, PrepareRequest{Set: set, Snapshot: id, Volume: v, Context: c}),
				p.EndPrepareSnapshots(ctx, set), p.PreCommitSnapshots(ctx, set), p.CommitSnapshots(ctx, set))
			if v.copies[id] {
				t.Errorf("%v: sealed when it was made", c)
			}
			for i, step := range []func(context.Context, guid.GUID) error{p.PostCommitSnapshots, p.PreFinalCommitSnapshots, p.PostFinalCommitSnapshots} {
				err = errors.Join(err, step(ctx, set))
				if v.copies[id] != want[i] {
					t.Errorf("%v: sealed %v behind step %d", c, v.copies[id], i)
				}
			}
			return err
		})
		if err := errors.Join(err, w.Close()); err != nil {
			t.Error(err)
		}
	}
}
