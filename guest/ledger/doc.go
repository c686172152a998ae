// Package ledger is a program for the guests of a simulated host: a ledger of
// accounts between which money moves, and a writer that brings it to rest for a
// backup. Whoever looks at the bytes of its volumes can tell in what shape they
// are.
//
// The ledger works as databases do. A transaction goes to the end of the log, on
// one volume, and then into a cache in the guest's memory. The data, on another
// volume or the same, is written only when the cache is flushed: at a freeze, at
// an orderly shutdown, when the log is full, and after a crash. So the data alone
// is old, the log alone is useless, and both together give the state of the
// last transaction if they are of one instant.
//
//	catalog := guest.Catalog{ledger.Name: ledger.New}
//	program := guest.Program{Name: ledger.Name, Args: map[string]string{"data": "D:", "log": "E:"}}
//	...
//	verdict, report := ledger.Check(data, log) // two volumes, from anywhere
//
// [Check] says [Application] of an image that the freeze had part in: the cache
// is in the data, the log is closed, nothing has to be done. It says [Crash] of
// an image taken at any other instant, and what replaying the log gives; and
// [Torn] where no replay gives a state that the ledger ever had, and why. What
// moves between accounts sums to zero, so the total of all balances never
// changes, and a lost or doubled half of a transaction shows.
//
// After the shadow copy is made the writer marks the ledger in it as recovered,
// so that the copy differs from every state that the live volume ever had.
package ledger
