package ledger_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/guest/ledger"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// A rig is a machine with a ledger, whose every write is noted.
type rig struct {
	t     testing.TB
	world *sim.World
	guest.Config
	vols  [2]disk.Store // data and log
	model model
	seen  []instant
}

// An instant is an image of both volumes, and what the model knew then.
type instant struct {
	data, log *disk.Memory
	model
}

// A model knows what a ledger has written, told from the bytes as they are
// written and not from images.
type model struct {
	applied uint64     // last transaction that the data's header claims
	flushed uint64     // last transaction in any account that was written
	first   uint64     // of the epoch of the log
	last    uint64     // record of it, or first-1
	closed  bool       // no record since the flush
	history *[][]int64 // balances after each transaction
}

const accounts, opening = 20, 100

// newRig makes a machine with data on D: and log on E:.
func newRig(t testing.TB, args map[string]string, opts ...sim.Option) *rig {
	t.Helper()
	w := sim.New(opts...)
	t.Cleanup(func() { _ = w.Close() })
	r := &rig{t: t, world: w}
	start := make([]int64, accounts)
	for i := range start {
		start[i] = opening
	}
	r.model.history = &[][]int64{start}
	r.Config = guest.Config{Parent: w.Actor("h1").Child("sql01"), Memory: 2 << 20, Catalog: guest.Catalog{ledger.Name: ledger.New}}
	var mem [3]*disk.Memory
	for i := range mem {
		mem[i] = disk.NewMemory(4 << 20)
		r.must(guest.Format(mem[i], guest.DiskSpec{Scheme: guest.MBR, Signature: uint32(i + 1),
			Partitions: []guest.PartitionSpec{{Active: i == 0, FileSystem: guest.FileSystem{Kind: guest.NTFS, Serial: 1}}}}))
		l, err := guest.ReadLayout(mem[i], mem[i].Size())
		r.must(err)
		v := guest.Volumes(l)[0]
		d := guest.NewDisk(mem[i])
		if i == 0 {
			all := map[string]string{"data": "D:", "log": "E:", "accounts": "20", "opening": "100"}
			for k, x := range args {
				all[k] = x
			}
			r.must(guest.WriteSystem(v.Store(mem[i]), &guest.System{
				OS: guest.WindowsServer2008, ComputerName: "SQL01", Services: guest.IntegrationServices(guest.WindowsServer2008, "6.0.6001.18016"),
				Programs: []guest.Program{{Name: ledger.Name, Args: all}},
			}))
		} else {
			r.vols[i-1] = v.Store(mem[i])
			d = &watched{Disk: d, wrote: func(p []byte, off int64) { r.note(p, off-v.Off) }}
		}
		r.Disks = append(r.Disks, guest.Attachment{Disk: d})
	}
	return r
}

// watched tells of each write.
type watched struct {
	guest.Disk
	wrote func(p []byte, off int64)
}

func (w *watched) WriteAt(p []byte, off int64) (int, error) {
	n, err := w.Disk.WriteAt(p, off)
	w.wrote(p[:n], off)
	return n, err
}

// note follows a write of the ledger in the model and takes an image.
func (r *rig) note(p []byte, off int64) {
	le := binary.LittleEndian
	m := &r.model
	switch word := le.Uint32(p[4:]); word {
	case 0x41544144: // the data's header
		m.applied = le.Uint64(p[32:])
	case 0x54434341: // accounts
		for ; len(p) > 0; p = p[64:] {
			m.flushed = max(m.flushed, le.Uint64(p[24:]))
		}
	case 0x2E474F4C: // the log's header
		m.first, m.closed = le.Uint64(p[32:]), p[40] != 0
		m.last = m.first - 1
	case 0x4E415254: // a transaction
		m.last = le.Uint64(p[16:])
		from, to, amount := le.Uint32(p[24:]), le.Uint32(p[28:]), int64(le.Uint64(p[32:]))
		h := *m.history
		next := append([]int64(nil), h[len(h)-1]...)
		next[from] -= amount
		next[to] += amount
		if int(m.last) != len(h) {
			r.t.Fatalf("transaction %d after %d", m.last, len(h)-1)
		}
		*m.history = append(h, next)
	default:
		r.t.Fatalf("a write of %x at %d", word, off)
	}
	r.seen = append(r.seen, instant{image(r.vols[0]), image(r.vols[1]), *m})
}

func image(s disk.Store) *disk.Memory {
	m := disk.NewMemory(s.Size())
	if err := disk.Copy(m, s); err != nil {
		panic(err)
	}
	return m
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.world.Trace())
	}
}

func (r *rig) boot() *guest.Machine {
	r.t.Helper()
	m, err := guest.Boot(r.t.Context(), r.Config)
	r.must(err)
	return m
}

func (r *rig) advance(d time.Duration) {
	r.t.Helper()
	r.must(r.world.Advance(d))
}

func (r *rig) backup(m *guest.Machine) (*guest.Snapshot, error) {
	r.t.Helper()
	q, err := m.Requestor()
	r.must(err)
	return q.Snapshot(r.t.Context(), guest.SnapshotOptions{})
}

// copies are the volumes as a backup shows them.
func (r *rig) copies(s *guest.Snapshot) (data, log disk.Store) {
	r.t.Helper()
	var out [2]disk.Store
	for _, c := range s.Copies {
		if c.Disk > 0 {
			kept, err := r.Disks[c.Disk].Disk.Kept(c.ID)
			r.must(err)
			out[c.Disk-1] = disk.Section(kept, c.Off, c.Len)
		}
	}
	return out[0], out[1]
}

func (r *rig) check() (ledger.Consistency, ledger.Report) { return ledger.Check(r.vols[0], r.vols[1]) }
