package vsstest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/vss"
)

// judgeMetadata finds what the writer said about itself and checks it.
func (r *writerRun) judgeMetadata(b *vss.BackupComponents) (*vss.WriterMetadata, error) {
	n, err := b.GetWriterMetadataCount()
	if err != nil {
		return nil, err
	}
	for i := range n {
		md, err := b.GetWriterMetadata(i)
		if err != nil {
			return nil, err
		}
		if md.Identity.WriterID == r.Config.ClassID {
			r.judgeOneMetadata(md)
			return md, nil
		}
	}
	return nil, nil
}

func (r *writerRun) judgeOneMetadata(md *vss.WriterMetadata) {
	if err := md.Check(); err != nil {
		r.breaks(promiseMetadata, "Identify", r.at(), "%s", oneLine(err))
	}
	same := *md
	same.Identity.InstanceID = guid.GUID{}
	var buf bytes.Buffer
	if err := same.WriteXML(&buf); err != nil {
		r.breaks(promiseMetadata, "Identify", r.at(), "%s", oneLine(err))
		return
	}
	switch s := buf.String(); r.metadata {
	case "":
		r.metadata = s
	case s:
	default:
		r.breaks(promiseStable, "Identify", r.at(), "it is %s", firstDifference(r.metadata, s))
	}
	r.logs = nil
	for i := range md.Components {
		r.logs = append(r.logs, md.Components[i].LogFiles...)
	}
}

// firstDifference shows where two texts part.
func firstDifference(was, is string) string {
	i := 0
	for i < min(len(was), len(is)) && was[i] == is[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, i-20):min(len(s), i+40)] }
	return fmt.Sprintf("%q, and was %q", cut(is), cut(was))
}

// judgeFrozen looks at the fresh copy before the writer has touched it. The
// writer has been frozen when it was taken: it would not get PostSnapshot
// otherwise.
func (r *writerRun) judgeFrozen(ev *vss.PostSnapshotEvent) {
	if r.Consistent == nil {
		return
	}
	files, err := r.image(func(v vss.Volume) (fs.FS, error) {
		device, err := ev.SnapshotDeviceName(v.Name())
		if err != nil {
			return nil, err
		}
		return r.service.Open(device)
	})
	if errors.Is(err, vss.ErrObjectNotFound) {
		return // not in the set
	}
	if err == nil {
		err = r.Consistent(files)
	}
	if err != nil {
		when := fmt.Sprintf("in session %s at %v", guid.String(ev.SessionID())[:8], r.world.Now())
		r.breaks(promiseImage, "Freeze", when, "%s", oneLine(err))
	}
}

// judgeRestored asks whether the writer has what was put back.
func (r *writerRun) judgeRestored(ev *vss.PostRestoreEvent) {
	if r.Restored == nil || r.saved == nil {
		return
	}
	for _, c := range ev.Components().All() {
		if st, err := c.FileRestoreStatus(); err != nil || st != vss.FilesAll || c.AdditionalRestores() {
			return
		}
	}
	if err := r.Restored(r.writer, &image{files: r.saved.files, sealed: true}); err != nil {
		r.breaks(promiseTaken, "PostRestore", r.at(), "%s", oneLine(err))
	}
}

// judgeCopy looks at the finished copy: all of it, and what the file sets name.
func (x *round) judgeCopy() error {
	r := x.run
	st, ok := x.ownStatus()
	if !ok || st.State != vss.StateWaitingForBackupComplete || st.Code.Failed() {
		return nil
	}
	files, err := r.image(x.open)
	if err != nil {
		return err
	}
	bad := false
	if r.Consistent != nil {
		if err := r.Consistent(files); err != nil {
			bad = true
			r.breaks(promiseRecovered, "PostSnapshot", r.at(), "%s", oneLine(err))
		}
	}
	if len(r.own) > 1 || x.metadata == nil || bad {
		return nil
	}
	named, err := x.named(files)
	if err == nil && r.Consistent != nil {
		err = r.Consistent(&image{files: named, sealed: true})
	}
	if err != nil {
		r.breaks(promiseComplete, "Identify", r.at(), "%s", oneLine(err))
	}
	x.files = named
	return nil
}

// named is what a backup holds: the files that the file sets name.
func (x *round) named(files fs.FS) (contents, error) {
	opt := vss.ExpandOptions{}
	for _, e := range x.metadata.Excludes {
		opt.Excludes = append(opt.Excludes, e.FileSpec)
	}
	out := contents{}
	for i := range x.metadata.Components {
		for set := range x.metadata.Components[i].FileSets() {
			found, err := vss.ExpandFileSet(files, x.run.own[0].Name(), *set, opt)
			if errors.Is(err, vss.ErrObjectNotFound) && x.elsewhere(set) {
				continue
			}
			if err != nil {
				return out, err
			}
			for _, f := range found {
				if !f.Type.IsRegular() {
					continue
				}
				if out[f.Name], err = fs.ReadFile(files, f.Name); err != nil {
					return out, err
				}
			}
		}
	}
	return out, nil
}

// elsewhere tells whether a file set lies on another volume.
func (x *round) elsewhere(set *vss.FileSet) bool {
	return !strings.HasPrefix(strings.ToUpper(set.Source().Path), strings.ToUpper(x.run.own[0].Name()[:2]))
}

// keepsLogs runs a handler that may truncate logs only if the backup succeeded.
func (p *probe) keepsLogs(succeeded bool, e vss.Event, fn func() error) error {
	before := p.run.logSizes()
	err := fn()
	if succeeded || p.actor.Dead() {
		return err
	}
	after := p.run.logSizes()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] < before[name] {
			p.run.breaks(promiseLogs, e.String(), p.run.at(), "%s went from %d to %d bytes", name, before[name], after[name])
			break
		}
	}
	return err
}

// logSizes are the sizes of the log files that the metadata names.
func (r *writerRun) logSizes() map[string]int64 {
	v, ok := r.own[0].(*Volume)
	if !ok || len(r.own) > 1 {
		return nil
	}
	out := make(map[string]int64)
	for _, set := range r.logs {
		found, _ := vss.ExpandFileSet(v.Files(), v.Name(), set, vss.ExpandOptions{})
		for _, f := range found {
			out[f.Name] = int64(len(v.files[f.Name]))
		}
	}
	return out
}

// judgePanics looks for panics of the writer's processes, the kit's own among
// them where it calls the options.
func (r *writerRun) judgePanics() {
	for _, p := range r.world.Panics() {
		_, name, _ := strings.Cut(p.Process, ":")
		name, _, _ = strings.Cut(name, "#")
		r.breaks(promisePanic, name, "", "%s", oneLine(p))
	}
}

// A tally is what the trace has said so far.
type tally struct {
	seen   int  // events
	writes int  // of the writer's processes
	slowed bool // a fault has delayed something
}

// ours tells whether an actor belongs to a process of the writer.
func ours(path string) bool {
	rest, ok := strings.CutPrefix(path, "kit/writer")
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '#')
}

func isWrite(kind string) bool { return kind == "volume/write" || kind == "disk/write" }

// count takes note of the writes since it was called last.
func (r *writerRun) count() {
	tr := r.world.Trace()
	for _, e := range tr[r.tally.seen:] {
		if isWrite(e.Kind) && ours(e.Actor) {
			r.tally.writes++
		}
		r.tally.slowed = r.tally.slowed || e.Kind == "fault" && strings.HasPrefix(e.Get("outcome"), "delay")
	}
	r.tally.seen = len(tr)
}

// failedEvent is the event that the writer failed last, or heard last.
func (r *writerRun) failedEvent() string {
	for i := len(r.calls) - 1; i >= 0; i-- {
		if r.calls[i].err != nil {
			return r.calls[i].event.String()
		}
	}
	return r.lastEvent()
}
