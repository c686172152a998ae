package guest

import (
	"context"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Detection says how long the backup service of a Windows takes to look at the
// volumes before it makes shadow copies of them, whatever disks they are on. In real
// guests with many volumes it took too long (article 3063283); no figures are
// published. The zero value takes no time.
type Detection struct {
	PerVolume time.Duration
	// Limit is how long all volumes together may take; zero is without end. A backup
	// that needs more fails with [ErrDetection].
	Limit time.Duration
}

// detect lets the time pass that the volumes take. Too late it names the one that it
// is at.
func (d Detection) detect(ctx context.Context, drives []*Drive) error {
	if d.PerVolume <= 0 {
		return nil
	}
	for i, drive := range drives {
		if spent := d.PerVolume * time.Duration(i); d.Limit > 0 && d.Limit-spent < d.PerVolume {
			if err := sim.Sleep(ctx, max(d.Limit-spent, 0)); err != nil {
				return err
			}
			return drive.fail("Detect", fmt.Errorf("%w: %d of %d within %v", ErrDetection, i, len(drives), d.Limit))
		}
		if err := sim.Sleep(ctx, d.PerVolume); err != nil {
			return err
		}
	}
	return nil
}
