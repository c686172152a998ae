package volume

import "io/fs"

// maxSecurity is how long the text of a security descriptor may be. An access
// control list of Windows has 64 KiB at most; in words it is at most about twice as
// long.
const maxSecurity = 128 << 10

// Security is the file's own security descriptor in words ("Security Descriptor
// String Format"), such as "D:(A;;FA;;;BA)", or "" if it has none and inherits
// all from the folder that it is in. Of a link it is the link's own if the link was
// asked for.
func (i *Info) Security() string {
	if i.security == nil {
		return ""
	}
	return *i.security
}

// SetSecurity gives a file, a directory, or what a link leads to a security
// descriptor of its own, in place of an earlier one; "" takes it away. The volume
// keeps the words as they are and asks nothing of them but that they are printable
// ASCII of a possible length: others are [ErrInvalidSecurity]. Writing a file leaves
// its descriptor alone, a new file has none, and a file that is renamed keeps it.
func (v *Volume) SetSecurity(path, sddl string) error {
	return v.do("SetSecurity", path, true, func(elems []string) error { return v.setSecurity(elems, sddl, true) })
}

// SetLinkSecurity is SetSecurity for a file, a directory, or a link itself.
func (v *Volume) SetLinkSecurity(path, sddl string) error {
	return v.do("SetSecurity", path, true, func(elems []string) error { return v.setSecurity(elems, sddl, false) })
}

// SetSecurity gives a file, a directory, or what a link leads to a security
// descriptor of its own, see [Volume.SetSecurity].
func (f *FS) SetSecurity(name, sddl string) error {
	return f.do("setsecurity", name, true, func(elems []string) error { return f.v.setSecurity(elems, sddl, true) })
}

// SetLinkSecurity is SetSecurity for a file, a directory, or a link itself.
func (f *FS) SetLinkSecurity(name, sddl string) error {
	return f.do("setsecurity", name, true, func(elems []string) error { return f.v.setSecurity(elems, sddl, false) })
}

// SetLinkSecurity is SetSecurity for a file, a directory, or a link itself, where the
// drive can.
func (h *Host) SetLinkSecurity(name, sddl string) error {
	return h.write("setsecurity", name, func(files Files, rest string) error { return setLinkSecurity(files, rest, sddl) })
}

// setLinkSecurity sets the descriptor of a link itself where files can.
func setLinkSecurity(files fs.FS, name, sddl string) error {
	if s, ok := files.(interface{ SetLinkSecurity(name, sddl string) error }); ok {
		return s.SetLinkSecurity(name, sddl)
	}
	return nil
}

// SetSecurity gives a file or directory a security descriptor of its own, where the
// drive can.
func (h *Host) SetSecurity(name, sddl string) error {
	return h.write("setsecurity", name, func(files Files, rest string) error { return setSecurity(files, rest, sddl) })
}

// setSecurity sets a descriptor where files can.
func setSecurity(files fs.FS, name, sddl string) error {
	if s, ok := files.(interface{ SetSecurity(name, sddl string) error }); ok {
		return s.SetSecurity(name, sddl)
	}
	return nil
}

func (v *Volume) setSecurity(elems []string, sddl string, follow bool) error {
	if !describes(sddl) {
		return ErrInvalidSecurity
	}
	p, err := v.find(elems, follow)
	if err != nil {
		return err
	}
	if sddl == "" {
		v.own(p.id).security = nil
		return nil
	}
	if v.security == nil || *v.security != sddl {
		v.security = &sddl
	}
	v.own(p.id).security = v.security
	return nil
}

// describes tells whether a text could be a security descriptor.
func describes(sddl string) bool {
	for i := range len(sddl) {
		if sddl[i] < ' ' || sddl[i] > '~' {
			return false
		}
	}
	return len(sddl) <= maxSecurity
}
