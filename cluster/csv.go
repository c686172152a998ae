package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A SharedVolume is a Cluster Shared Volume: every node has it mounted, and one of
// them, the owner, coordinates. It is in a folder below C:\ClusterStorage, the same
// on all nodes: Volume1, Volume2 and so on in the order in which they were added. A
// volume that has a drive letter keeps it instead, which no Cluster Shared Volume of
// Windows does.
type SharedVolume struct {
	cluster *Cluster
	volume  *hyperv.SharedVolume
	folder  string // `C:\ClusterStorage\Volume1`, or "" if it has a letter
	owner   *Node
	backup  *csvBackup // what the flag BackupInProgress stands for, or nil
	paused  int        // how many pauses are under way
}

// A csvBackup is a backup that a Cluster Shared Volume was prepared for.
type csvBackup struct {
	node   *Node
	before [][16]byte // shadow copies that were there
	seen   bool       // one was taken since
}

const (
	// backupStateLimit is how long a Cluster Shared Volume waits for a shadow copy
	// that it was prepared for ("ClusterPrepareSharedVolumeForBackup").
	backupStateLimit = 30 * time.Minute
	backupStatePoll  = 5 * time.Second
)

// clusterStorage is where Cluster Shared Volumes are on every node.
const clusterStorage = `C:\ClusterStorage`

// AddSharedVolume mounts a volume on all nodes; the named one coordinates.
func (c *Cluster) AddSharedVolume(v *hyperv.SharedVolume, owner string) (*SharedVolume, error) {
	n, err := c.node("AddSharedVolume", owner)
	if err != nil {
		return nil, err
	}
	for _, o := range c.volumes {
		if o.volume == v {
			return nil, &Error{Op: "AddSharedVolume", On: o.name(), Err: ErrObjectAlreadyExists}
		}
	}
	s := &SharedVolume{cluster: c, volume: v, owner: n}
	if v.Letter() == "" {
		s.folder = fmt.Sprintf(`%s\Volume%d`, clusterStorage, c.folders()+1)
	}
	for i, o := range c.nodes {
		if !o.up() {
			continue
		}
		if err := o.host.Mount(s.mount(o)); err != nil {
			for _, u := range c.nodes[:i] {
				u.host.Unmount(v)
			}
			return nil, &Error{Op: "AddSharedVolume", On: s.name(), Node: o.name, Err: err}
		}
	}
	c.volumes = append(c.volumes, s)
	return s, nil
}

// folders counts the volumes below C:\ClusterStorage.
func (c *Cluster) folders() (n int) {
	for _, v := range c.volumes {
		if v.folder != "" {
			n++
		}
	}
	return n
}

// SharedVolumeOf finds the Cluster Shared Volume that a path lies on, or returns
// nil: ClusterIsPathOnSharedVolume and ClusterGetVolumePathName.
func (c *Cluster) SharedVolumeOf(path string) *SharedVolume {
	path, err := volume.Clean(path)
	if err != nil {
		return nil
	}
	path = strings.TrimRight(volume.Fold(path), `\`) + `\`
	for _, v := range c.volumes {
		if strings.HasPrefix(path, volume.Fold(v.Path())) {
			return v
		}
	}
	return nil
}

// SharedVolumes lists the Cluster Shared Volumes.
func (c *Cluster) SharedVolumes() []*SharedVolume { return slices.Clone(c.volumes) }

func (v *SharedVolume) mount(n *Node) hyperv.Mount {
	return hyperv.Mount{Volume: v.volume, Folder: v.folder, AllowShadow: func() error { return v.allow(n) }}
}

// Volume is the volume itself.
func (v *SharedVolume) Volume() *hyperv.SharedVolume { return v.volume }

// Owner is the node that coordinates.
func (v *SharedVolume) Owner() *Node { return v.owner }

// Path is the root of the volume on every node: `C:\ClusterStorage\Volume1\`.
func (v *SharedVolume) Path() string { return v.name() + `\` }

// VolumeName is the volume's path by GUID, `\\?\Volume{GUID}\`.
func (v *SharedVolume) VolumeName() string { return `\\?\Volume` + guid.Braced(v.volume.ID()) + `\` }

func (v *SharedVolume) name() string {
	if v.folder != "" {
		return v.folder
	}
	return v.volume.Letter() + ":"
}

// State is how a node reaches the volume. While a backup is in progress on Windows
// Server 2008 R2 everything is redirected.
func (v *SharedVolume) State(node string) SharedVolumeState {
	switch n := v.cluster.Node(node); {
	case n == nil || !n.up() || !n.host.Mounted(v.volume):
		return SharedVolumeUnavailable
	case v.paused > 0:
		return SharedVolumePaused
	case v.backup != nil:
		return SharedVolumeActiveRedirected
	}
	return SharedVolumeActive
}

// BackupInProgress names the node that the volume was prepared for, if any.
func (v *SharedVolume) BackupInProgress() (node string, yes bool) {
	if v.backup == nil {
		return "", false
	}
	return v.backup.node.name, true
}

// allow tells whether a node may take a shadow copy. On Windows Server 2008 R2
// only the one may that the volume was prepared for.
func (v *SharedVolume) allow(n *Node) error {
	switch {
	case v.paused > 0:
		return &Error{Op: "CreateShadow", On: v.name(), Node: n.name, Err: ErrTimeout}
	case v.cluster.config.Version >= W2012:
		return nil
	case v.backup == nil:
		return &Error{Op: "CreateShadow", On: v.name(), Node: n.name, Err: ErrInvalidState}
	case v.backup.node != n:
		return &Error{Op: "CreateShadow", On: v.name(), Node: n.name, Err: ErrBackupInProgress}
	}
	v.backup.seen = true
	return nil
}

// PrepareForBackup is ClusterPrepareSharedVolumeForBackup, called on a node. On
// Windows Server 2008 R2 it makes the node the owner of the volume, redirects all
// access and sets the flag BackupInProgress; while another node's backup is in
// progress it is [ErrBackupInProgress]. The flag is cleared when the node's shadow
// copies are gone again, or after thirty minutes in which none was taken. From
// Windows Server 2012 on the call is not needed and changes nothing.
func (v *SharedVolume) PrepareForBackup(ctx context.Context, node string) error {
	const op = "PrepareSharedVolumeForBackup"
	n, err := v.cluster.node(op, node)
	if err != nil {
		return err
	}
	return n.call(ctx, op, func(ctx context.Context) error {
		if v.cluster.config.Version >= W2012 {
			return nil
		}
		if v.backup != nil && v.backup.node != n {
			v.cluster.emit(n, "cluster/csv-refused", "", sim.S("volume", v.name()), sim.S("held-by", v.backup.node.name))
			return &Error{Op: op, On: v.name(), Node: node, Err: ErrBackupInProgress}
		}
		v.setOwner(n)
		v.backup = &csvBackup{node: n, before: v.volume.Shadows()}
		v.emit("redirected for the backup of " + node)
		v.watch(n)
		return nil
	})
}

// PrepareSharedVolumeForBackup is ClusterPrepareSharedVolumeForBackup as it is
// called: with a file or a folder, on a node. It prepares the volume that the path
// lies on, see [SharedVolume.PrepareForBackup], and returns it: a requester adds its
// Path to the shadow copy set. A path on no Cluster Shared Volume is
// [ErrInvalidParameter].
func (c *Cluster) PrepareSharedVolumeForBackup(ctx context.Context, node, path string) (*SharedVolume, error) {
	v := c.SharedVolumeOf(path)
	if v == nil {
		return nil, &Error{Op: "PrepareSharedVolumeForBackup", On: path, Node: node, Err: ErrInvalidParameter}
	}
	return v, v.PrepareForBackup(ctx, node)
}

// ClearBackupStateForSharedVolume is ClusterClearBackupStateForSharedVolume, see
// [SharedVolume.ClearBackupState]. A path that is not the root of a Cluster Shared
// Volume is [ErrInvalidParameter].
func (c *Cluster) ClearBackupStateForSharedVolume(path string) error {
	v := c.SharedVolumeOf(path)
	if v == nil || !volume.Equal(v.Path(), path) {
		return &Error{Op: "ClearBackupStateForSharedVolume", On: path, Err: ErrInvalidParameter}
	}
	v.ClearBackupState()
	return nil
}

func (v *SharedVolume) emit(what string) {
	v.cluster.emit(v.owner, "cluster/csv", "", sim.S("volume", v.name()), sim.S("state", what), sim.S("owner", v.owner.name))
}

func (v *SharedVolume) setOwner(n *Node) {
	if v.owner != n {
		v.owner = n
		v.emit("coordinated by " + n.name)
	}
}

// watch clears the backup state by itself.
func (v *SharedVolume) watch(n *Node) {
	b := v.backup
	n.actor.Background("backup state of "+v.name(), func(ctx context.Context) error {
		end := sim.Now(ctx) + backupStateLimit
		for v.backup == b {
			if err := sim.Sleep(ctx, backupStatePoll); err != nil {
				return err
			}
			there := slices.ContainsFunc(v.volume.Shadows(), func(id [16]byte) bool { return !slices.Contains(b.before, id) })
			if v.backup == b && (b.seen && !there || !b.seen && sim.Now(ctx) >= end) {
				v.ClearBackupState()
			}
		}
		return nil
	})
}

// ClearBackupState is ClusterClearBackupStateForSharedVolume: it clears the flag
// BackupInProgress, whoever's backup may still be running, and access is direct
// again.
func (v *SharedVolume) ClearBackupState() {
	if v.backup != nil {
		v.backup = nil
		v.emit("direct again")
	}
}

// Pause makes the volume one that does not answer for a while, as when the storage
// behind it stalls: event 5120. Writes of machines on all nodes wait and then go
// on; no shadow copy can be taken meanwhile.
func (v *SharedVolume) Pause(d time.Duration) {
	v.paused++
	v.volume.HoldWrites()
	v.cluster.emit(v.owner, "cluster/event", "", sim.N("id", eventVolumePaused), sim.S("volume", v.name()))
	v.emit("paused")
	v.cluster.world.Actor("storage of "+v.name()).Background("stall", func(ctx context.Context) error {
		err := sim.Sleep(ctx, d)
		if v.paused--; v.paused == 0 {
			v.volume.ReleaseWrites()
			v.emit("answering again")
		}
		return err
	})
}

// MoveOwner makes another node the coordinator; not while a backup is in progress.
func (v *SharedVolume) MoveOwner(ctx context.Context, node string) error {
	const op = "MoveSharedVolume"
	n, err := v.cluster.node(op, node)
	if err != nil {
		return err
	}
	return n.call(ctx, op, func(context.Context) error {
		if v.backup != nil && v.backup.node != n {
			return &Error{Op: op, On: v.name(), Node: node, Err: ErrBackupInProgress}
		}
		v.setOwner(n)
		return nil
	})
}

// lose is what becomes of the volume when a node leaves.
func (v *SharedVolume) lose(n *Node) {
	if v.owner == n {
		if to := v.cluster.speaker(); to.up() {
			v.setOwner(to)
		}
	}
	if v.backup != nil && v.backup.node == n {
		v.ClearBackupState()
	}
}
