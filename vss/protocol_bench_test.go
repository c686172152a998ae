package vss_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A quiet writer does nothing at all.
type quiet struct{}

func (*quiet) Identify(context.Context, *vss.IdentifyEvent) error               { return nil }
func (*quiet) PrepareSnapshot(context.Context, *vss.PrepareSnapshotEvent) error { return nil }
func (*quiet) Freeze(context.Context, *vss.FreezeEvent) error                   { return nil }
func (*quiet) Thaw(context.Context, *vss.ThawEvent) error                       { return nil }
func (*quiet) Abort(context.Context, *vss.AbortEvent) error                     { return nil }

func quietService(tb testing.TB, host *sim.Actor, writers int) *vss.Service {
	s := vss.NewService(host.Child("vss"), vss.ServiceConfig{})
	err := s.AddVolume(newDisk("C:"))
	for i := range writers {
		_, e := s.Subscribe(&quiet{}, vss.WriterConfig{Actor: host.Child("app"), ClassID: guid.GUID{byte(i), byte(i >> 8), 1}, Name: "app"})
		err = errors.Join(err, e)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// wholeBackup is a backup of everything, without components.
func wholeBackup(ctx context.Context, s *vss.Service) error {
	b, err := s.CreateBackupComponents(ctx)
	if err != nil {
		return err
	}
	return steps(
		func() error { return b.InitializeForBackup(ctx, nil) },
		func() error { return b.SetBackupState(ctx, vss.BackupState{Type: vss.BackupFull}) },
		func() error { return b.GatherWriterMetadata(ctx) },
		func() error { _, err := b.StartSnapshotSet(ctx); return err },
		func() error { _, err := b.AddToSnapshotSet(ctx, `C:\`, guid.GUID{}); return err },
		func() error { return b.PrepareForBackup(ctx) },
		func() error { return b.DoSnapshotSet(ctx) },
		func() error { return b.GatherWriterStatus(ctx) },
		func() error { return b.BackupComplete(ctx) },
		func() error { return b.Release(ctx) },
	)
}

// BenchmarkRound is a full backup of one machine; the cost of a writer should not
// depend on how many there are.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("writers=%d", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				w := sim.New()
				s := quietService(b, w.Actor("h1"), n)
				b.StartTimer()
				if err := w.Do(b.Context(), func(ctx context.Context) error { return wholeBackup(ctx, s) }); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				_ = w.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/writer")
		})
	}
}

// BenchmarkProtocol is the protocol alone: a host with one writer, and two guests
// with three writers each, all backed up, in a fresh world with its trace.
func BenchmarkProtocol(b *testing.B) {
	b.ReportAllocs()
	events := 0
	for b.Loop() {
		w := sim.New()
		h := w.Actor("h1")
		services := []*vss.Service{quietService(b, h, 1), quietService(b, h.Child("g1"), 3), quietService(b, h.Child("g2"), 3)}
		for _, s := range services {
			if err := w.Do(b.Context(), func(ctx context.Context) error { return wholeBackup(ctx, s) }); err != nil {
				b.Fatal(err)
			}
		}
		events = len(w.Trace())
		_ = w.Close()
	}
	b.ReportMetric(float64(events), "events")
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
