package ledger

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// A Consistency is the shape in which an image of the ledger is.
type Consistency uint8

// The shapes, from good to bad.
const (
	// Application: the cache is in the data and the log is closed. The ledger
	// had part in the making of the image.
	Application Consistency = iota + 1
	// Crash: replaying the log gives the state of the ledger at one instant.
	Crash
	// Torn: no state that the ledger ever had can be shown to follow from the
	// image.
	Torn
)

// String names the shape in the words of the trade.
func (c Consistency) String() string {
	switch c {
	case Application:
		return "application-consistent"
	case Crash:
		return "crash-consistent"
	case Torn:
		return "torn"
	}
	return "not checked"
}

// A Report is what [Check] found.
type Report struct {
	Accounts  int           // how many there are
	Balances  []int64       // after the replay; nil if the image is torn
	Total     int64         // of the balances after the replay
	Applied   uint64        // the last transaction in the data
	Last      uint64        // the last one after the replay
	Time      time.Duration // virtual, of the last record in the log; 0 without one
	Replayed  int           // records that were not in the data
	LogBehind bool          // the data is newer than the log
	Recovered bool          // the writer has marked the image after it was made
	Problems  []Problem     // why the image is torn
}

// String prints the report on one line.
func (r Report) String() string {
	if len(r.Problems) > 0 {
		parts := make([]string, len(r.Problems))
		for i, p := range r.Problems {
			parts[i] = p.String()
		}
		return strings.Join(parts, "; ")
	}
	s := fmt.Sprintf("%d accounts, total %d, data up to transaction %d", r.Accounts, r.Total, r.Applied)
	if r.Replayed > 0 {
		s += fmt.Sprintf(", %d replayed up to %d", r.Replayed, r.Last)
	}
	if r.LogBehind {
		s += ", log behind the data"
	}
	if r.Recovered {
		s += ", recovered"
	}
	return s
}

// A Problem is something that keeps an image from being put right.
type Problem struct {
	Kind   ProblemKind
	Number uint64 // of the account or transaction that shows it
}

// A ProblemKind says what is wrong with an image.
type ProblemKind uint8

// The problems.
const (
	NoData      ProblemKind = iota + 1 // the data has no readable header
	NoLog                              // the log has no readable header
	OtherLedger                        // data and log belong to different ledgers
	BadAccount                         // an account is not readable
	LostWrite                          // an account lacks a transaction that the data claims to have
	Unlogged                           // an account has a transaction that neither the log nor a flush explains
	Gap                                // transactions between data and log are missing
	Hole                               // the log goes on behind a record that is not readable
	BadRecord                          // a record says what cannot be
	WrongTotal                         // money was made or lost
	problemCount
)

var problemText = [problemCount]string{
	NoData:      "no readable data",
	NoLog:       "no readable log",
	OtherLedger: "data and log are not of the same ledger",
	BadAccount:  "account %d is not readable",
	LostWrite:   "account %d lacks a transaction that the data claims to have",
	Unlogged:    "account %d has a transaction that the log does not have",
	Gap:         "transaction %d is missing between data and log",
	Hole:        "the log goes on behind transaction %d, which is not readable",
	BadRecord:   "transaction %d cannot be",
	WrongTotal:  "the total is off by %d",
}

// String says what is wrong in words.
func (p Problem) String() string {
	if p.Kind == 0 || p.Kind >= problemCount {
		return fmt.Sprintf("problem %d", p.Kind)
	}
	text := problemText[p.Kind]
	switch {
	case p.Kind == WrongTotal:
		return fmt.Sprintf(text, int64(p.Number))
	case strings.Contains(text, "%d"):
		return fmt.Sprintf(text, p.Number)
	}
	return text
}

// Check tells from bytes alone in what shape an image of the ledger is. Data and
// log are the volumes, or shadow copies of volumes, that hold the two parts; they
// may be the same. What cannot be read counts as damaged.
func Check(data, log io.ReaderAt) (Consistency, Report) {
	im, problem := inspect(data, log)
	r := im.report()
	switch {
	case problem != nil:
		r.Balances, r.Problems = nil, []Problem{*problem}
		return Torn, r
	case im.log.closed && im.data.applied+1 == im.log.first:
		return Application, r
	}
	return Crash, r
}

// inspect reads an image and replays its log.
func inspect(data, log io.ReaderAt) (*image, *Problem) {
	im, problem := load(data)
	if problem == nil {
		problem = im.replay(log)
	}
	if problem == nil {
		problem = im.balance()
	}
	return im, problem
}

// An image is a ledger read from bytes.
type image struct {
	data     dataHeader
	accounts []account
	log      logHeader
	last     uint64 // the last transaction in the log, first-1 if there is none
	lastAt   int64
	replayed int
}

func (im *image) report() Report {
	r := Report{
		Accounts:  len(im.accounts),
		Applied:   im.data.applied,
		Last:      max(im.data.applied, im.last),
		Time:      time.Duration(im.lastAt),
		Replayed:  im.replayed,
		LogBehind: im.log.first > 0 && im.last < im.data.applied,
		Recovered: im.data.recovered,
	}
	for _, a := range im.accounts {
		r.Balances = append(r.Balances, a.balance)
		r.Total += a.balance
	}
	return r
}

// load reads the data.
func load(data io.ReaderAt) (*image, *Problem) {
	im := &image{}
	b := make([]byte, sector)
	if readFull(data, b, DataAt) != nil {
		return im, &Problem{Kind: NoData}
	}
	h, ok := decodeData(b)
	if !ok {
		return im, &Problem{Kind: NoData}
	}
	im.data = h
	im.accounts = make([]account, h.accounts)
	for i := range im.accounts {
		slot := i % perSector
		if slot == 0 && readFull(data, b, sectorOfAccounts(i/perSector)) != nil {
			return im, &Problem{BadAccount, uint64(i)}
		}
		if im.accounts[i], ok = decodeAccount(b[slot*accountSize:], i); !ok {
			return im, &Problem{BadAccount, uint64(i)}
		}
	}
	return im, nil
}

// replay reads the log and applies what the data does not have.
func (im *image) replay(log io.ReaderAt) *Problem {
	b := make([]byte, sector)
	if readFull(log, b, LogAt) != nil {
		return &Problem{Kind: NoLog}
	}
	h, ok := decodeLog(b)
	switch {
	case !ok:
		return &Problem{Kind: NoLog}
	case h.id != im.data.id:
		return &Problem{Kind: OtherLedger}
	}
	im.log, im.last = h, h.first-1
	if im.data.applied < im.last {
		return &Problem{Gap, im.data.applied + 1}
	}
	if problem := im.readLog(log); problem != nil {
		return problem
	}
	for i, a := range im.accounts {
		if a.last > max(im.last, im.data.applied) {
			return &Problem{Unlogged, uint64(i)}
		}
	}
	return nil
}

// readLog applies the records in the order of their slots until one is not of
// this epoch.
func (im *image) readLog(log io.ReaderAt) *Problem {
	b := make([]byte, sector)
	for slot := uint64(0); slot < uint64(im.log.slots); slot++ {
		within := slot % perSector
		if within == 0 && readFull(log, b, slotAt(slot)) != nil {
			return nil // the end of the volume, or what cannot be read
		}
		r, ok := decodeRecord(b[within*recordSize : (within+1)*recordSize])
		if !ok || r.epoch != im.log.epoch {
			return im.noMore(log, b, slot)
		}
		if problem := im.apply(r, im.log.first+slot); problem != nil {
			return problem
		}
	}
	return nil
}

// lookAhead is how many slots behind the end of the log are searched for records
// that ought not to be there.
const lookAhead = 64

// noMore makes sure that the log ends at a slot, whose sector has been read.
func (im *image) noMore(log io.ReaderAt, b []byte, end uint64) *Problem {
	for slot := end + 1; slot < min(end+lookAhead, uint64(im.log.slots)); slot++ {
		within := slot % perSector
		if within == 0 && readFull(log, b, slotAt(slot)) != nil {
			return nil
		}
		r, ok := decodeRecord(b[within*recordSize : (within+1)*recordSize])
		if ok && r.epoch == im.log.epoch && r.number == im.log.first+slot {
			return &Problem{Hole, im.log.first + end}
		}
	}
	return nil
}

// apply carries out a record on the accounts that do not have it yet.
func (im *image) apply(r record, number uint64) *Problem {
	n := uint32(len(im.accounts))
	if im.log.closed || r.number != number || r.from >= n || r.to >= n || r.from == r.to || r.amount <= 0 || r.amount > maxOpening {
		return &Problem{BadRecord, number}
	}
	im.last, im.lastAt = number, r.at
	fresh := false
	for _, side := range []struct {
		account uint32
		amount  int64
	}{{r.from, -r.amount}, {r.to, r.amount}} {
		a := &im.accounts[side.account]
		if a.last >= number {
			continue
		}
		if number <= im.data.applied {
			return &Problem{LostWrite, uint64(side.account)}
		}
		a.balance, a.last, fresh = a.balance+side.amount, number, true
	}
	if fresh {
		im.replayed++
	}
	return nil
}

// balance checks that no money was made or lost.
func (im *image) balance() *Problem {
	total := im.data.opening * int64(len(im.accounts))
	for _, a := range im.accounts {
		if a.balance < 0 || a.balance > total {
			return &Problem{WrongTotal, uint64(a.balance)}
		}
	}
	var sum int64
	for _, a := range im.accounts {
		sum += a.balance
	}
	if sum != total {
		return &Problem{WrongTotal, uint64(sum - total)}
	}
	return nil
}
