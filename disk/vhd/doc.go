// Package vhd reads and writes the Virtual Hard Disk image format: fixed,
// dynamic and differencing images, in place.
//
// A .vhd file of a simulated volume is bytes like any other file's. The disk
// of the virtual machine is an [Image] that works on those bytes:
//
//	file := disk.NewMemory(0)
//	im, err := vhd.Create(file, vhd.Options{Size: 127 << 30, ID: id})
//	im.WriteAt(sector, 0)                        // adds a block to the file
//	backup := file.Freeze()                      // a snapshot of the file...
//	old, err := vhd.Open(backup, backup.Size())  // ...is a whole image
//
// There is no second truth: the Image keeps the block allocation table and
// nothing of the data, so a copy of the file taken between any two calls opens
// as the disk of that instant. Placed blocks move in [Image.Compact] alone; identifier and time
// stamp are those of creation; parent locators, gaps, reserved fields and
// creator codes of other tools stay as they were. When a block is added the
// writes are ordered so that the file can be cut off between any two of them
// and still opens with all that was there before.
//
// [Open] reads an image from anything, also damaged ones as far as they can be
// trusted, and answers the others with an [Error] that holds Windows' own code.
// [Write] and [Plan] make an image file of any [disk.Source]. [Detect] tells
// the formats apart by content.
//
// What is written follows Windows 8 and later where the Virtual Hard Disk Image
// Format Specification leaves room: the data of every block begins at a
// multiple of 4096 bytes, all bits of a dynamic block's bitmap are set, and the
// creator is "win ", which makes QEMU believe the size in the footer.
//
// A differencing image holds what differs from its parent, sector by sector:
//
//	child, err := vhd.Create(file, vhd.Options{ID: id, Parent: vhd.Parent{
//		Image: base, Path: `C:\VMs\base.vhd`, Child: `C:\VMs\base_1.avhd`}})
//	...
//	child, err = vhd.OpenFile(file)
//	link, _ := child.Link()                      // where the parent is to be found
//	err = child.SetParent(base, vhd.CheckID)     // verifies that it is the one
//
// [Image.Link] says how the file names its parent, [Image.SetParent] checks
// identity, size and time stamp, [Image.Spans] tells what the child holds itself,
// [Image.Relink] names another parent. As long as an image has children nobody
// may write it: the format has no means to notice. Package image finds parents,
// and merges.
package vhd
