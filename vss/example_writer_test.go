package vss_test

import (
	"context"
	"fmt"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A journal is a ledger that also keeps a log, which it cuts when a backup is safe.
type journal struct {
	*ledger
	log []string
}

func (j *journal) PrepareBackup(_ context.Context, ev *vss.PrepareBackupEvent) error {
	for _, c := range ev.Components().All() {
		fmt.Println("a", ev.BackupType(), "of", c.Key())
	}
	return nil
}

func (j *journal) BackupComplete(_ context.Context, ev *vss.BackupCompleteEvent) error {
	for _, c := range ev.Components().All() {
		if c.BackupSucceeded() && ev.BackupType() != vss.BackupCopy {
			j.log = nil
		}
	}
	return nil
}

// A writer has the five handlers of the interface, and those of other events that
// it wants to hear of.
func ExampleWriter() {
	w := sim.New()
	defer w.Close()
	host := w.Actor("h1")
	s := vss.NewService(host.Child("vss"), vss.ServiceConfig{Machine: "H1"})
	d := newDisk("D:")
	if err := s.AddVolume(d); err != nil {
		panic(err)
	}
	j := &journal{ledger: &ledger{d}, log: []string{"opened", "paid"}}
	sub, err := s.Subscribe(j, vss.WriterConfig{Actor: host.Child("journal"), ClassID: ledgerClass, Name: "Journal"})
	if err != nil {
		panic(err)
	}

	_, err = backUp(context.Background(), s, guid.GUID{})
	fmt.Println(err, len(j.log), "entries in the log")
	fmt.Println(sub.Name(), sub.Status().State.Display())
	// Output:
	// a VSS_BT_FULL of accounts
	// freeze
	// thaw
	// <nil> 0 entries in the log
	// Journal [1] Stable
}
