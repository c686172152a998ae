package guesttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// faultCases let everything fail that can fail.
var faultCases = []requestorCase{
	{"whatever fails inside the machine, Snapshot says so or succeeds, and leaves nothing", everyFault},
}

// everyFault takes a snapshot with every single fault of the machine, at most two
// strikes of each point.
func everyFault(k *kit) error {
	points := slices.DeleteFunc(append(guest.FaultPoints(), k.Faults...), func(p sim.FaultPoint) bool {
		return p.Point == guest.PointBoot
	})
	search := sim.FaultSearch{Points: points, Nth: 2}
	report, err := search.Run(func(opt sim.Option) error {
		return k.with(func(ctx context.Context, b *bench) error { return b.withFault(ctx) }, opt, sim.Limits(patience, 0))
	})
	if err == nil && len(report.Single) == 0 {
		return fmt.Errorf("%w: nothing can fail", errSkipped)
	}
	return err
}

// withFault takes a snapshot, releases it, and heals the machine.
func (b *bench) withFault(ctx context.Context) error {
	limited, cancel := sim.WithTimeout(ctx, time.Hour)
	defer cancel()
	s, err := b.Snapshot(limited, guest.SnapshotOptions{Timeout: 20 * time.Minute})
	call := "a Snapshot that failed"
	if err == nil {
		call = "Snapshot and Release"
		if s == nil {
			return errors.New("a Snapshot returned neither a snapshot nor an error")
		}
		for _, d := range b.seen() {
			if _, err := b.image(s, d); err != nil {
				return fmt.Errorf("a Snapshot succeeded with a fault, but %w", err)
			}
		}
		if err := b.Release(limited, s); err != nil {
			b.world.Heal()
			if err := b.Release(ctx, s); err != nil {
				return fmt.Errorf("a Release after one that failed: %w", err)
			}
		}
	}
	b.world.Heal()
	if b.machine.Ended() {
		if err := b.start(ctx); err != nil {
			return err
		}
	}
	if err := sim.Sleep(ctx, 10*time.Minute); err != nil {
		return err
	}
	return b.settled(ctx, call)
}
