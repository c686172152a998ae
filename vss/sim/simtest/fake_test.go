package simtest_test

import (
	"flag"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// A fakeTB collects what a test would report. Run ends it as the testing package
// does.
type fakeTB struct {
	testing.TB
	mu      sync.Mutex
	failed  bool
	logs    []string
	cleanup []func()
}

func (f *fakeTB) log(failed bool, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = f.failed || failed
	f.logs = append(f.logs, text)
}

func (f *fakeTB) Helper()                      {}
func (f *fakeTB) Name() string                 { return "Fake" }
func (f *fakeTB) Cleanup(fn func())            { f.cleanup = append(f.cleanup, fn) }
func (f *fakeTB) Log(args ...any)              { f.log(false, fmt.Sprintln(args...)) }
func (f *fakeTB) Logf(s string, args ...any)   { f.log(false, fmt.Sprintf(s, args...)) }
func (f *fakeTB) Error(args ...any)            { f.log(true, fmt.Sprintln(args...)) }
func (f *fakeTB) Errorf(s string, args ...any) { f.log(true, fmt.Sprintf(s, args...)) }
func (f *fakeTB) Fail()                        { f.log(true, "failed") }
func (f *fakeTB) FailNow()                     { f.log(true, "failed"); runtime.Goexit() }
func (f *fakeTB) Fatal(args ...any)            { f.log(true, fmt.Sprintln(args...)); runtime.Goexit() }
func (f *fakeTB) Fatalf(s string, args ...any) {
	f.log(true, fmt.Sprintf(s, args...))
	runtime.Goexit()
}

func (f *fakeTB) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// run runs a test to its end and returns what it said.
func (f *fakeTB) run(test func(t *fakeTB)) (said string) {
	done := make(chan bool)
	go func() {
		defer close(done)
		defer func() {
			for i := len(f.cleanup); i > 0; i-- {
				f.cleanup[i-1]()
			}
		}()
		test(f)
	}()
	<-done
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.logs, "\n")
}

// rapidFlags sets flags of rapid for one test.
func rapidFlags(t *testing.T, flags map[string]string) {
	for name, value := range flags {
		f := flag.Lookup("rapid." + name)
		old := f.Value.String()
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(old) })
	}
}
