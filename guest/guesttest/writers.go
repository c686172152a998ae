package guesttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// writerCases are about the machine's own writers. They are not tried where there
// are none.
var writerCases = []requestorCase{
	{"the machine's writers hear a whole backup inside the call of Snapshot (R26, R27)", wholeBackup},
	{"writers learn whether the backup is full or a copy", kindOfBackup},
	{"writers may recover their files on the copies (R36)", recoverable},
	{"no writer hears of Release (R35)", quietRelease},
	{"a writer that refuses makes Snapshot fail with its code", writerFails},
}

// withWriters is with, for machines that have writers.
func (k *kit) withWriters(fn func(ctx context.Context, b *bench) error) error {
	return k.with(func(ctx context.Context, b *bench) error {
		if b.witness == nil {
			return fmt.Errorf("%w: the system has no writers", errSkipped)
		}
		return fn(ctx, b)
	})
}

func wholeBackup(k *kit) error {
	return k.withWriters(func(ctx context.Context, b *bench) error {
		if _, err := b.snapshot(ctx); err != nil {
			return err
		}
		heard := slices.Clone(b.witness.heard)
		if err := sim.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		if !slices.Equal(heard, wholeSequence) {
			return fmt.Errorf("when Snapshot returned, a writer had heard %s", orNothing(heard))
		}
		if late := b.witness.heard[len(heard):]; len(late) > 0 {
			return fmt.Errorf("after Snapshot had returned, a writer heard %s", orNothing(late))
		}
		return nil
	})
}

func orNothing(heard []string) string {
	if len(heard) == 0 {
		return "nothing"
	}
	return strings.Join(heard, ", ")
}

func kindOfBackup(k *kit) error {
	return k.withWriters(func(ctx context.Context, b *bench) error {
		for _, o := range []guest.SnapshotOptions{{}, {Copy: true}} {
			want := vss.BackupFull
			if o.Copy {
				want = vss.BackupCopy
			}
			s, err := b.Snapshot(ctx, o)
			if err != nil {
				return during("Snapshot", err)
			}
			if b.witness.kind != want {
				return fmt.Errorf("a Snapshot with Copy %t was a backup of type %v to a writer", o.Copy, b.witness.kind)
			}
			if err := during("Release", b.Release(ctx, s)); err != nil {
				return err
			}
		}
		return nil
	})
}

func recoverable(k *kit) error {
	return k.withWriters(func(ctx context.Context, b *bench) error {
		if _, err := b.snapshot(ctx); err != nil {
			return err
		}
		if a := b.witness.context.Attributes(); a&vss.AttrNoAutoRecovery != 0 {
			return fmt.Errorf("a Snapshot works with the attributes %v", a)
		}
		return nil
	})
}

func quietRelease(k *kit) error {
	return k.withWriters(func(ctx context.Context, b *bench) error {
		s, err := b.snapshot(ctx)
		if err != nil {
			return err
		}
		b.witness.heard = nil
		if err := during("Release", b.Release(ctx, s)); err != nil {
			return err
		}
		if err := sim.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		if len(b.witness.heard) > 0 {
			return fmt.Errorf("at Release a writer heard %s", orNothing(b.witness.heard))
		}
		return nil
	})
}

func writerFails(k *kit) error {
	return k.withWriters(func(ctx context.Context, b *bench) error {
		b.witness.fail = vss.ErrWriterErrorRetryable
		_, err := b.Snapshot(ctx, guest.SnapshotOptions{})
		if err := wants("Snapshot", err, guest.ErrWriter); err != nil {
			return err
		}
		if !errors.Is(err, vss.ErrWriterErrorRetryable) {
			return fmt.Errorf("a writer failed with %v, Snapshot with %w", vss.ErrWriterErrorRetryable, err)
		}
		return b.settled(ctx, "a writer's refusal")
	})
}
