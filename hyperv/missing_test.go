package hyperv_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/sim"
)

func TestMayBeMissing(t *testing.T) {
	ours, other := vss.NewWriterMetadata(vss.WriterIdentity{WriterID: hyperv.WriterID}), vss.NewWriterMetadata(vss.WriterIdentity{WriterID: [16]byte{1}})
	for path, want := range map[string]bool{
		`D:\VMs\x_{1}.avhd`: true, `D:\x.AVHDX`: true, `D:\x.bin`: true, `D:\x.vsv`: true, `D:\x.VMRS`: true,
		`D:\x.vhd`: false, `D:\x.vhdx`: false, `D:\x.xml`: false, `D:\x.vmcx`: false, `D:\bin`: false, `D:\x.bin\y`: false, "": false, "bin": false, ".bin": true,
	} {
		if hyperv.MayBeMissing(ours, path) != want || hyperv.MayBeMissing(other, path) {
			t.Errorf("%q: %v, and %v of another writer", path, hyperv.MayBeMissing(ours, path), hyperv.MayBeMissing(other, path))
		}
	}
}

// afterIdentify does something when a requester has gathered the metadata, before it
// tells the writer what it has chosen.
func (l *lab) afterIdentify(do func(ctx context.Context) error) func(*requester.Backup) {
	done := false
	return func(b *requester.Backup) {
		b.Options = func(*vss.WriterMetadata, *vss.ComponentInfo) string {
			if ctx := l.w.Current(); !done {
				done = true
				l.must(do(ctx))
			}
			return ""
		}
	}
}

// A disk of a checkpoint is listed, and merged before the backup begins: the backup
// does without, and the machine that is restored from it has all that was in it. A
// disk that is no checkpoint's must be there.
func TestMergedBetweenMetadataAndBackup(t *testing.T) {
	l := newLab(t)
	vm := l.running("db", also("data.vhd"))
	l.write(vm, `C:\`, dataOff, 'a')
	id, err := vm.Checkpoint(l.ctx(), "one")
	l.must(err)
	l.write(vm, `C:\`, dataOff, 'b')
	leaves := vm.Configuration().VHDPaths()
	l.must(vm.DeleteCheckpoint(l.ctx(), id))
	if !vm.Configuration().MergePending {
		t.Fatal("no merge is pending")
	}
	merge := func(ctx context.Context) error {
		err := vm.TurnOff(ctx)
		for range 60 {
			if err == nil && vm.Configuration().MergePending {
				err = sim.Sleep(ctx, time.Second)
			}
		}
		l.note()
		return err
	}
	target := l.mustBackup(l.afterIdentify(merge))
	l.settled()
	var missing []string
	for _, e := range l.w.Trace().Select("requester/missing") {
		missing = append(missing, e.Get("file"))
	}
	if len(leaves) != 2 || !slices.Equal(missing, leaves) || !strings.HasSuffix(leaves[0], ".avhd") {
		t.Errorf("%q are missing, want %q", missing, leaves)
	}
	l.remove(vm)
	l.mustRestore(target)
	back := l.h.VM("db")
	l.must(back.Start(l.ctx()))
	if b := byteAt(t, volumeIn(t, back.Guest().Disks()[0].Disk, 0), dataOff); b != 'b' {
		t.Errorf("the machine that came back has %q", b)
	}
	l.settledNow()

	gone := back.Configuration().VHDPaths()[1]
	l.must(back.TurnOff(l.ctx()))
	_, err = l.backup(l.afterIdentify(func(context.Context) error { return l.h.Volume("D").Remove(gone[2:]) }))
	if e, ok := errors.AsType[*requester.Error](err); !ok || e.Phase != "copy" || !errors.Is(err, fs.ErrNotExist) || !strings.EqualFold(e.On, gone) {
		t.Errorf("without %s: %v", gone, err)
	}
}
