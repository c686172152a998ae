package hyperv

import (
	"context"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// What somebody has to do about a relation that a restore has ended.
const resynchronize = "remove the relation at the partner, or set it up again and resynchronize"

// breakReplication tells that a machine was in a replication relation when it was
// deleted to be restored. Nothing keeps a restore from that, as the guides of backup
// products warn: the partner goes on to wait for changes to a machine that is no more.
func breakReplication(ctx context.Context, m Machine) {
	if m.Configuration.ReplicationPartner != "" {
		noteReplication(ctx, "hyperv/replication-broken", m)
	}
}

// noteReplication tells the machine, the partner, and what is left to do. A machine
// that is restored is in no relation, whatever the files say that it is made from.
func noteReplication(ctx context.Context, kind string, m Machine) {
	sim.Emit(ctx, kind, "", sim.S("vm", m.Name()), sim.S("partner", m.Configuration.ReplicationPartner), sim.S("todo", resynchronize))
}
