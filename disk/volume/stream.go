package volume

import (
	"slices"

	"github.com/shadowsim/shadowsim/disk"
)

// A stream is a named stream of a file: bytes beside the bytes. A shadow copy of
// the volume has them, a copy of the file's bytes has not, and whoever writes
// another file in its place removes them, as with the alternate data streams of
// NTFS.
type stream struct {
	name string
	id   inodeID
}

// stream is the place of a stream in the list, or -1.
func (n *inode) stream(name string) int {
	return slices.IndexFunc(n.streams, func(s stream) bool { return Fold(s.name) == Fold(name) })
}

// Streams lists the names of a file's streams in the order they were made.
func (v *Volume) Streams(path string) (names []string, err error) {
	err = v.streamCall("Streams", path, false, func(n *inode, _ inodeID) error {
		for _, s := range n.streams {
			names = append(names, s.name)
		}
		return nil
	})
	return names, err
}

// AdoptStream gives a file a new stream with the bytes of m, of which none is
// copied. The volume has m from now on. What m has allocated already takes no room
// on the volume, so that this takes the same time at any size; what the stream
// allocates later does. An existing stream of the name is [ErrAlreadyExists].
func (v *Volume) AdoptStream(path, name string, m *disk.Memory) error {
	return v.streamCall("AdoptStream", path, true, func(n *inode, id inodeID) error {
		if err := checkName(name); err != nil {
			return err
		}
		if n.stream(name) >= 0 {
			return ErrAlreadyExists
		}
		now := v.now()
		s := &inode{
			epoch: v.epoch, kind: isFile, parent: id, name: name,
			created: now, modified: now, data: m, dataEpoch: v.epoch,
		}
		sid := v.newInode()
		v.files.put(v.epoch, sid, s)
		owner := v.own(id)
		owner.streams = append(slices.Clip(owner.streams), stream{name, sid})
		return nil
	})
}

// OpenStream opens a stream: for reading and writing, or for reading alone if it
// or the volume is sealed. Several may have it open at once.
func (v *Volume) OpenStream(path, name string) (f *File, err error) {
	err = v.streamCall("OpenStream", path, false, func(n *inode, _ inodeID) error {
		i := n.stream(name)
		if i < 0 {
			return ErrFileNotFound
		}
		id := n.streams[i].id
		s := v.files.get(id)
		f = &File{v: v, id: id, access: ReadWrite, path: path + ":" + s.name}
		if v.sealed || s.attrs&ReadOnly != 0 {
			f.access = Read
			f.snap, f.info = s.data.Freeze(), v.info(id, s.name)
			return nil
		}
		v.lend(id, ShareWrite)
		return nil
	})
	return f, err
}

// SealStream makes a stream read-only for those who open it from now on.
func (v *Volume) SealStream(path, name string) error {
	return v.streamCall("SealStream", path, true, func(n *inode, _ inodeID) error {
		i := n.stream(name)
		if i < 0 {
			return ErrFileNotFound
		}
		v.own(n.streams[i].id).attrs |= ReadOnly
		return nil
	})
}

// RemoveStream removes a stream. Files that are open on it can do nothing any
// more but be closed.
func (v *Volume) RemoveStream(path, name string) error {
	return v.streamCall("RemoveStream", path, true, func(n *inode, id inodeID) error {
		i := n.stream(name)
		if i < 0 {
			return ErrFileNotFound
		}
		v.drop(n.streams[i].id)
		owner := v.own(id)
		owner.streams = slices.Delete(slices.Clone(owner.streams), i, i+1)
		return nil
	})
}

// streamCall runs a call on the inode of a file under the lock.
func (v *Volume) streamCall(op, path string, write bool, call func(n *inode, id inodeID) error) error {
	return v.do(op, path, write, func(elems []string) error {
		p, err := v.walk(elems, true)
		switch {
		case err != nil:
			return err
		case p.id == 0:
			return ErrFileNotFound
		case v.files.get(p.id).kind != isFile:
			return ErrAccessDenied
		}
		return call(v.files.get(p.id), p.id)
	})
}
