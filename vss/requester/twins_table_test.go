package requester_test

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
	"github.com/shadowsim/shadowsim/vss/vsstest"
)

// A liveClient reads a volume, or all, from the live files instead of the shadow
// copies.
type liveClient struct {
	requester.Client
	m       *vsstest.JudgeMachine
	forgets bool // leaves the volume out of the set
	only    string
	letters map[string]string // by device
	ids     map[guid.GUID]string
}

func newLiveClient(forgets bool, only string) func(*vsstest.JudgeMachine, requester.Client) requester.Client {
	return func(m *vsstest.JudgeMachine, c requester.Client) requester.Client {
		return &liveClient{c, m, forgets, only, make(map[string]string), make(map[guid.GUID]string)}
	}
}

func (c *liveClient) AddToSnapshotSet(ctx context.Context, volume string, provider guid.GUID) (guid.GUID, error) {
	letter := volume[:1]
	id, err := guid.GUID{1, letter[0]}, error(nil)
	if !c.forgets || letter != c.only || len(c.ids) == 0 {
		id, err = c.Client.AddToSnapshotSet(ctx, volume, provider)
	}
	c.ids[id] = letter
	return id, err
}

func (c *liveClient) GetSnapshotProperties(id guid.GUID) (vss.SnapshotProperties, error) {
	p, err := c.Client.GetSnapshotProperties(id)
	if c.forgets && c.ids[id] == c.only && err != nil {
		p, err = vss.SnapshotProperties{DeviceObject: c.only}, nil
	}
	c.letters[p.DeviceObject] = c.ids[id]
	return p, err
}

func (c *liveClient) Open(device string) (fs.FS, error) {
	if letter := c.letters[device]; device == c.only || !c.forgets {
		return live(c.m, letter)
	}
	return c.Client.Open(device)
}

// A lateClient repeats a call when its time is over, and does not care.
type lateClient struct{ requester.Client }

func (c lateClient) PrepareForBackup(ctx context.Context) error {
	err := c.Client.PrepareForBackup(ctx)
	_ = c.Client.SetBackupState(ctx, vss.BackupState{SelectComponents: true, Type: vss.BackupFull})
	return err
}

var errReports = errors.New("it says so")

// twins are mistakes that real requesters make.
var twins = []twin{
	{name: "never says that a component is safe", in: "simple", says: "does not say whether it has the files of documents safe",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.succeeded = func(vss.ComponentChoice) (bool, bool) { return false, false }
		})},
	{name: "copies from the live volumes", in: "simple", says: "reports a backup as failed in which nothing went wrong: copy",
		client: newLiveClient(false, "")},
	{name: "forgets the last volume and copies its live files", in: "simple", says: "makes no shadow copy of the volume of D:",
		client: newLiveClient(true, "D")},
	{name: "ignores excludes in the backup and in the restore", in: "excludes", says: "which the writer excludes",
		client: reads(func(m *vss.WriterMetadata) { m.Excludes = nil }),
		chain:  storedMetadata(func(m *vss.WriterMetadata) { m.Excludes = nil })},
	{name: "ignores recursion", in: "simple", says: "BELOW/DEEP/ONE is missing",
		client: reads(func(m *vss.WriterMetadata) {
			for i := range m.Components {
				for k := range m.Components[i].Files {
					m.Components[i].Files[k].Recursive = false
				}
			}
		})},
	{name: "reads the original in place of the alternate path", in: "spit", says: "makes no shadow copy of the volume of E:",
		client: reads(func(m *vss.WriterMetadata) {
			for i := range m.Components {
				for k := range m.Components[i].Files {
					m.Components[i].Files[k].AlternatePath = ""
				}
			}
		})},
	{name: "restores to the alternate path of the backup", in: "spit", says: "reports a restore as failed",
		chain: storedMetadata(func(m *vss.WriterMetadata) {
			for i := range m.Components {
				for k := range m.Components[i].Files {
					if set := &m.Components[i].Files[k]; set.AlternatePath != "" {
						m.Restore.Method = vss.MethodRestoreToAlternateLocation
						m.Restore.AlternateLocations = append(m.Restore.AlternateLocations, vss.FileMapping{FileSpec: set.FileSpec, Destination: set.AlternatePath})
					}
				}
			}
		})},
	{name: "never asks for the writers' status", in: "simple", says: "does not ask with GatherWriterStatus how the writers did in DoSnapshotSet",
		client: skips("GatherWriterStatus")},
	{name: "asks for the writers' status and does not look at it", in: "fail-freeze", says: "reports a backup as good in which TestWriter1 refused",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.status = func(st vss.WriterStatus) vss.WriterStatus {
				st.State, st.WriterFailure = vss.StateStable, vss.WriterFailure{}
				return st
			}
		})},
	{name: "gives up without AbortBackup", in: "fail-freeze", says: "ends a backup with neither BackupComplete nor AbortBackup",
		client: skips("AbortBackup")},
	{name: "gives up before the shadow copies without AbortBackup", in: "fail-prepareforbackup", says: "gives a backup up after StartSnapshotSet without AbortBackup",
		client: skips("AbortBackup")},
	{name: "vouches for components of a writer that failed", in: "fail-postsnapshot", says: "vouches for frail although the writer failed in PostSnapshot",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.status = func(st vss.WriterStatus) vss.WriterStatus {
				st.State, st.WriterFailure = vss.StateStable, vss.WriterFailure{}
				return st
			}
		})},
	{name: "says what kind of backup it is when the writers have prepared", in: "simple", says: "at SetBackupState, the requester calls it out of order",
		client: func(_ *vsstest.JudgeMachine, c requester.Client) requester.Client { return lateClient{c} }},
	{name: "reports half a restore as nothing done", in: "simple", says: "reports VSS_RS_NONE for documents, but has changed",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.restored = func(vss.FileRestoreStatus) (vss.FileRestoreStatus, bool) { return vss.FilesNone, true }
		})},
	{name: "ends without BackupComplete", in: "simple", says: "ends a backup with neither BackupComplete nor AbortBackup",
		client: skips("BackupComplete")},
	{name: "never releases its object", in: "simple", says: "never releases the object of a restore",
		client: skips("Release")},
	{name: "does not add components that must be added", in: "selectability", says: "Executables: E_INVALIDARG",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.skipsAdd = func(comp vss.ComponentChoice) bool { return comp.Name == "Executables" || comp.Name == "ConfigFiles" }
			c.succeeded = func(comp vss.ComponentChoice) (bool, bool) { return true, !c.skipsAdd(comp) }
		})},
	{name: "ignores dependencies", in: "dependency", says: "on which it depends",
		client: reads(func(m *vss.WriterMetadata) {
			for i := range m.Components {
				m.Components[i].Dependencies = nil
			}
		})},
	{name: "offers partial files and ignores the ranges", in: "partial-only", says: "has changed outside of the ranges",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.record = func(w *vss.WriterRecord) *vss.WriterRecord {
				for _, r := range w.Components {
					r.PartialFiles = nil
				}
				return w
			}
		})},
	{name: "writes parts over the whole file", in: "partial", says: "has other bytes in range 64:32",
		chain: documents(func(d *vss.BackupComponentsDocument) {
			for _, w := range d.Writers {
				for _, r := range w.Components {
					r.PartialFiles = nil
				}
			}
		})},
	{name: "ignores which files have changed", in: "differenced", says: "reports VSS_RS_ALL for logs, but D/LOGS",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.record = func(w *vss.WriterRecord) *vss.WriterRecord {
				for _, r := range w.Components {
					r.DifferencedFiles = nil
				}
				return w
			}
		})},
	{name: "takes the moment of the last change an hour late", in: "differenced", says: "reports VSS_RS_ALL for logs, but D/LOGS",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.record = func(w *vss.WriterRecord) *vss.WriterRecord {
				for _, r := range w.Components {
					for i := range r.DifferencedFiles {
						r.DifferencedFiles[i].LastModified += 3600 * 10_000_000
					}
				}
				return w
			}
		})},
	{name: "takes an incremental backup for a differential one", in: "simple", says: "where VSS_BT_INCREMENTAL was ordered",
		backup: func(_ *vsstest.JudgeMachine, b *requester.Backup) {
			if b.Type == vss.BackupIncremental {
				b.Type = vss.BackupDifferential
			}
		}},
	{name: "does not say which backup it builds on", in: "simple", says: "does not say which backup of documents it builds on",
		client: skips("SetPreviousBackupStamp")},
	{name: "builds on a stale document", in: "simple", says: "where the last one is",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) { c.stamp = "TestWriter1-1" }),
		chain:  func(chain []fs.FS) []fs.FS { return chain }},
	{name: "restores increments in the wrong order", in: "simple", says: "on which it builds",
		chain: func(chain []fs.FS) []fs.FS {
			out := slices.Clone(chain)
			if n := len(out); n > 2 {
				out[n-1], out[n-2] = out[n-2], out[n-1]
			}
			return out
		}},
	{name: "leaves an increment out", in: "simple", says: "hears of 2 restores, where 3",
		chain: func(chain []fs.FS) []fs.FS {
			if len(chain) > 2 {
				return append(slices.Clone(chain[:1]), chain[2:]...)
			}
			return chain
		}},
	{name: "does not say that more restores follow", in: "simple", says: "the writer has recovered",
		client: skips("SetAdditionalRestores")},
	{name: "says with the last restore that more follow", in: "simple", says: "that more restores follow, and none came",
		restore: func(_ *vsstest.JudgeMachine, r *requester.Restore) { r.AdditionalRestores = true }},
	{name: "writes over files that are there although the method forbids it", in: "not-there", says: "whose restore method VSS_RME_RESTORE_IF_NOT_THERE has no place for it",
		chain: storedMetadata(func(m *vss.WriterMetadata) {
			m.Restore.Method = vss.MethodRestoreIfCanReplace
		})},
	{name: "claims to have written over a file in use", in: "custom", says: "has other bytes",
		restore: func(_ *vsstest.JudgeMachine, r *requester.Restore) {
			r.Destination = forgetful{Files: r.Destination, force: true}
		}},
	{name: "ignores alternate locations", in: "alternate-mapping", says: "reports a restore as failed in which nothing went wrong",
		chain: storedMetadata(func(m *vss.WriterMetadata) {
			m.Restore.AlternateLocations = nil
			if m.Restore.Method != vss.MethodRestoreIfNotThere {
				m.Restore.Method = vss.MethodRestoreIfCanReplace
			}
		})},
	{name: "uses alternate locations and does not record it", in: "alternate-mapping", says: "went to its alternate location",
		client: skips("AddAlternativeLocationMapping")},
	{name: "sends files to new targets and does not record it", in: "simple", says: "does not send documents to the new targets",
		client: skips("AddNewTarget")},
	{name: "restores without the writers", in: "simple", says: "hears of 0 restores, where 1",
		client: skips("SetSelectedForRestore")},
	{name: "selects components of writers that take no part", in: "writer-never", says: "selects components of a writer that takes no part",
		chain: storedMetadata(func(m *vss.WriterMetadata) {
			m.Restore.WriterRestore = vss.WriterRestoreAlways
		})},
	{name: "restores a subcomponent and does not say so", in: "selectability", says: "where only writerData\\Usage was ordered",
		client: skips("AddRestoreSubcomponent")},
	{name: "restores everything where a subcomponent is asked for", in: "selectability", says: "where only writerData\\Usage was ordered",
		restore: func(_ *vsstest.JudgeMachine, r *requester.Restore) {
			r.Selection = nil
		}},
	{name: "always reports that all files are in place", in: "fail-prerestore", says: "whose writer has refused the restore",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.restored = func(vss.FileRestoreStatus) (vss.FileRestoreStatus, bool) { return vss.FilesAll, true }
		})},
	{name: "reports a good restore as a partial one", in: "simple", says: "although all its files are in place",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.restored = func(vss.FileRestoreStatus) (vss.FileRestoreStatus, bool) { return vss.FilesFailed, true }
		})},
	{name: "does not report how files were put back", in: "simple", says: "does not say how the files of documents were put back",
		client: misleads(func(_ *vsstest.JudgeMachine, c *misled) {
			c.restored = func(st vss.FileRestoreStatus) (vss.FileRestoreStatus, bool) { return st, false }
		})},
	{name: "skips PostRestore", in: "simple", says: "does not tell the writer how the restore ended",
		client: skips("PostRestore")},
	{name: "skips PostRestore after a failure", in: "fail-prerestore", says: "does not tell the writer how the restore ended",
		client: func(m *vsstest.JudgeMachine, c requester.Client) requester.Client {
			x := &misled{Client: c}
			x.restored = func(st vss.FileRestoreStatus) (vss.FileRestoreStatus, bool) {
				if st != vss.FilesAll {
					x.skips = []string{"PostRestore"}
				}
				return st, true
			}
			return x
		}},
	{name: "loses times and attributes in the target", in: "simple", says: "has the attributes 0x0 where",
		backup: func(_ *vsstest.JudgeMachine, b *requester.Backup) {
			b.Target = forgetful{Files: b.Target, plain: true}
		}},
	{name: "does not put times and attributes back", in: "simple", says: "has the attributes 0x0 where",
		restore: func(_ *vsstest.JudgeMachine, r *requester.Restore) {
			r.Destination = plainTree{r.Destination}
		}},
	{name: "loses the end of files", in: "simple", says: "has other bytes",
		restore: func(_ *vsstest.JudgeMachine, r *requester.Restore) {
			r.Destination = forgetful{Files: r.Destination, short: true}
		}},
	{name: "reports every backup and restore as good", in: "not-there", says: "reports a restore as good in which system has no place",
		then: func(error) error { return nil }},
	{name: "reports every backup and restore as failed", in: "simple", says: "reports a backup as failed in which nothing went wrong: it says so",
		then: func(err error) error { return errors.Join(err, errReports) }},
}

var allCases = flag.Bool("twins.all", false, "try each twin with every configuration")

// TestTwins: each mistake is found with the configuration that is made for it, and
// for what it is. With the flag each is tried with all configurations.
func TestTwins(t *testing.T) {
	byName := make(map[string]vsstest.JudgeCase)
	for _, c := range vsstest.JudgeCases() {
		byName[c.Name] = c
	}
	for i := range twins {
		w := &twins[i]
		t.Run(w.name, func(t *testing.T) {
			cases := []vsstest.JudgeCase{byName[w.in]}
			if *allCases {
				cases = nil
			}
			err := vsstest.TestRequester(reference(w), cases...)
			if err == nil || !strings.Contains(err.Error(), w.says) {
				t.Errorf("nobody says that it %s; found:\n%v", w.says, err)
			}
		})
	}
}
