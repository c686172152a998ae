package requester

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/shadowsim/shadowsim/vss"
)

// RunChain restores a chain of backups, one after the other: a full backup and
// all incremental ones since, or a full backup and the last differential one, the
// oldest first. Source is not used. The writers hear with each but the last that
// more follows, and recover only then ("Restoring Incremental and Differential
// Backups").
//
// What is not such a chain is [ErrNotAChain], and nothing is restored. A restore
// that fails ends the chain; the reports are those of the restores that ran.
func (r *Restore) RunChain(ctx context.Context, chain ...fs.FS) ([]*Report, error) {
	if err := CheckChain(chain...); err != nil {
		return nil, err
	}
	var reports []*Report
	for i, source := range chain {
		one := *r
		one.Source = source
		one.AdditionalRestores = r.AdditionalRestores || i < len(chain)-1
		report, err := one.Run(ctx)
		reports = append(reports, report)
		if err != nil {
			return reports, err
		}
	}
	return reports, nil
}

// CheckChain tells whether backups build on each other, each on the one before
// it. Where writers gave stamps, the stamps must say so too. It is an
// [ErrNotAChain] otherwise.
func CheckChain(chain ...fs.FS) error {
	var docs []*vss.BackupComponentsDocument
	for _, from := range chain {
		doc, err := readDocument(from)
		if err != nil {
			return err
		}
		docs = append(docs, doc)
	}
	for i, doc := range docs {
		if err := fits(docs[:i], doc); err != nil {
			return phase("load", fmt.Sprintf("backup %d of %d", i+1, len(docs)), err)
		}
	}
	return nil
}

// fits tells whether a backup can be restored after others.
func fits(before []*vss.BackupComponentsDocument, doc *vss.BackupComponentsDocument) error {
	first := doc.BackupType == vss.BackupFull || doc.BackupType == vss.BackupCopy
	switch {
	case len(before) == 0 && !first:
		return fmt.Errorf("%w: the first one is %v", ErrNotAChain, doc.BackupType)
	case len(before) == 0:
		return nil
	case first:
		return fmt.Errorf("%w: %v behind others", ErrNotAChain, doc.BackupType)
	}
	base := before[len(before)-1]
	if base.BackupType == vss.BackupDifferential {
		return fmt.Errorf("%w: nothing builds on a differential backup", ErrNotAChain)
	}
	for _, w := range doc.Writers {
		for of := range base.WritersOf(w.WriterID) {
			for _, c := range w.Components {
				r := of.Component(c.ComponentKey)
				if r != nil && of.InstanceName == w.InstanceName && c.PreviousBackupStamp != "" && r.BackupStamp != "" && c.PreviousBackupStamp != r.BackupStamp {
					return fmt.Errorf("%w: %s builds on %q, and this is %q", ErrNotAChain, c.FullPath(), c.PreviousBackupStamp, r.BackupStamp)
				}
			}
		}
	}
	return nil
}
