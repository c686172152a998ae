package clustertest

import (
	"context"
	"fmt"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func needsNotifier(b *Bench) string {
	if _, ok := b.Host.(cluster.Notifier); !ok {
		return "notices"
	}
	return ""
}

func checkNotices(ctx context.Context, k *keeper) {
	id, path, ok := k.machine(ctx)
	if !ok {
		return
	}
	last, told := hyperv.StateOff, 0
	cancel := k.Host.(cluster.Notifier).OnStateChange(func(c hyperv.StateChange) {
		if c.ID != id {
			return
		}
		told++
		k.demand(c.From == last, "OnStateChange: a change begins where the last one ended: from %v, not %v", c.From, last)
		last = c.To
		now, _ := k.Host.State(ctx, id)
		k.demand(now == c.To, "OnStateChange: it tells as it happens: %v, while the machine is %v", c.To, now)
	})
	step := func(want hyperv.State, what string, call func() error) {
		before := told
		k.works(call(), "%s works", what)
		k.demand(told > before && last == want, "OnStateChange: %s ends with the state %v being told, not %v", what, want, last)
	}
	step(hyperv.StateRunning, "Start", func() error { return k.Host.Start(ctx, id) })
	step(hyperv.StateSaved, "Stop", func() error { return k.Host.Stop(ctx, id, cluster.Save) })
	step(0, "Unregister", func() error { return k.Host.Unregister(ctx, id) })
	step(hyperv.StateSaved, "Register", func() error {
		_, err := k.Host.Register(ctx, path)
		return err
	})
	cancel()
	before := told
	k.works(k.Host.Start(ctx, id), "Start works")
	k.demand(told == before, "OnStateChange: when the order is taken back it tells no more")
}

func needsHeart(b *Bench) string {
	if _, ok := b.Host.(cluster.Heart); !ok {
		return "heartbeat"
	}
	return ""
}

func checkHeartbeat(ctx context.Context, k *keeper) {
	id, _, ok := k.running(ctx)
	if !ok {
		return
	}
	k.demand(k.Host.(cluster.Heart).Heartbeat(ctx, id), "Heartbeat: a guest that runs has one")
	k.silent("Heartbeat", func() { k.Host.(cluster.Heart).Heartbeat(ctx, id) })
}

func needsMigrator(b *Bench) string {
	if _, ok := b.Host.(cluster.Migrator); !ok {
		return "migration"
	}
	return ""
}

func checkMigration(ctx context.Context, k *keeper) {
	id, _, ok := k.running(ctx)
	if !ok {
		return
	}
	m := k.Host.(cluster.Migrator)
	k.refused(m.Migrate(ctx, nobody, k.Other), hyperv.ErrNotFound, "Migrate: a machine that is not registered is not found")
	k.refused(m.Migrate(ctx, id, k.Other), nil, "Migrate: a host without the volume cannot have the machine")
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Migrate: a machine that could not go runs on")
	k.works(k.Other.Mount(hyperv.Mount{Volume: k.Volume}), "Mount: the other host can have the volume")
	k.works(m.Migrate(ctx, id, k.Other), "Migrate: a running machine can go to the other host")
	k.in(ctx, k.Other, id, hyperv.StateRunning, "Migrate: the machine runs there")
	_, err := k.Host.State(ctx, id)
	k.refused(err, hyperv.ErrNotFound, "Migrate: the machine is not here any more")
}

func checkMigrationRefused(ctx context.Context, k *keeper) {
	id, _, ok := k.machine(ctx)
	if !ok {
		return
	}
	m := k.Host.(cluster.Migrator)
	k.works(k.Other.Mount(hyperv.Mount{Volume: k.Volume}), "Mount: the other host can have the volume")
	k.refused(m.Migrate(ctx, id, k.Other), nil, "Migrate: a machine that does not run is refused")
	k.in(ctx, k.Host, id, hyperv.StateOff, "Migrate: a machine that was refused stays as it is")
	_, err := k.Other.State(ctx, id)
	k.refused(err, hyperv.ErrNotFound, "Migrate: a machine that was refused is not there")
	k.works(k.Host.Start(ctx, id), "Start: it starts")
	k.refused(m.Migrate(ctx, id, stranger{k.Other.Actor()}), nil, "Migrate: a host of another kind is refused")
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Migrate: the machine runs on here")
}

// A stranger is a host of a kind that nobody knows.
type stranger struct{ actor *sim.Actor }

var errStranger = fmt.Errorf("the host is of another kind: %w", cluster.ErrNotSupported)

func (s stranger) Actor() *sim.Actor { return s.actor }

func (stranger) State(context.Context, [16]byte) (hyperv.State, error) { return 0, hyperv.ErrNotFound }

func (stranger) Register(context.Context, string) ([16]byte, error) { return [16]byte{}, errStranger }

func (stranger) Unregister(context.Context, [16]byte) error { return errStranger }

func (stranger) Start(context.Context, [16]byte) error { return hyperv.ErrNotFound }

func (stranger) Stop(context.Context, [16]byte, cluster.OfflineAction) error {
	return hyperv.ErrNotFound
}

func (stranger) Mount(hyperv.Mount) error { return errStranger }

func (stranger) Unmount(*hyperv.SharedVolume) [][16]byte { return nil }

func (stranger) Mounted(*hyperv.SharedVolume) bool { return false }
