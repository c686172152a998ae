package trace_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
	"github.com/shadowsim/shadowsim/vss/sim/trace"
)

// freeze lets a writer freeze; a fault may be planned at the point "vss/freeze".
func freeze(opts ...sim.Option) sim.Trace {
	w := sim.New(opts...)
	defer w.Close()
	writer := w.Actor("h1").Child("ledger")
	_ = writer.Call(context.Background(), "freeze", func(ctx context.Context) error {
		sim.Emit(ctx, "vss/prepare", "R12", sim.S("volume", "D:"))
		if err := sim.At(ctx, "vss/freeze"); err != nil {
			sim.Emit(ctx, "vss/abort", "R37")
			return err
		}
		sim.Emit(ctx, "vss/freeze", "R29", sim.N("files", 2))
		_ = sim.Sleep(ctx, 10*time.Second)
		sim.Emit(ctx, "vss/thaw", "R30")
		return nil
	})
	return w.Trace()
}

func ExampleText() {
	_ = trace.Text(os.Stdout, freeze())
	// Output:
	// 0s   h1/ledger  vss/prepare  volume=D:  R12
	//      h1/ledger  vss/freeze   files=2    R29
	// 10s  h1/ledger  vss/thaw                R30
}

func ExampleJSONLines() {
	_ = trace.JSONLines(os.Stdout, freeze()[1:2])
	// Output:
	// {"seq":2,"ns":0,"actor":"h1/ledger","kind":"vss/freeze","rule":"R29","attrs":[{"key":"files","num":2}]}
}

func ExampleDiff() {
	fmt.Print(trace.Diff(freeze(), freeze(sim.Plan("vss/freeze err=0x800423F4")), trace.Options{}))
	// Output:
	// first difference at event 2 of 3, and 2 of 3
	//   0s   h1/ledger  vss/prepare  volume=D:  R12
	// - 0s   h1/ledger  vss/freeze   files=2    R29
	// - 10s  h1/ledger  vss/thaw                R30
	// + 0s   h1/ledger  fault        point=vss/freeze on=h1/ledger outcome="err=0x800423F4"
	// + 0s   h1/ledger  vss/abort               R37
}
