// Package image works with virtual disk images whatever their format: it
// tells formats apart, opens and makes images, follows chains of differencing
// ones to their base, merges, collapses and converts.
//
//	chain, err := image.OpenChain(`C:\VMs\db_1.avhd`, image.FS(host), image.ChainOptions{})
//	...
//	plan, err := image.NewPlan(chain, image.Options{Format: image.VHD})
//	plan.WriteAtTo(file)                         // the chain collapsed into one image
//
// A chain is named by the Windows path of its leaf. A [Resolver] opens files
// by such paths: [FS] those of a file system, a function whatever it likes. What
// a child says about its parent is looked for as Windows does, relative before
// absolute, and what is found has to be the parent: [OpenChain] answers with an
// [Error] that names the link and holds Windows' own code when it is missing,
// another disk, broken, or its own descendant.
//
// [NewMerge] brings a child into its parent in steps of a size that the caller
// chooses, while the disk is read and written. Cut off between any two writes
// the chain opens as it was and the merge can be done again.
package image
