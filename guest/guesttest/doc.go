// Package guesttest proves backup services of one's own: types that implement
// [guest.Requestor], such as the daemon of another operating system or a service
// that speaks an old protocol.
//
//	func TestMyDaemon(t *testing.T) {
//		guesttest.RunRequestor(t, newMyDaemon, guesttest.Options{System: "Linux 6.1"})
//	}
//
// The kit boots machines with the service, with several volumes, with disks that
// the host cannot see, and with a load that goes on writing. It takes snapshots,
// gives up in the middle, lets time run out, pauses the machine, cuts its power,
// and lets everything fail that can fail. Each promise that was not kept is a
// sentence, with the call that broke it.
package guesttest
