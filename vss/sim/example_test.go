package sim_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

func Example() {
	w := sim.New()
	defer w.Close()
	bell := &sim.Signal{Name: "bell"}
	err := w.Do(context.Background(), func(ctx context.Context) error {
		sim.Go(ctx, "ringer", func(ctx context.Context) error {
			defer bell.Set()
			return sim.Sleep(ctx, time.Hour)
		})
		err := bell.Wait(ctx)
		fmt.Println("it rang after", sim.Now(ctx))
		return err
	})
	fmt.Println(err)
	// Output:
	// it rang after 1h0m0s
	// <nil>
}

// Ordinary code calls into a world as into any library; each call drives the world
// until it has its answer.
func ExampleWorld() {
	ctx := context.Background()
	w := sim.New()
	defer w.Close()
	vm := w.Actor("h1").Child("sql01")
	vm.Background("workload", func(ctx context.Context) error {
		for {
			if err := sim.Sleep(ctx, 20*time.Minute); err != nil {
				return err
			}
			sim.Emit(ctx, "disk/write", "")
		}
	})
	err := vm.Call(ctx, "backup", func(ctx context.Context) error { return sim.Sleep(ctx, 30*time.Minute) })
	fmt.Println("backed up:", err)
	_ = w.Advance(30 * time.Minute)
	fmt.Print(w.Trace())
	// Output:
	// backed up: <nil>
	//        20m0s  h1/sql01                     disk/write
	//        40m0s  h1/sql01                     disk/write
	//       1h0m0s  h1/sql01                     disk/write
}

func ExampleActor_Pause() {
	w := sim.New()
	defer w.Close()
	vm := w.Actor("vm")
	p := vm.Child("guest").Go("timer", func(ctx context.Context) error {
		err := sim.Sleep(ctx, 10*time.Second)
		fmt.Println("woke at", sim.Now(ctx))
		return err
	})
	_ = w.Advance(4 * time.Second)
	vm.Pause() // the guest's timer has six seconds left
	_ = w.Advance(time.Hour)
	vm.Resume()
	fmt.Println(p.Wait(context.Background()))
	// Output:
	// woke at 1h0m10s
	// <nil>
}

func ExampleActor_Kill() {
	w := sim.New()
	defer w.Close()
	host := w.Actor("h1")
	service := host.Child("vmms")
	service.OnKill(host, "restart", func(ctx context.Context) error {
		fmt.Println("the host starts", host.Child("vmms").Path())
		return nil
	})
	p := service.Go("work", func(ctx context.Context) error {
		defer fmt.Println("unwound")
		err := sim.Sleep(ctx, time.Hour)
		fmt.Println(err)
		_ = sim.Sleep(ctx, time.Hour) // the second call of a dead process ends it
		fmt.Println("never")
		return nil
	})
	_ = w.Advance(time.Second)
	service.Kill()
	fmt.Println(p.Wait(context.Background()))
	// Output:
	// sim: the process was killed
	// unwound
	// the host starts h1/vmms#2
	// sim: the process was killed
}

func ExampleWithTimeout() {
	w := sim.New()
	defer w.Close()
	_ = w.Do(context.Background(), func(ctx context.Context) error {
		c, cancel := sim.WithTimeout(ctx, time.Minute)
		defer cancel()
		err := new(sim.Signal).Wait(c)
		fmt.Println(err, "at", sim.Now(ctx))
		return nil
	})
	// Output: context deadline exceeded at 1m0s
}

func ExampleGate() {
	w := sim.New()
	defer w.Close()
	writes := &sim.Gate{Name: "D: writes"}
	w.Actor("app").Background("write", func(ctx context.Context) error {
		for writes.Pass(ctx) == nil {
			fmt.Println("written at", sim.Now(ctx))
			_ = sim.Sleep(ctx, 4*time.Second)
		}
		return nil
	})
	_ = w.Do(context.Background(), func(ctx context.Context) error {
		_ = sim.Sleep(ctx, 3*time.Second)
		writes.Shut() // flush and hold
		_ = sim.Sleep(ctx, 5*time.Second)
		writes.Open()
		return sim.Sleep(ctx, time.Second)
	})
	// Output:
	// written at 0s
	// written at 8s
}

func ExampleMutex() {
	w := sim.New()
	defer w.Close()
	var one sim.Mutex
	for _, name := range []string{"first", "second"} {
		w.Actor(name).Go("use", func(ctx context.Context) error {
			if err := one.Lock(ctx); err != nil {
				return err
			}
			defer one.Unlock()
			fmt.Println(name, "at", sim.Now(ctx))
			return sim.Sleep(ctx, time.Second)
		})
	}
	_ = w.Advance(time.Minute)
	// Output:
	// first at 0s
	// second at 1s
}

func ExampleAt() {
	w := sim.New(sim.Plan("vss/freeze on=h1/ledger nth=2 err=0x800423F4"))
	defer w.Close()
	writer := w.Actor("h1").Child("ledger")
	for range 3 {
		err := writer.Call(context.Background(), "freeze", func(ctx context.Context) error {
			return sim.At(ctx, "vss/freeze")
		})
		fmt.Println(err)
	}
	fmt.Println("never struck:", w.Unreached())
	// Output:
	// <nil>
	// vss/freeze on h1/ledger: injected error 0x800423F4
	// <nil>
	// never struck: []
}

func ExampleReplay() {
	flip := func(opt sim.Option) sim.Recording {
		w := sim.New(opt)
		defer w.Close()
		_ = w.Do(context.Background(), func(ctx context.Context) error {
			for range 4 {
				fmt.Print(sim.Choose(ctx, "h1/coin", 2))
			}
			fmt.Println()
			return nil
		})
		return w.Recording()
	}
	line := flip(sim.Seed(7)).String()
	fmt.Println(line)
	recorded, _ := sim.ParseRecording(line)
	flip(sim.Replay(recorded))
	// Output:
	// 0111
	// h1%2Fcoin/2=0 h1%2Fcoin/2=1*3
	// 0111
}

// Two processes add to one number, reading and writing it in two turns.
func ExampleSearch() {
	report, err := sim.Search{}.Run(func(opt sim.Option) error {
		w := sim.New(opt)
		defer w.Close()
		sum := 0
		for _, name := range []string{"a", "b"} {
			w.Actor(name).Go("add", func(ctx context.Context) error {
				read := sum
				_ = sim.Yield(ctx)
				sum = read + 1
				return nil
			})
		}
		_ = w.Advance(time.Second)
		if sum != 2 {
			return errors.New("an update was lost")
		}
		return nil
	})
	fmt.Println(report.Runs, "runs:", err)
	// Output:
	// 1 runs: an update was lost
}

// The undo of a job is missing where its second step fails.
func ExampleFaultSearch() {
	points := []sim.FaultPoint{
		{Point: "job/freeze", Doc: "freezing", Outcomes: []sim.Outcome{{Err: 0x800423F4}}},
		{Point: "job/copy", Doc: "copying", Outcomes: []sim.Outcome{{Err: 0x80070070}}},
	}
	report, err := sim.FaultSearch{Points: points, Double: true}.Run(func(opt sim.Option) error {
		w := sim.New(opt)
		defer w.Close()
		frozen := false
		_ = w.Actor("h1").Call(context.Background(), "job", func(ctx context.Context) error {
			if err := sim.At(ctx, "job/freeze"); err != nil {
				return err
			}
			frozen = true
			if err := sim.At(ctx, "job/copy"); err != nil {
				return err
			}
			frozen = false
			return nil
		})
		if frozen {
			return errors.New("left frozen")
		}
		return nil
	})
	fmt.Println(report.Runs, "runs")
	fmt.Println(err)
	// Output:
	// 3 runs
	// left frozen
	// fault: job/copy on=h1 err=0x80070070
}

func ExampleStuckError() {
	w := sim.New()
	defer w.Close()
	err := w.Actor("h1").Call(context.Background(), "backup", func(ctx context.Context) error {
		return (&sim.Signal{Name: "thaw"}).Wait(ctx)
	})
	fmt.Println(err)
	// Output:
	// sim: stuck at 0s: deadlock
	// 	h1:backup waits for signal thaw
}

func ExampleProtect() {
	w := sim.New()
	defer w.Close()
	err := w.Actor("h1").Call(context.Background(), "ask", func(ctx context.Context) error {
		return sim.Protect(ctx, func() error { panic("a plug-in's mistake") })
	})
	fmt.Println(err)
	fmt.Print(w.Trace())
	// Output:
	// sim: h1:ask panicked: a plug-in's mistake
	//           0s  h1                           panic process=ask value="a plug-in's mistake"
}
