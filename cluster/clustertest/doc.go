// Package clustertest checks hosts of a cluster: what implements [cluster.Host]
// against what the interface promises.
//
//	func TestMyHost(t *testing.T) {
//		clustertest.RunHost(t, func() (*clustertest.Bench, error) { ... })
//	}
//
// [TestHost] does the same without package testing and returns what it found, each
// as a sentence with the broken promise and the call.
package clustertest
