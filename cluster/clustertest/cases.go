package clustertest

import (
	"context"
	"slices"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

var hostCases = []hostCase{
	{"actor", nil, checkActor},
	{"unknown machine", nil, checkUnknown},
	{"register", nil, checkRegister},
	{"start", nil, checkStart},
	{"stop", nil, checkStop},
	{"saved machine", nil, checkSaved},
	{"unregister", nil, checkUnregister},
	{"hand over", nil, checkHandOver},
	{"mount", nil, checkMount},
	{"folder", needsFolder, checkFolder},
	{"death", nil, checkDeath},
	{"unmount under a machine", nil, checkFence},
	{"shadow copies", needsShadow, checkShadow},
	{"notices", needsNotifier, checkNotices},
	{"heartbeat", needsHeart, checkHeartbeat},
	{"migration", needsMigrator, checkMigration},
	{"migration refused", needsMigrator, checkMigrationRefused},
}

var nobody = [16]byte{0xDE, 0xAD}

func checkActor(_ context.Context, k *keeper) {
	first := k.Host.Actor()
	again := k.Host.Actor()
	k.demand(first != nil && first == again, "Actor: it is the same whenever it is asked for")
	k.demand(k.Host.Actor() != k.Other.Actor(), "Actor: two hosts have two")
	k.demand(k.Host.Actor() != nil && !k.Host.Actor().Dead(), "Actor: it lives")
}

func checkUnknown(ctx context.Context, k *keeper) {
	_, err := k.Host.State(ctx, nobody)
	k.refused(err, hyperv.ErrNotFound, "State: a machine that is not registered is not found")
	k.refused(k.Host.Start(ctx, nobody), hyperv.ErrNotFound, "Start: a machine that is not registered is not found")
	k.refused(k.Host.Stop(ctx, nobody, cluster.Save), hyperv.ErrNotFound, "Stop: a machine that is not registered is not found")
	k.works(k.Host.Unregister(ctx, nobody), "Unregister: a machine that is not registered is no error")
}

func checkRegister(ctx context.Context, k *keeper) {
	id, path, ok := k.machine(ctx)
	if !ok {
		return
	}
	k.works(k.Host.Unregister(ctx, id), "Unregister: a machine that is off can be let go")
	_, err := k.Host.State(ctx, id)
	k.refused(err, hyperv.ErrNotFound, "Unregister: the machine is not registered any more")
	got, err := k.Host.Register(ctx, path)
	k.works(err, "Register: a configuration file can be registered")
	k.demand(got == id, "Register: it returns the identity in the file")
	k.in(ctx, k.Host, id, hyperv.StateOff, "Register: a machine without a saved state is off")
	k.works(k.Host.Start(ctx, id), "Start: it starts")
	got, err = k.Host.Register(ctx, path)
	k.works(err, "Register: a machine that is registered from the file already is no error")
	k.demand(got == id, "Register: it returns the identity the second time too")
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Register: a machine that is registered already stays as it is")
	_, err = k.Host.Register(ctx, path+".missing")
	k.refused(err, nil, "Register: a path without a file is an error")
}

func checkStart(ctx context.Context, k *keeper) {
	id, _, ok := k.running(ctx)
	if !ok {
		return
	}
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Start: the machine runs when the call is over")
	k.works(k.Host.Start(ctx, id), "Start: a machine that runs is no error")
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Start: a machine that runs stays as it is")
	k.works(k.Host.Stop(ctx, id, cluster.TurnOff), "Stop: a running machine can be turned off")
	both := []*sim.Proc{
		sim.Go(ctx, "start", func(ctx context.Context) error { return k.Host.Start(ctx, id) }),
		sim.Go(ctx, "start", func(ctx context.Context) error { return k.Host.Start(ctx, id) }),
	}
	for _, p := range both {
		k.works(p.Wait(ctx), "Start: it does no harm to start a machine from two sides at once")
	}
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Start: a machine started twice at once runs")
	k.silent("State", func() { _, _ = k.Host.State(ctx, id) })
}

func checkStop(ctx context.Context, k *keeper) {
	id, _, ok := k.machine(ctx)
	if !ok {
		return
	}
	for _, action := range []cluster.OfflineAction{cluster.TurnOff, cluster.Save, cluster.Shutdown, cluster.ShutdownForce} {
		k.works(k.Host.Stop(ctx, id, action), "Stop: a machine that is off is no error, %v", action)
		k.in(ctx, k.Host, id, hyperv.StateOff, "Stop: a machine that is off stays off")
	}
	for _, c := range []struct {
		action cluster.OfflineAction
		want   hyperv.State
	}{{cluster.TurnOff, hyperv.StateOff}, {cluster.ShutdownForce, hyperv.StateOff}, {cluster.Save, hyperv.StateSaved}} {
		action := c.action
		k.works(k.Host.Start(ctx, id), "Start: it starts")
		k.works(k.Host.Stop(ctx, id, action), "Stop: a running machine can be stopped, %v", action)
		k.in(ctx, k.Host, id, c.want, "Stop: the machine is stopped in the way of "+action.String()+" when the call is over")
	}
	k.works(k.Host.Start(ctx, id), "Start: it starts")
	if k.Host.Stop(ctx, id, cluster.Shutdown) == nil { // a guest may refuse
		k.in(ctx, k.Host, id, hyperv.StateOff, "Stop: a machine that was shut down is off")
	}
}

func checkSaved(ctx context.Context, k *keeper) {
	id, _, ok := k.running(ctx)
	if !ok {
		return
	}
	k.works(k.Host.Stop(ctx, id, cluster.Save), "Stop: a running machine can be saved")
	for _, action := range []cluster.OfflineAction{cluster.TurnOff, cluster.Save, cluster.Shutdown, cluster.ShutdownForce} {
		k.works(k.Host.Stop(ctx, id, action), "Stop: a saved machine is no error, %v", action)
		k.in(ctx, k.Host, id, hyperv.StateSaved, "Stop: a saved state is never discarded, "+action.String())
	}
	k.works(k.Host.Start(ctx, id), "Start: a saved machine can be taken up")
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Start: a saved machine runs when the call is over")
}

func checkUnregister(ctx context.Context, k *keeper) {
	id, path, ok := k.running(ctx)
	if !ok {
		return
	}
	k.refused(k.Host.Unregister(ctx, id), hyperv.ErrInvalidState, "Unregister: a machine that runs is refused for its state")
	k.in(ctx, k.Host, id, hyperv.StateRunning, "Unregister: a machine that was refused runs on")
	k.works(k.Host.Stop(ctx, id, cluster.Save), "Stop: a running machine can be saved")
	k.works(k.Host.Unregister(ctx, id), "Unregister: a saved machine can be let go")
	_, err := k.Host.Register(ctx, path)
	k.works(err, "Register: a machine that was let go can be registered again")
	k.in(ctx, k.Host, id, hyperv.StateSaved, "Unregister: it leaves the saved state")
}

func checkHandOver(ctx context.Context, k *keeper) {
	id, path, ok := k.machine(ctx)
	if !ok {
		return
	}
	for _, action := range []cluster.OfflineAction{cluster.Save, cluster.TurnOff} {
		from, to := k.Host, k.Other
		if action == cluster.TurnOff {
			from, to = to, from
		}
		k.works(from.Start(ctx, id), "Start: it starts")
		k.works(from.Stop(ctx, id, action), "Stop: it stops")
		before, _ := from.State(ctx, id)
		k.works(from.Unregister(ctx, id), "Unregister: it can be let go")
		k.works(to.Mount(hyperv.Mount{Volume: k.Volume}), "Mount: the other host can have the volume")
		got, err := to.Register(ctx, path)
		k.works(err, "Register: the other host finds the machine")
		k.demand(got == id, "Register: it is the same machine")
		k.in(ctx, to, id, before, "Register: it is in the state in which it was let go")
		k.works(to.Start(ctx, id), "Start: it starts on the other host")
		k.in(ctx, to, id, hyperv.StateRunning, "Start: it runs on the other host")
		_, err = from.State(ctx, id)
		k.refused(err, hyperv.ErrNotFound, "Unregister: the first host does not have it any more")
	}
}

func checkMount(ctx context.Context, k *keeper) {
	m := hyperv.Mount{Volume: k.Volume}
	k.demand(!k.Host.Mounted(k.Volume), "Mounted: a volume that was not mounted is not")
	k.demand(len(k.Host.Unmount(k.Volume)) == 0, "Unmount: without the volume it does nothing")
	id, path, ok := k.machine(ctx)
	if !ok {
		return
	}
	k.demand(k.Host.Mounted(k.Volume) && !k.Other.Mounted(k.Volume), "Mount: the host has the volume, and no other has")
	k.works(k.Host.Mount(m), "Mount: a volume that it has already is no error")
	k.works(k.Host.Unregister(ctx, id), "Unregister: it can be let go")
	k.silent("Unmount", func() {
		k.demand(len(k.Host.Unmount(k.Volume)) == 0, "Unmount: it tells of no shadow copy where none was taken")
	})
	k.demand(!k.Host.Mounted(k.Volume), "Unmount: the host does not have the volume any more")
	_, err := k.Host.Register(ctx, path)
	k.refused(err, nil, "Unmount: the files on the volume cannot be reached any more")
	k.silent("Mount", func() { k.works(k.Host.Mount(m), "Mount: a volume can come back") })
	_, err = k.Host.Register(ctx, path)
	k.works(err, "Mount: the files can be reached again")
}

func needsFolder(b *Bench) string {
	if b.MachineIn == nil {
		return "folders for volumes"
	}
	return ""
}

func checkFolder(ctx context.Context, k *keeper) {
	m := hyperv.Mount{Volume: k.Volume, Folder: `C:\ClusterStorage\Volume1`}
	if !k.works(k.Host.Mount(m), "Mount: a volume can be mounted in a folder") {
		return
	}
	k.demand(k.Host.Mounted(k.Volume), "Mount: the host has the volume in the folder")
	id, path, err := k.MachineIn(ctx, m.Folder, "db")
	if !k.works(err, "Mount: a machine can be made below the folder") {
		return
	}
	k.works(k.Host.Start(ctx, id), "Start: a machine below a folder starts")
	k.Host.Unmount(k.Volume)
	_ = sim.Yield(ctx)
	s, err := k.Host.State(ctx, id)
	k.demand(err != nil || s != hyperv.StateRunning, "Unmount: a machine that runs below the folder ends at once")
	_, err = k.Other.Register(ctx, path)
	k.refused(err, nil, "Register: without the volume there is nothing below the folder")
	k.works(k.Other.Mount(m), "Mount: the volume can be in the same folder of the other host")
	got, err := k.Other.Register(ctx, path)
	k.works(err, "Mount: the machine has the same path on the other host")
	k.demand(got == id, "Register: it is the same machine below the folder")
	k.works(k.Other.Start(ctx, id), "Start: nothing of the machine below the folder is held")
}

func checkDeath(ctx context.Context, k *keeper) {
	id, path, ok := k.running(ctx)
	if !ok {
		return
	}
	k.Host.Actor().Kill()
	_ = sim.Yield(ctx)
	k.Host.Unmount(k.Volume)
	k.demand(!k.Host.Mounted(k.Volume), "Unmount: it works on a host that is dead")
	k.takeOver(ctx, id, path, "from a host that is dead")
}

func checkFence(ctx context.Context, k *keeper) {
	id, path, ok := k.running(ctx)
	if !ok {
		return
	}
	k.Host.Unmount(k.Volume)
	_ = sim.Yield(ctx)
	s, err := k.Host.State(ctx, id)
	k.demand(err != nil || s != hyperv.StateRunning, "Unmount: a machine that runs from the volume ends at once")
	k.takeOver(ctx, id, path, "from a host that has lost the volume")
}

// takeOver has the other host run a machine that nobody stopped.
func (k *keeper) takeOver(ctx context.Context, id [16]byte, path, from string) {
	k.works(k.Other.Mount(hyperv.Mount{Volume: k.Volume}), "Mount: the volume can be taken over %s", from)
	_, err := k.Other.Register(ctx, path)
	k.works(err, "Register: a machine can be taken over %s", from)
	k.works(k.Other.Start(ctx, id), "Start: nothing of the machine is held %s", from)
	k.in(ctx, k.Other, id, hyperv.StateRunning, "Start: a machine runs that was taken over "+from)
}

func needsShadow(b *Bench) string {
	if b.Shadow == nil {
		return "shadow copies"
	}
	return ""
}

func checkShadow(ctx context.Context, k *keeper) {
	if _, _, ok := k.machine(ctx); !ok {
		return
	}
	id, err := k.Shadow(ctx)
	if !k.works(err, "a shadow copy can be taken") {
		return
	}
	k.demand(slices.Contains(k.Host.Unmount(k.Volume), id), "Unmount: it tells of the shadow copies that are left")
	denied := hyperv.Mount{Volume: k.Volume, AllowShadow: func() error { return cluster.ErrBackupInProgress }}
	k.works(k.Host.Mount(denied), "Mount: a volume can come back")
	_, err = k.Shadow(ctx)
	k.refused(err, cluster.ErrBackupInProgress, "Mount: no shadow copy is taken that is not allowed")
}
