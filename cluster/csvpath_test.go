package cluster_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/cluster"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// A Cluster Shared Volume is below C:\ClusterStorage on every node, and a path
// tells which one it lies on.
func TestSharedVolumePaths(t *testing.T) {
	l := newLab(t, labConfig{nodes: 3})
	second, err := hyperv.NewSharedVolume(l.w, hyperv.VolumeConfig{})
	l.must(err)
	two, err := l.c.AddSharedVolume(second, "h2")
	l.must(err)
	if l.csv.Path() != volume1+`\` || two.Path() != `C:\ClusterStorage\Volume2\` || two.VolumeName() != `\\?\Volume`+guid.Braced(second.ID())+`\` {
		t.Errorf("they are %s and %s, %s", l.csv.Path(), two.Path(), two.VolumeName())
	}
	l.must(second.WriteFile(`\file`, []byte("two")))
	for _, h := range l.hosts {
		if data, err := fs.ReadFile(h.Files(), "C/ClusterStorage/Volume2/file"); err != nil || string(data) != "two" {
			t.Errorf("%s: %q, %v", h.Name(), data, err)
		}
	}
	for path, want := range map[string]*cluster.SharedVolume{
		volume1: l.csv, `c:\clusterstorage\VOLUME1\VMs\db.vhd`: l.csv, `C:/ClusterStorage/Volume2/x`: two,
		`C:\ClusterStorage\Volume10\x`: nil, `C:\ClusterStorage`: nil, `D:\x`: nil, `\\?\nothing`: nil,
	} {
		if got := l.c.SharedVolumeOf(path); got != want {
			t.Errorf("%s is on %v", path, got)
		}
	}
	h4 := l.newHost("h1")
	l.host("h1").Actor().Kill()
	l.advance(10 * time.Second)
	l.must(l.c.Join(l.ctx(), "h1", cluster.HyperV(h4)))
	if _, err := fs.Stat(h4.Files(), "C/ClusterStorage/Volume2/file"); err != nil {
		t.Errorf("on a node that has come back: %v", err)
	}
}

// The preparation of Windows Server 2008 R2 goes by path; what is on no shared
// volume is ERROR_INVALID_PARAMETER.
func TestPrepareByPath(t *testing.T) {
	l := newLab(t, labConfig{})
	v, err := l.c.PrepareSharedVolumeForBackup(l.ctx(), "h2", volume1+`\VMs\db\system.vhd`)
	if node, yes := l.csv.BackupInProgress(); err != nil || v != l.csv || node != "h2" || !yes {
		t.Errorf("%v, %v; %s, %v", v, err, node, yes)
	}
	if _, err := l.c.PrepareSharedVolumeForBackup(l.ctx(), "h1", volume1); !errors.Is(err, cluster.ErrBackupInProgress) {
		t.Errorf("a second: %v", err)
	}
	if _, err := l.c.PrepareSharedVolumeForBackup(l.ctx(), "h1", `C:\VMs`); !errors.Is(err, cluster.ErrInvalidParameter) {
		t.Errorf("of a disk of the node: %v", err)
	}
	for _, path := range []string{`C:\`, volume1 + `\VMs`} {
		if err := l.c.ClearBackupStateForSharedVolume(path); !errors.Is(err, cluster.ErrInvalidParameter) {
			t.Errorf("clearing %s: %v", path, err)
		}
	}
	l.must(l.c.ClearBackupStateForSharedVolume(volume1 + `\`))
	if _, yes := l.csv.BackupInProgress(); yes {
		t.Error("it is not cleared")
	}
	later := newLab(t, labConfig{config: cluster.Config{Version: cluster.W2012}})
	v, err = later.c.PrepareSharedVolumeForBackup(later.ctx(), "h2", volume1)
	if _, yes := later.csv.BackupInProgress(); err != nil || v != later.csv || yes {
		t.Errorf("of Windows Server 2012: %v, in progress %v", err, yes)
	}
}

// A backup through the requester with paths below C:\ClusterStorage: the component
// names them, the volume is in the set under its own path, the files are stored by
// them, and a restore puts them back on the volume, not on C:.
func TestBackupBelowClusterStorage(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Off}})
	db := l.vm("db", inside)
	l.advance(3 * time.Second)
	whole := l.safe(db)
	var specs []string
	var volumes []requester.Volume
	target := &requester.Memory{}
	l.must(l.as("backup", func(ctx context.Context) error {
		b := &requester.Backup{Service: l.host("h1").VSS(), Target: target, MayBeMissing: hyperv.MayBeMissing}
		b.Select = func(_ *vss.WriterMetadata, c *vss.ComponentInfo) bool {
			ours := strings.HasSuffix(c.Caption, `\db`)
			for _, f := range c.Files {
				if ours {
					specs = append(specs, f.Path+`\`+f.Spec)
				}
				if v := l.c.SharedVolumeOf(f.Path); ours && v != nil {
					if err := v.PrepareForBackup(ctx, "h1"); err != nil {
						t.Error(err)
					}
				}
			}
			return ours
		}
		r, err := b.Run(ctx)
		if err == nil {
			volumes = r.Volumes
		}
		return err
	}))
	id := guid.Upper(db.ID())
	want := []string{
		volume1 + `\VMs\db\Virtual Machines\` + id + `.xml`, volume1 + `\VMs\db\Virtual Machines\` + id + `\*`,
		volume1 + `\VMs\db\system.vhd`,
	}
	if !slices.Equal(specs, want) {
		t.Errorf("the component has\n%q, want\n%q", specs, want)
	}
	if len(volumes) != 1 || volumes[0].Name != l.csv.Path() {
		t.Errorf("the set has %v", volumes)
	}
	const stored = requester.FilesName + "/C/ClusterStorage/Volume1/VMs/db/system.vhd"
	if _, err := fs.Stat(target, stored); err != nil {
		names, _ := fs.Glob(target, "*/*/*/*")
		t.Errorf("%v among %q", err, names)
	}
	if l.count("hyperv/child-snapshot", "vm=db") != 1 || l.count("hyperv/roll-back", "vhd="+want[2]) != 1 {
		t.Errorf("not taken from inside and rolled back\n%s", l.story(0))
	}
	after, err := l.c.BeforeRestore(l.ctx(), db)
	l.must(err)
	l.must(l.shared.RemoveAll(`\VMs`))
	l.must(l.restore("h1", target))
	if _, err := l.shared.Stat(`\VMs\db\system.vhd`); err != nil {
		t.Error(err)
	}
	l.must(after(l.ctx()))
	l.wantAt(db, "h1")
	whole()
	l.advance(time.Minute)
	l.clean()
	l.findings(target)
	l.nextBackup()
}

// A machine with disks on two shared volumes: R16 goes by the volume, not by the
// letter that all of them have in common; and both have to be prepared.
func TestMachineOnTwoSharedVolumes(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Detection: cluster.Off}})
	second, err := hyperv.NewSharedVolume(l.w, hyperv.VolumeConfig{})
	l.must(err)
	two, err := l.c.AddSharedVolume(second, "h1")
	l.must(err)
	db := l.running("db", inside, hyperv.DiskConfig{Path: `C:\ClusterStorage\Volume2\data.vhd`, Size: 2 * mib, BlockSize: 512 << 10})
	reasons := db.Decide().Reasons
	if !slices.ContainsFunc(reasons, func(r hyperv.Reason) bool { return r.Code == hyperv.ReasonSnapshotLocation }) {
		t.Errorf("it is to be backed up by %v, because %v", db.Decide().Method, reasons)
	}
	l.available(db)
	_, err = l.backup("h1") // prepares the first alone
	if !errors.Is(err, cluster.ErrInvalidState) || !strings.Contains(err.Error(), `Volume2`) {
		t.Errorf("with one volume prepared: %v", err)
	}
	l.must(two.PrepareForBackup(l.ctx(), "h1"))
	_, err = l.backup("h1")
	l.must(err)
	l.advance(time.Minute)
	l.clean()
}

// One volume has many names, and is in a set once.
func TestOneVolumeTwiceInASet(t *testing.T) {
	l := newLab(t, labConfig{config: cluster.Config{Version: cluster.W2012}})
	for _, again := range []string{volume1 + `\`, strings.ToUpper(volume1) + `\`, l.csv.VolumeName()} {
		err := l.as("backup", func(ctx context.Context) error {
			bc, err := l.host("h1").VSS().CreateBackupComponents(ctx)
			l.must(err)
			defer func() { l.must(bc.Release(ctx)) }()
			l.must(bc.InitializeForBackup(ctx, nil))
			l.must(bc.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull}))
			l.must(bc.GatherWriterMetadata(ctx))
			_, err = bc.StartSnapshotSet(ctx)
			l.must(err)
			_, err = bc.AddToSnapshotSet(ctx, volume1+`\`, guid.GUID{})
			l.must(err)
			_, err = bc.AddToSnapshotSet(ctx, again, guid.GUID{})
			return err
		})
		if !errors.Is(err, vss.ErrObjectAlreadyExists) {
			t.Errorf("%s as well: %v", again, err)
		}
	}
}
