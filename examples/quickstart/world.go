package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/shadowsim/shadowsim/disk/vhd"
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/hyperv"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// An image is the VHD file given with -vhd.
type image struct {
	name string
	file *os.File
	size int64
	disk *vhd.Image
}

// newHost makes a host with two volumes whose management is watched.
func newHost(w *sim.World, name string, watch func(hyperv.Management) hyperv.Management) (*hyperv.Host, error) {
	return hyperv.NewHost(w, hyperv.HostConfig{
		Name:    name,
		Volumes: hyperv.Volumes("C:", "D:"),
		Catalog: guest.Catalog{ledger.Name: ledger.New},
		Manage:  watch,
		Profile: hyperv.Profile{Policy: hyperv.Policy{InCreationOrder: true}}, // so that the story tells of them in one order
	})
}

const mebibyte = 1 << 20

// ntfs is a disk with one basic volume.
func ntfs() *guest.DiskSpec {
	return &guest.DiskSpec{
		Scheme:     guest.MBR,
		Partitions: []guest.PartitionSpec{{FileSystem: guest.FileSystem{Kind: guest.NTFS}}},
	}
}

func system(name string, programs ...guest.Program) *guest.System {
	return &guest.System{
		OS:           guest.WindowsServer2008,
		ComputerName: strings.ToUpper(name),
		Services:     guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
		Programs:     programs,
	}
}

// createVMs makes the four machines and brings them into their states.
func createVMs(ctx context.Context, h *hyperv.Host, img *image) error {
	lan := h.AddSwitch("LAN")
	// The Snapshot File Location of each machine is with its disks, on D:.
	config := func(name string, guest *guest.System, disks ...hyperv.DiskConfig) hyperv.VMConfig {
		root := `D:\VMs\` + name
		for i := range disks {
			disks[i].Path = root + `\` + disks[i].Path
		}
		return hyperv.VMConfig{
			Name: name, Root: root, MemoryMB: 32, Disks: disks, Guest: guest,
			Adapters: []hyperv.AdapterConfig{{Switch: lan}},
		}
	}
	sql := config("sql01",
		system("sql01", guest.Program{Name: ledger.Name, Args: map[string]string{"data": "D:", "log": "E:"}}),
		hyperv.DiskConfig{Path: "system.vhd", Size: 64 * mebibyte, Format: ntfs()},
		hyperv.DiskConfig{Path: "data.vhd", Size: 48 * mebibyte, Format: ntfs(), BlockSize: mebibyte / 2},
		hyperv.DiskConfig{Path: "log.vhd", Size: 16 * mebibyte, Format: ntfs(), Fixed: true},
	)
	if img != nil {
		path, err := img.copyTo(h, `D:\VMs\sql01`)
		if err != nil {
			return err
		}
		sql.Disks = append(sql.Disks, hyperv.DiskConfig{Path: path})
	}
	files := config("files01",
		system("files01", guest.Program{Name: ledger.Name, Args: map[string]string{"data": "D:"}}),
		hyperv.DiskConfig{Path: "system.vhd", Size: 64 * mebibyte, Format: ntfs()},
		hyperv.DiskConfig{Path: "data.vhd", Size: 48 * mebibyte, Format: ntfs()},
	)
	for i, s := range files.Guest.Services {
		if s.Name == guest.BackupService {
			files.Guest.Services[i].Running, files.Guest.Services[i].Start = false, guest.StartDisabled
		}
	}
	pause := config("pause01", system("pause01"), hyperv.DiskConfig{Path: "system.vhd", Size: 64 * mebibyte, Format: ntfs()})
	off := config("off01", system("off01"), hyperv.DiskConfig{Path: "system.vhd", Size: 64 * mebibyte, Format: ntfs()})

	for _, c := range []hyperv.VMConfig{sql, files, pause, off} {
		vm, err := h.CreateVM(ctx, c)
		if err == nil && c.Name != "off01" {
			err = vm.Start(ctx)
		}
		if err == nil && c.Name == "pause01" {
			err = vm.Pause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTo puts a copy of the image on the host.
func (img *image) copyTo(h *hyperv.Host, dir string) (path string, err error) {
	path = volume.Join(dir, "attached.vhd")
	_, rest, err := volume.Split(path)
	if err != nil {
		return "", err
	}
	v := h.Volume("D:")
	if err := v.MkdirAll(volume.Dir(rest)); err != nil {
		return "", err
	}
	f, err := v.OpenFile(rest, volume.ReadWrite|volume.CreateNew, volume.Exclusive)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, io.NewSectionReader(img.file, 0, img.size))
	return path, errors.Join(err, f.Close())
}
