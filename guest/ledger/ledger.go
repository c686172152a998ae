package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/vss/sim"
)

// Name is what system records and catalogs call the program.
const Name = "ledger"

// A Ledger is the program in one run of a machine. All that it knows is in the
// memory of the machine and on its volumes.
type Ledger struct {
	args args
	env  *guest.Env

	// scratch holds bytes on their way to and from memory. That takes no time, so
	// no other process of the program needs it meanwhile.
	scratch [accountsOffset]byte
}

// New makes the program; it is a [guest.Constructor]. The arguments are all
// optional:
//
//	data=D:         the volume of the data; C: otherwise
//	log=E:          the volume of the log; that of the data otherwise
//	accounts=64     how many there are, 2 to 4088
//	opening=1000    what is on each of them at first
//	rest=100ms      the mean time between two transactions
//	level=back-end  when the writer is frozen: front-end, back-end or system
//	window=20s      how long it may be frozen
//	veto=freeze     refuse an event: identify, prepare-backup, prepare-snapshot,
//	                freeze, thaw, post-snapshot or backup-complete
//	hr=0x800423F3   the code of the refusal
//	slow=61s        how long a freeze takes
//
// The first five matter when the ledger is made; afterwards what is on the disk
// counts.
func New(p guest.Program) (guest.Application, error) {
	a, err := parseArgs(p.Args)
	if err != nil {
		return nil, err
	}
	return &Ledger{args: a}, nil
}

// RegionSize is what the cache takes.
func (l *Ledger) RegionSize() int64 { return accountsOffset + maxAccounts*cachedAccount }

// Start finds the ledger on its volumes, or makes a new one. After a crash it
// replays the log. After a resume it goes on from memory, in which nothing stays
// frozen. An image that is torn it refuses.
func (l *Ledger) Start(ctx context.Context, e *guest.Env) error {
	l.env = e
	st, ok, err := l.load()
	if err != nil {
		return err
	}
	if ok {
		st.frozen = false
		return l.save(st)
	}
	v, err := l.open(ctx)
	if err != nil {
		return err
	}
	blank, err := v.blank()
	if err != nil {
		return err
	}
	if blank {
		return l.create(ctx, v)
	}
	return l.recover(ctx, v)
}

// create makes a ledger on blank volumes.
func (l *Ledger) create(ctx context.Context, v *volumes) error {
	st := state{
		id: draw(ctx, "id"), random: draw(ctx, "random"),
		next: 1, first: 1, opening: l.args.opening, accounts: uint32(l.args.accounts), slots: v.slots(),
	}
	for i := range l.args.accounts {
		if err := l.setAccount(i, account{balance: l.args.opening}); err != nil {
			return err
		}
	}
	return l.flush(v, &st, true)
}

// recover fills the cache from the volumes, as after a crash, and brings the data
// up to date.
func (l *Ledger) recover(ctx context.Context, v *volumes) error {
	im, problem := inspect(v.data, v.log)
	if problem != nil {
		return fmt.Errorf("ledger: %v: %v", Torn, problem)
	}
	st := state{
		id: im.data.id, random: draw(ctx, "random"), epoch: im.log.epoch, applied: im.data.applied,
		next: max(im.data.applied, im.last) + 1, opening: im.data.opening, accounts: im.data.accounts, slots: v.slots(),
	}
	for i, a := range im.accounts {
		if err := l.setAccount(i, a); err != nil {
			return err
		}
	}
	return l.flush(v, &st, true)
}

// draw is a number that differs by the world's seed.
func draw(ctx context.Context, name string) uint64 {
	return uint64(sim.Latency(ctx, "ledger "+name, 1, 1<<62))
}

// Step makes a transaction, unless the ledger is frozen. A volume that fails is
// tried again at the next step; until then nothing has happened.
func (l *Ledger) Step(ctx context.Context, _ *guest.Env) (time.Duration, error) {
	st, _, err := l.load()
	if err != nil || st.frozen {
		return l.args.rest, err
	}
	v, err := l.open(ctx)
	if err == nil {
		err = l.transact(ctx, v, &st)
	}
	if errors.Is(err, sim.ErrDead) {
		return 0, err
	}
	return l.args.rest/2 + time.Duration(mix(st.random)%uint64(l.args.rest)), nil
}

func (l *Ledger) transact(ctx context.Context, v *volumes, st *state) error {
	if st.next-st.first >= uint64(st.slots) {
		if err := l.flush(v, st, false); err != nil {
			return err
		}
	}
	if err := l.openLog(v, st); err != nil {
		return err
	}
	r, ok, err := l.nextRecord(ctx, st)
	if err != nil || !ok {
		return errors.Join(err, l.save(*st))
	}
	if _, err := v.log.WriteAt(r.encode(), slotAt(r.number-st.first)); err != nil {
		return err
	}
	if err := l.book(r.from, -r.amount, r.number); err != nil {
		return err
	}
	if err := l.book(r.to, r.amount, r.number); err != nil {
		return err
	}
	st.next++
	return l.save(*st)
}

// nextRecord draws a transaction that can be made; none if the payer has nothing.
func (l *Ledger) nextRecord(ctx context.Context, st *state) (r record, ok bool, err error) {
	next := func(n uint64) uint64 {
		st.random = mix(st.random)
		return st.random % n
	}
	from := next(uint64(st.accounts))
	to := (from + 1 + next(uint64(st.accounts)-1)) % uint64(st.accounts)
	payer, err := l.account(int(from))
	amount := min(1+int64(next(100)), payer.balance)
	r = record{epoch: st.epoch, number: st.next, from: uint32(from), to: uint32(to), amount: amount, at: int64(sim.Now(ctx))}
	return r, amount > 0, err
}

func (l *Ledger) book(number uint32, amount int64, transaction uint64) error {
	a, err := l.account(int(number))
	if err != nil {
		return err
	}
	return l.setAccount(int(number), account{balance: a.balance + amount, last: transaction})
}

// openLog makes the log ready for records, if a flush has closed it.
func (l *Ledger) openLog(v *volumes, st *state) error {
	if !st.closed {
		return nil
	}
	if _, err := v.log.WriteAt(st.logHeader(false).encode(), LogAt); err != nil {
		return err
	}
	st.closed = false
	return l.save(*st)
}

// flush writes the cache to the data and begins a new epoch of the log. If it
// fails half-way the old epoch goes on, and its log still has everything.
func (l *Ledger) flush(v *volumes, st *state, closed bool) error {
	b := make([]byte, sector)
	for i := 0; i < int(st.accounts); i += perSector {
		dirty := st.epoch == 0
		clear(b)
		for k := i; k < min(i+perSector, int(st.accounts)); k++ {
			a, err := l.account(k)
			if err != nil {
				return err
			}
			a.encode(b[(k-i)*accountSize:], k)
			dirty = dirty || a.last > st.applied
		}
		if !dirty {
			continue
		}
		if _, err := v.data.WriteAt(b, sectorOfAccounts(i/perSector)); err != nil {
			return err
		}
	}
	done := *st
	done.applied, done.first, done.closed = st.next-1, st.next, closed
	done.epoch++
	if _, err := v.data.WriteAt(done.dataHeader().encode(), DataAt); err != nil {
		return err
	}
	if _, err := v.log.WriteAt(done.logHeader(closed).encode(), LogAt); err != nil {
		return err
	}
	*st = done
	return l.save(done)
}

// Stop flushes the cache before the system goes down.
func (l *Ledger) Stop(ctx context.Context, _ *guest.Env) error {
	st, ok, err := l.load()
	if err != nil || !ok || st.closed {
		return err
	}
	v, err := l.open(ctx)
	if err != nil {
		return err
	}
	return l.flush(v, &st, true)
}

// volumes are the two places of the ledger as the running process sees them.
type volumes struct {
	data, log disk.Store
	logEnd    int64
}

func (l *Ledger) open(ctx context.Context) (*volumes, error) {
	data, err := l.env.Open(ctx, l.args.data)
	if err != nil {
		return nil, err
	}
	log := data
	if l.args.log != l.args.data {
		if log, err = l.env.Open(ctx, l.args.log); err != nil {
			return nil, err
		}
	}
	v := &volumes{data: data, log: log, logEnd: log.Drive().Volume().Data().End()}
	if data.Drive().Volume().Data().End() < LogAt || v.logEnd < slotAt(1) {
		return nil, fmt.Errorf("ledger: %w", guest.ErrTruncated)
	}
	return v, nil
}

// slots is how many records the log has room for.
func (v *volumes) slots() uint32 {
	return uint32(min((v.logEnd-slotAt(0))/recordSize, maxSlots))
}

// blank tells whether neither volume has ever held a ledger.
func (v *volumes) blank() (bool, error) {
	a, b := make([]byte, sector), make([]byte, sector)
	if err := readFull(v.data, a, DataAt); err != nil {
		return false, err
	}
	if err := readFull(v.log, b, LogAt); err != nil {
		return false, err
	}
	return isZero(a) && isZero(b), nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// mix is one step of a fixed generator (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}
