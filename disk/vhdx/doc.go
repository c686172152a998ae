// Package vhdx reads and writes the VHDX image format: fixed, dynamic and
// differencing images, in place and as a stream.
//
// A .vhdx file is bytes like any other file's. The disk of the virtual machine
// is an [Image] that works on those bytes:
//
//	file := disk.NewMemory(0)
//	im, err := vhdx.Create(file, vhdx.Options{Size: 127 << 30, ID: id})
//	im.WriteAt(sector, 0)                         // adds a block to the file
//	backup := file.Freeze()                       // a snapshot of the file...
//	old, err := vhdx.Open(backup, backup.Size())  // ...is a whole image
//
// An Image keeps nothing of the data. Whatever it changes in tables goes
// through the log of the file, so that power may fail between any two writes to
// the file, or tear one, or lose those that were not synced: what opens
// afterwards has all that was there when WriteAt or [Image.Sync] returned. The
// log is empty again when a call returns. [Image.SetWriteBack] lets changes of
// tables gather until Sync, for less writing.
//
// A differencing image is made over its parent, and opened before it is put
// over it again, so that the caller can look for the parent by the names that
// the child holds:
//
//	child, err := vhdx.Create(file, vhdx.Options{Parent: vhdx.Parent{Image: im, Path: `.\base.vhdx`}})
//	...
//	child, err := vhdx.OpenFile(file)
//	link, ok := child.Link()                      // link.Candidates() are the paths to try
//	err = child.SetParent(base, vhdx.CheckID)     // which compares identifiers
//
// The first write of a session gives a disk a new DataWriteGUID, by which its
// children know that their parent is no longer what they were made over.
// Identifiers derive from those before, from nothing random; see
// [Image.SetSession].
//
// [Open] reads an image from anything and replays its log in memory, [OpenFile]
// replays it in the file. Malformed images are an [Error] that holds Windows'
// own code. [Write] and [Plan] make an image file of any [disk.Source]; sparse
// disks make sparse files. [Image.Spans] tells what an image has of its own,
// what it knows to be zero, and what it leaves to its parent.
//
// What is read and written follows [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File
// Format". Regions and metadata items that are unknown are kept, and refused if
// they are required.
package vhdx
