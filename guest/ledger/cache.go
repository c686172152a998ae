package ledger

import "encoding/binary"

// The cache is the ledger's region of the guest's memory: its state and then
// every account with its balance and its last transaction.
const (
	cacheMagic     = 0x3130_7265_6764_656C // "ledger01"
	accountsOffset = 128
	cachedAccount  = 16
)

// A state is what the ledger keeps in memory beside the accounts.
type state struct {
	frozen  bool // no transaction until the thaw
	closed  bool // the log says that nothing came after the flush
	id      uint64
	epoch   uint64 // of the log
	first   uint64 // transaction of the epoch
	next    uint64 // transaction
	applied uint64 // the last transaction that the last flush wrote
	random  uint64
	opening int64

	accounts, slots uint32
}

func (st state) dataHeader() dataHeader {
	return dataHeader{id: st.id, accounts: st.accounts, opening: st.opening, applied: st.applied}
}

func (st state) logHeader(closed bool) logHeader {
	return logHeader{id: st.id, epoch: st.epoch, first: st.first, slots: st.slots, closed: closed}
}

// load reads the state from memory; ok is false in memory that is new.
func (l *Ledger) load() (st state, ok bool, err error) {
	b := l.scratch[:]
	if err := readFull(l.env.Memory, b, 0); err != nil {
		return st, false, err
	}
	le := binary.LittleEndian
	st = state{
		frozen: le.Uint32(b[8:]) != 0, closed: le.Uint32(b[12:]) != 0,
		id: le.Uint64(b[16:]), epoch: le.Uint64(b[24:]), first: le.Uint64(b[32:]), next: le.Uint64(b[40:]),
		applied: le.Uint64(b[48:]), random: le.Uint64(b[56:]), opening: int64(le.Uint64(b[64:])),
		accounts: le.Uint32(b[72:]), slots: le.Uint32(b[76:]),
	}
	return st, le.Uint64(b) == cacheMagic, nil
}

func (l *Ledger) save(st state) error {
	b := l.scratch[:]
	clear(b)
	le := binary.LittleEndian
	le.PutUint64(b, cacheMagic)
	le.PutUint32(b[8:], flag(st.frozen))
	le.PutUint32(b[12:], flag(st.closed))
	for i, v := range []uint64{st.id, st.epoch, st.first, st.next, st.applied, st.random, uint64(st.opening)} {
		le.PutUint64(b[16+8*i:], v)
	}
	le.PutUint32(b[72:], st.accounts)
	le.PutUint32(b[76:], st.slots)
	_, err := l.env.Memory.WriteAt(b, 0)
	return err
}

func (l *Ledger) account(i int) (account, error) {
	b := l.scratch[:cachedAccount]
	err := readFull(l.env.Memory, b, accountsOffset+int64(i)*cachedAccount)
	le := binary.LittleEndian
	return account{balance: int64(le.Uint64(b)), last: le.Uint64(b[8:])}, err
}

func (l *Ledger) setAccount(i int, a account) error {
	b := l.scratch[:cachedAccount]
	le := binary.LittleEndian
	le.PutUint64(b, uint64(a.balance))
	le.PutUint64(b[8:], a.last)
	_, err := l.env.Memory.WriteAt(b, accountsOffset+int64(i)*cachedAccount)
	return err
}
