package ledger

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/shadowsim/shadowsim/guest"
)

// Where a volume holds the ledger, in bytes from its start. Both parts may be on
// one volume.
const (
	DataAt = guest.DataOffset     // the header of the data, then the accounts
	LogAt  = DataAt + dataReserve // the header of the log, then its records

	dataReserve = 256 << 10
	sector      = 512
	accountSize = 64
	recordSize  = 64
	perSector   = sector / accountSize // accounts, or records
	maxAccounts = (dataReserve - sector) / accountSize
	maxSlots    = 1 << 20
)

// Every sector, account and record begins with a checksum over what follows, and
// a word that says what it is. Numbers are little-endian.
const (
	dataMagic    = 0x4154_4144 // "DATA"
	logMagic     = 0x2E47_4F4C // "LOG."
	accountMagic = 0x5443_4341 // "ACCT"
	recordMagic  = 0x4E41_5254 // "TRAN"
	version      = 1
)

// A dataHeader says what the accounts behind it amount to.
type dataHeader struct {
	id        uint64 // the same in data and log
	accounts  uint32
	opening   int64  // balance of each account at first
	applied   uint64 // the last transaction that is in the data
	recovered bool   // the writer was here after a shadow copy was made
}

// An account is a balance, and the last transaction that changed it.
type account struct {
	balance int64
	last    uint64
}

// A logHeader says which records behind it count: those of its epoch, from
// first on. Each flush begins an epoch.
type logHeader struct {
	id     uint64
	epoch  uint64
	first  uint64 // number of the transaction in the first slot
	slots  uint32
	closed bool // nothing was written to the log since the flush
}

// A record is one transaction.
type record struct {
	epoch    uint64
	number   uint64
	from, to uint32
	amount   int64
	at       int64 // virtual time in nanoseconds
}

// frame is the part that all records share.
func frame(b []byte, magic uint32) {
	binary.LittleEndian.PutUint32(b[4:], magic)
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// framed tells whether b is whole and what it ought to be.
func framed(b []byte, magic uint32) bool {
	return binary.LittleEndian.Uint32(b) == crc32.ChecksumIEEE(b[4:]) && binary.LittleEndian.Uint32(b[4:]) == magic
}

func flag(set bool) uint32 {
	if set {
		return 1
	}
	return 0
}

func (h dataHeader) encode() []byte {
	b := make([]byte, sector)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	le.PutUint32(b[12:], h.accounts)
	le.PutUint64(b[16:], h.id)
	le.PutUint64(b[24:], uint64(h.opening))
	le.PutUint64(b[32:], h.applied)
	le.PutUint32(b[40:], flag(h.recovered))
	frame(b, dataMagic)
	return b
}

func decodeData(b []byte) (h dataHeader, ok bool) {
	le := binary.LittleEndian
	if !framed(b, dataMagic) || le.Uint32(b[8:]) != version {
		return h, false
	}
	h = dataHeader{
		id:        le.Uint64(b[16:]),
		accounts:  le.Uint32(b[12:]),
		opening:   int64(le.Uint64(b[24:])),
		applied:   le.Uint64(b[32:]),
		recovered: le.Uint32(b[40:]) != 0,
	}
	return h, h.accounts >= 2 && h.accounts <= maxAccounts && h.opening > 0 && h.opening <= maxOpening
}

func (a account) encode(b []byte, number int) {
	le := binary.LittleEndian
	clear(b[:accountSize])
	le.PutUint64(b[8:], uint64(number))
	le.PutUint64(b[16:], uint64(a.balance))
	le.PutUint64(b[24:], a.last)
	frame(b[:accountSize], accountMagic)
}

func decodeAccount(b []byte, number int) (a account, ok bool) {
	le := binary.LittleEndian
	if !framed(b[:accountSize], accountMagic) || le.Uint64(b[8:]) != uint64(number) {
		return a, false
	}
	return account{balance: int64(le.Uint64(b[16:])), last: le.Uint64(b[24:])}, true
}

func (h logHeader) encode() []byte {
	b := make([]byte, sector)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	le.PutUint32(b[12:], h.slots)
	le.PutUint64(b[16:], h.id)
	le.PutUint64(b[24:], h.epoch)
	le.PutUint64(b[32:], h.first)
	le.PutUint32(b[40:], flag(h.closed))
	frame(b, logMagic)
	return b
}

func decodeLog(b []byte) (h logHeader, ok bool) {
	le := binary.LittleEndian
	if !framed(b, logMagic) || le.Uint32(b[8:]) != version {
		return h, false
	}
	h = logHeader{
		id:     le.Uint64(b[16:]),
		epoch:  le.Uint64(b[24:]),
		first:  le.Uint64(b[32:]),
		slots:  le.Uint32(b[12:]),
		closed: le.Uint32(b[40:]) != 0,
	}
	return h, h.first >= 1 && h.first < 1<<62 && h.slots >= 1 && h.slots <= maxSlots
}

func (r record) encode() []byte {
	b := make([]byte, recordSize)
	le := binary.LittleEndian
	le.PutUint64(b[8:], r.epoch)
	le.PutUint64(b[16:], r.number)
	le.PutUint32(b[24:], r.from)
	le.PutUint32(b[28:], r.to)
	le.PutUint64(b[32:], uint64(r.amount))
	le.PutUint64(b[40:], uint64(r.at))
	frame(b, recordMagic)
	return b
}

func decodeRecord(b []byte) (r record, ok bool) {
	le := binary.LittleEndian
	if !framed(b, recordMagic) {
		return r, false
	}
	return record{
		epoch:  le.Uint64(b[8:]),
		number: le.Uint64(b[16:]),
		from:   le.Uint32(b[24:]),
		to:     le.Uint32(b[28:]),
		amount: int64(le.Uint64(b[32:])),
		at:     int64(le.Uint64(b[40:])),
	}, true
}

// slotAt is where the record in a slot of the log lies on its volume.
func slotAt(slot uint64) int64 { return LogAt + sector + int64(slot)*recordSize }

// sectorOfAccounts is where a sector of accounts lies on its volume.
func sectorOfAccounts(i int) int64 { return DataAt + sector + int64(i)*sector }

// readFull fills b from one place, or fails.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
