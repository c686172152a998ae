package volume

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// The names under which archives of Windows files keep what tar has no field for:
// those of libarchive and of the layers of Windows containers.
const (
	paxCreated    = "LIBARCHIVE.creationtime" // seconds since 1970, with a fraction
	paxAttributes = "MSWINDOWS.fileattr"      // a decimal number
	paxSecurity   = "MSWINDOWS.sd"            // SDDL
)

// WriteTar writes everything in src, a shadow copy perhaps, as a tar archive:
// directories, files and symbolic links, with their times and, where src knows
// them, creation times, attributes and security descriptors. [ReadTar] puts all of it back; any other
// tar reads it, too. Files are written whole, holes as zeros: tar of the Go
// library knows no others.
func WriteTar(w io.Writer, src fs.FS) error {
	tw := tar.NewWriter(w)
	err := fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		return failName("writetar", name, writeEntry(tw, src, name, d))
	})
	return errors.Join(err, tw.Close())
}

// writeEntry writes one file, directory or link.
func writeEntry(tw *tar.Writer, src fs.FS, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch d.Type() {
	case fs.ModeDir:
		return writeHeader(tw, name+"/", info, "")
	case fs.ModeSymlink:
		target, err := fs.ReadLink(src, name)
		if err != nil {
			return err
		}
		return writeHeader(tw, name, info, target)
	case 0:
		return writeBytes(tw, src, name)
	}
	return fs.ErrInvalid
}

// writeBytes writes a file. Its header is that of the open file, which does not
// change any more if it is one of this package.
func writeBytes(tw *tar.Writer, src fs.FS, name string) error {
	f, err := src.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := writeHeader(tw, name, info, ""); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

func writeHeader(tw *tar.Writer, name string, info fs.FileInfo, target string) error {
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Format = name, tar.FormatPAX
	if i, ok := info.(*Info); ok {
		created := i.Created()
		h.PAXRecords = map[string]string{
			paxAttributes: strconv.FormatUint(uint64(i.attrs), 10),
			paxCreated:    strconv.FormatInt(created.Unix(), 10) + "." + strconv.Itoa(1e9 + created.Nanosecond())[1:],
		}
		if sddl := i.Security(); sddl != "" {
			h.PAXRecords[paxSecurity] = sddl
		}
	}
	return tw.WriteHeader(h)
}

// ReadTar puts what is in a tar archive below the directory dir of dst, which is
// made when it is missing, as [CopyFS] does: files that exist are [fs.ErrExist],
// directories are not. Names that lead out of dir, or that Windows does not
// allow, are refused; devices and sparse files of GNU tar, which may claim any
// size, as well. A hard link becomes a file of its own that shares the bytes.
// What was put there before an error stays.
func ReadTar(dst Files, dir string, r io.Reader) error {
	x := untar{copier: copier{dst: dst, dir: dir}, tr: tar.NewReader(r), links: make(map[string]bool)}
	if err := x.mkdirAll(dir); err != nil {
		return err
	}
	for {
		h, err := x.tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return failName("readtar", dir, err)
		}
		if err := x.entry(h); err != nil {
			return failName("readtar", h.Name, err)
		}
	}
	for _, d := range x.dirs {
		if err := x.keep(d.name, d.info); err != nil {
			return err
		}
	}
	return nil
}

// An untar is a ReadTar in progress.
type untar struct {
	copier
	tr    *tar.Reader
	links map[string]bool // that were made, by their folded names
}

// entry puts one entry where it belongs.
func (x *untar) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	to, err := x.place(h.Name)
	if err != nil {
		return err
	}
	if err := x.mkdirAll(path.Dir(to)); err != nil {
		return err
	}
	info := infoOf(h)
	switch h.Typeflag {
	case tar.TypeDir:
		x.dirs = append(x.dirs, copied{to, info})
		return x.mkdir(to)
	case tar.TypeSymlink:
		return x.link(h.Linkname, to, info.(*Info))
	case tar.TypeLink:
		return x.hardLink(h.Linkname, to, info)
	case tar.TypeReg:
		for name := range h.PAXRecords {
			if strings.HasPrefix(name, "GNU.sparse.") {
				return errors.ErrUnsupported
			}
		}
		return x.create(to, x.tr, info)
	}
	return errors.ErrUnsupported
}

// link makes a symbolic link, with its own descriptor.
func (x *untar) link(target, to string, info *Info) error {
	symlink := x.dst.Symlink
	if info.attrs&Directory != 0 {
		symlink = func(target, to string) error { return symlinkDir(x.dst, target, to) }
	}
	if err := symlink(target, to); err != nil {
		return err
	}
	x.links[Fold(to)] = true
	if sddl := info.Security(); sddl != "" {
		return setLinkSecurity(x.dst, to, sddl)
	}
	return nil
}

// place is the name in dst of an entry. No way to it leads through a link of the
// archive, which may lead out of dir.
func (x *untar) place(name string) (string, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if name == "" {
		name = "."
	}
	if !fs.ValidPath(name) {
		return "", ErrInvalidName
	}
	to := path.Join(x.dir, name)
	for at := to; at != "." && at != x.dir; at = path.Dir(at) {
		if x.links[Fold(at)] {
			return "", ErrInvalidName
		}
	}
	return to, nil
}

// hardLink copies a file that is there already.
func (x *untar) hardLink(target, to string, info fs.FileInfo) error {
	from, err := x.place(target)
	if err != nil {
		return err
	}
	f, err := x.dst.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return x.create(to, f, info)
}

// create makes a file of what r says.
func (x *untar) create(to string, r io.Reader, info fs.FileInfo) error {
	if _, err := fs.Lstat(x.dst, to); err == nil {
		return ErrFileExists
	}
	w, err := x.dst.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return x.keep(to, info)
}

// keep gives what was made the metadata of its entry.
func (x *untar) keep(to string, info fs.FileInfo) error {
	err := keep(x.dst, to, info)
	if sddl := info.(*Info).Security(); sddl != "" {
		err = errors.Join(err, setSecurity(x.dst, to, sddl))
	}
	return err
}

// infoOf is what a header says about a file.
func infoOf(h *tar.Header) fs.FileInfo {
	i := &Info{name: path.Base(h.Name), modified: ticksOf(h.ModTime), created: ticksOf(h.ModTime)}
	if h.Mode&0o200 == 0 && h.Typeflag != tar.TypeDir {
		i.attrs = ReadOnly
	}
	if h.Typeflag == tar.TypeReg {
		i.attrs |= Archive
	}
	if a, err := strconv.ParseUint(h.PAXRecords[paxAttributes], 10, 32); err == nil {
		i.attrs = Attributes(a) & (settable | Directory)
	}
	if sddl := h.PAXRecords[paxSecurity]; sddl != "" {
		i.security = &sddl
	}
	whole, part, _ := strings.Cut(h.PAXRecords[paxCreated], ".")
	if sec, err := strconv.ParseInt(whole, 10, 64); err == nil {
		nsec, _ := strconv.ParseInt((part + "000000000")[:9], 10, 64)
		i.created = ticksOf(time.Unix(sec, nsec))
	}
	return i
}
