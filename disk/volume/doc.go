// Package volume holds Windows volumes of files: the C: and D: of a simulated
// host.
//
// A [Volume] keeps files, directories and symbolic links under Windows paths,
// with names that keep their case and are found in any, attributes, times, and a
// capacity. It takes shadow copies in constant time, however many files it has
// and whichever are open, and is read through io/fs, so that os.CopyFS,
// archive/tar and every Go backup tool can read a shadow copy:
//
//	v := volume.New(volume.Config{Label: "data"})
//	v.MkdirAll(`\VMs\sql01`)
//	f, err := v.Create(`\VMs\sql01\disk.vhd`)  // open, as a running machine has it
//	f.WriteAt(sector, 0)
//
//	v.CreateShadow(id)
//	f.WriteAt(other, 0)                        // not in the shadow copy
//	s, err := v.ShadowVolume(id)               // may be brought in order
//	v.SealShadow(id)                           // and is read-only from here on
//	shadow, err := v.OpenShadow(id)
//	os.CopyFS(dir, shadow)
//	v.DeleteShadow(id)
//
// # Paths
//
// The methods of a Volume take paths within it, `\VMs\sql01\disk.vhd`: they begin
// at the root, whether or not a slash says so, and either slash is fine. [Split]
// takes a drive letter off. Names that Windows does not allow are
// [ErrInvalidName]; here that includes names that end with a dot or a blank,
// which Windows would shorten. Names are compared by the simple upper case of
// their letters, as Unicode has it, where NTFS has a table of its own.
//
// An [FS] takes io/fs names, "VMs/sql01/disk.vhd", and a [Host], which puts
// drives together, has the letter in front: "D/VMs/sql01/disk.vhd". [Name] and
// [Path] translate.
//
// # Errors
//
// Errors are of type [*Error], or of type *fs.PathError where names are io/fs
// names, with a [Code] inside that has the number Windows uses. errors.Is finds
// the code, and fs.ErrNotExist, fs.ErrExist and fs.ErrPermission where it means
// that.
//
// # At the same time
//
// A volume, its shadow copies and their views may be used from several
// goroutines: calls take turns on one lock for the volume and its shadow copies,
// and files that are open for reading are snapshots that need none. So a backup
// may copy a shadow copy from many goroutines while machines write on. What a
// call does is one step; a walk over many directories of a live volume is not, a
// walk over a sealed shadow copy is. The position of one open file, which Read,
// Write, Seek and WriteTo move, and its Close belong to one goroutine.
//
// Nothing depends on the order in which goroutines come, except what they do
// themselves: a sequence of calls always has the same results, on every system.
//
// # Where Windows differs
//
// Opening for reading always works and sees the file as it is at that instant;
// Windows asks both sides for a sharing mode. An open file that is only read
// hinders neither removal nor renaming. A security descriptor is kept, and goes
// along with shadow copies, and nobody is kept out by it: whoever opens files on
// somebody's behalf has to ask ([Info.Security]). There are no hard links and short
// names; streams have methods of their own and no paths,
// so "file:stream" is [ErrInvalidName]. Links may lead to files and directories
// alike, whichever they were made for.
package volume
