package requester_test

import (
	"context"
	"io/fs"
	"testing"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// reference is the requester of this package as the kit tries it. Change, if set,
// makes a twin of it.
func reference(change *twin) func() vsstest.JudgedRequester {
	return func() vsstest.JudgedRequester {
		targets := make(map[int]*requester.Memory)
		return vsstest.JudgedRequester{
			Backup: func(ctx context.Context, m *vsstest.JudgeMachine, o vsstest.JudgedBackup) error {
				targets[o.Image] = &requester.Memory{}
				b := &requester.Backup{Service: m.Service, Target: targets[o.Image], Type: o.Type, Environment: m.Environment}
				if o.Only != nil {
					b.Selection = &requester.Selection{Writers: []requester.SelectedWriter{{WriterID: vsstest.JudgeClassID, Components: o.Only}}}
				}
				if o.Base >= 0 {
					b.Previous = targets[o.Base]
				}
				return change.runBackup(ctx, m, b)
			},
			Restore: func(ctx context.Context, m *vsstest.JudgeMachine, o vsstest.JudgedRestore) error {
				r := &requester.Restore{Service: m.Service, Destination: m.Files, Environment: m.Environment}
				if o.NewTarget != nil {
					r.NewTarget = func(w *vss.WriterMetadata, _ *vss.ComponentInfo, set vss.FileSet) (string, bool) {
						return o.NewTarget(set.FileSpec), w.Schema&vss.SchemaNewTarget != 0
					}
				}
				if o.Subcomponent != nil {
					r.Selection = &requester.Selection{Writers: []requester.SelectedWriter{
						{WriterID: vsstest.JudgeClassID, Components: []vss.ComponentKey{*o.Subcomponent}},
					}}
				}
				var chain []fs.FS
				for _, i := range o.Images {
					chain = append(chain, targets[i])
				}
				return change.runRestore(ctx, m, r, chain)
			},
		}
	}
}

// TestJudged: the reference requester keeps every rule, with every configuration.
func TestJudged(t *testing.T) {
	for _, c := range vsstest.JudgeCases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := vsstest.TestRequester(reference(nil), c); err != nil {
				t.Error(err)
			}
		})
	}
}
