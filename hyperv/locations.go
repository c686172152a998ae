package hyperv

import (
	"github.com/shadowsim/shadowsim/disk/volume"
	"github.com/shadowsim/shadowsim/internal/guid"
)

// Where Windows Server 2008 puts virtual machines unless told otherwise.
const (
	DefaultRoot     = `C:\ProgramData\Microsoft\Windows\Hyper-V`
	DefaultDiskRoot = `C:\Users\Public\Documents\Hyper-V\Virtual Hard Disks`
)

const (
	machinesFolder  = "Virtual Machines"
	snapshotsFolder = "Snapshots"
	initialStore    = "InitialStore.xml"
)

// files names the files of a machine in the folder of its configuration.
type files struct {
	folder string
	id     [16]byte
}

// filesBelow names the files of a machine below a root: `<root>\Virtual Machines`.
func filesBelow(root string, id [16]byte) files {
	return files{folder: volume.Join(root, machinesFolder), id: id}
}

// defaultConfig is where the configuration file of a machine is, or a link to it.
func (h *Host) defaultConfig(id [16]byte) string { return files{folder: h.folder, id: id}.config() }

// filesOf tells where the files of a machine are whose configuration file has
// the path.
func filesOf(config string, id [16]byte) files { return files{folder: volume.Dir(config), id: id} }

// rootOf is what stands above the folder of a configuration file.
func rootOf(config string) string { return volume.Dir(volume.Dir(config)) }

// config is the configuration file: `<folder>\<GUID>.xml`.
func (f files) config() string { return f.path(false, ".xml") }

// stateFolder holds the saved state.
func (f files) stateFolder() string { return f.path(false, "") }

// memory is the memory image of a saved machine.
func (f files) memory() string { return f.path(true, ".bin") }

// devices is the device state of a saved machine.
func (f files) devices() string { return f.path(true, ".vsv") }

// path is one named after the machine, in the folder or in that of the saved state.
func (f files) path(saved bool, extension string) string {
	b := make([]byte, 0, 256) // enough for most, so that only the result is allocated
	b = append(b, f.folder...)
	if n := len(b); n > 0 && b[n-1] != '\\' && b[n-1] != '/' {
		b = append(b, '\\')
	}
	b = guid.AppendUpper(b, f.id)
	if saved {
		b = guid.AppendUpper(append(b, '\\'), f.id)
	}
	return string(append(b, extension...))
}

// rootOfVolume names the volume that a path lies on, given the folders in which
// volumes are mounted: the folder or the drive, or "" if the path has none.
func rootOfVolume(path string, folders []string) string {
	drive, rest, err := volume.Split(path)
	if err != nil || drive == "" {
		return ""
	}
	for _, f := range folders {
		if _, ok := cutFolder(drive+":"+rest, f); ok {
			return f
		}
	}
	return drive + ":"
}
