package cluster

import (
	"context"
	"time"

	"github.com/shadowsim/shadowsim/vss/sim"
)

// A Reaction is what the cluster does about a resource that has failed.
type Reaction uint8

const (
	StayFailed  Reaction = iota + 1 // and, if it may be restarted, try again after RetryPeriodOnFailure
	RestartHere                     // on the same node
	FailGroup                       // the group fails over, if it may
)

func (r Reaction) String() string {
	return [...]string{"", "stay failed", "restart", "fail over"}[r]
}

// React is the first half of the failure algorithm: what to do about a resource
// that was restarted so often on this node within its RestartPeriod.
func (p ResourceProperties) React(restarts int) Reaction {
	switch {
	case p.RestartAction == DontRestart:
		return StayFailed
	case uint64(restarts) < uint64(p.RestartThreshold):
		return RestartHere
	case p.RestartAction == RestartNoNotify:
		return StayFailed
	}
	return FailGroup
}

// watch starts the monitor of a resource that has just come online. It polls
// until the resource is no longer online, or is found not to be alive.
func (r *Resource) watch() {
	r.run++
	run, n := r.run, r.group.owner
	if r.group.cluster.config.Detection == Off {
		return
	}
	n.actor.Background("monitor of "+r.name, func(ctx context.Context) error {
		now := sim.Now(ctx)
		looks, is := r.nextPolls(now)
		for {
			next := min(looks, is)
			if err := sim.Sleep(ctx, next-sim.Now(ctx)); err != nil || r.run != run {
				return err
			}
			var err error
			if looks == next {
				looks, _ = r.nextPolls(next)
				if r.kind.LooksAlive(ctx, n) != nil {
					is = next // at once
				}
			}
			if is == next {
				_, is = r.nextPolls(next)
				err = r.kind.IsAlive(ctx, n)
			}
			if err != nil && r.run == run && !sim.Dead(ctx) {
				r.report(run, err)
				return nil
			}
		}
	})
}

// nextPolls is when polls are due after one that was now.
func (r *Resource) nextPolls(now time.Duration) (looks, is time.Duration) {
	looks, is = pollsOf(r.kind)
	if own := r.props.LooksAlivePollInterval; own < OfType {
		looks = own
	}
	if own := r.props.IsAlivePollInterval; own < OfType {
		is = own
	}
	return now + looks, now + is
}

// pollsOf is how often resources of a type are polled that do not say it.
func pollsOf(t ResourceType) (looks, is time.Duration) {
	looks, is = defaultLooksAlive, defaultIsAlive
	p, ok := t.(Poller)
	if !ok {
		return looks, is
	}
	if l, i := p.PollIntervals(); l > 0 && i > 0 {
		looks, is = l, i
	}
	return looks, is
}

// report hands a failure over to the cluster service of the owner.
func (r *Resource) report(run int, cause error) {
	g, n := r.group, r.group.owner
	n.actor.Go("failure of "+r.name, func(ctx context.Context) error {
		if err := g.lock(ctx); err != nil {
			return err
		}
		defer g.turn.Unlock()
		if r.run != run || r.state != ResourceOnline || g.owner != n {
			return nil // it is out of date
		}
		if r.kind.IsAlive(ctx, n) == nil {
			r.watch() // it was a moment ago
			return nil
		}
		r.fail(ctx, cause)
		if sim.Dead(ctx) {
			return sim.ErrDead
		}
		return r.react(ctx, cause)
	})
}

// react is the failure algorithm for a resource that is in the state Failed. The
// caller has the group locked.
func (r *Resource) react(ctx context.Context, cause error) error {
	for r.state == ResourceFailed {
		if sim.Dead(ctx) {
			return sim.ErrDead
		}
		r.restarts = recent(r.restarts, sim.Now(ctx), r.props.RestartPeriod)
		switch r.props.React(len(r.restarts)) {
		case RestartHere:
			failed, err := r.restart(ctx)
			if err != nil && failed != nil {
				r, cause = failed, err
			}
		case FailGroup:
			return r.group.failOver(ctx, r, cause)
		default:
			r.giveUp(cause)
			return cause
		}
	}
	return nil
}

// restart takes a failed resource's dependents down, and brings all of it online
// again on the same node.
func (r *Resource) restart(ctx context.Context) (failed *Resource, err error) {
	r.restarts = append(r.restarts, sim.Now(ctx))
	r.emit("cluster/restart", "", sim.N("count", len(r.restarts)), sim.N("threshold", int64(r.props.RestartThreshold)))
	above := r.above()
	for _, d := range r.dependents() {
		if err := d.takeOffline(ctx); err != nil {
			return nil, err
		}
	}
	if failed, err = r.bringOnline(ctx); err != nil {
		return failed, err
	}
	for _, o := range above {
		if o.want {
			if failed, err = o.bringOnline(ctx); err != nil {
				return failed, err
			}
		}
	}
	return nil, nil
}

// failOver moves the group to the next node because a resource has failed, if the
// threshold leaves room for it. The caller has the group locked.
func (g *Group) failOver(ctx context.Context, r *Resource, cause error) error {
	if !g.mayFailOver() {
		g.emit("cluster/event", "", sim.N("id", eventFailoverLimit), sim.N("failovers", len(g.failovers)))
		r.giveUp(cause)
		return cause
	}
	to := g.choose(ctx, Placement{Current: g.owner.id}, false)
	if to == nil {
		r.giveUp(cause)
		return cause
	}
	rule := g.behindRule()
	g.count(to, rule)
	if err := g.takeDown(ctx); err != nil {
		return err
	}
	g.own(to, rule, r.name+" has failed")
	g.revive(to)
	return cause
}

// giveUp leaves the resource failed until an administrator, or the retry, brings
// it online. There is no retry of one that is not to be restarted.
func (r *Resource) giveUp(cause error) {
	g := r.group
	g.emit("cluster/event", "", sim.N("id", eventGroupFailed), sim.S("resource", r.name), sim.S("because", cause.Error()))
	if r.props.RestartAction == DontRestart || r.props.RetryPeriodOnFailure >= Never || r.retrying {
		return
	}
	r.retrying = true
	run, n := r.run, g.owner
	n.actor.Background("retry of "+r.name, func(ctx context.Context) error {
		err := r.waitForRetry(ctx)
		if err != nil || r.run != run || g.owner != n {
			return err
		}
		if err := g.lock(ctx); err != nil {
			return err
		}
		defer g.turn.Unlock()
		if r.run != run || g.owner != n {
			return nil
		}
		r.emit("cluster/retry", "")
		if failed, err := r.bringOnline(ctx); err != nil {
			return failed.react(ctx, err)
		}
		return g.bringUpRest(ctx)
	})
}

func (r *Resource) waitForRetry(ctx context.Context) error {
	defer func() { r.retrying = false }()
	return sim.Sleep(ctx, r.props.RetryPeriodOnFailure)
}

// behindRule is the requirement that makes the group fail over if something was
// done to it behind the cluster's back.
func (g *Group) behindRule() string {
	for _, r := range g.resources {
		if r.behind {
			return "R63"
		}
	}
	return ""
}
