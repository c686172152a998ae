package vss

import (
	"fmt"
	"strings"
)

// A RestoreOption is one item of a component's restore options. Names are
// compared without regard to case; the value is the writer's business
// ("Setting VSS Restore Options").
type RestoreOption struct {
	Component string // full path of the component it is for; "" for the one selected and all below it
	Name      string
	Value     string
}

// RestoreOptions are the restore options of a component
// (IVssComponent::GetRestoreOptions).
type RestoreOptions []RestoreOption

// The restore options that the documentation defines ("Setting VSS Restore
// Options").
const (
	OptionAuthoritative    = "Authoritative"      // All, or several of Item:… in the writer's words
	OptionRollForward      = "Roll Forward"       // None, All, or Partial:…
	OptionNewComponentName = "New Component Name" // logical path and name
)

// ParseRestoreOptions reads a restore options string: items of the form
// "name"="value" or "component":"name"="value", separated by commas. Anything
// else is an [ErrInvalidArg].
func ParseRestoreOptions(text string) (RestoreOptions, error) {
	p := optionParser{rest: text}
	var options RestoreOptions
	for p.space(); p.rest != ""; p.space() {
		if len(options) > 0 && !p.take(',') {
			return nil, p.wrong("a comma")
		}
		o, err := p.option()
		if err != nil {
			return nil, err
		}
		options = append(options, o)
	}
	return options, nil
}

// Format prints the options so that [ParseRestoreOptions] reads them. A
// quotation mark within one cannot be printed and is an [ErrInvalidArg].
func (list RestoreOptions) Format() (string, error) {
	var b strings.Builder
	for i, o := range list {
		if strings.Contains(o.Component+o.Name+o.Value, `"`) {
			return "", fail("Format", o.Name, ErrInvalidArg, "an option holds a quotation mark")
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if o.Component != "" {
			fmt.Fprintf(&b, `"%s":`, o.Component)
		}
		fmt.Fprintf(&b, `"%s"="%s"`, o.Name, o.Value)
	}
	return b.String(), nil
}

// For returns the options with that name that hold for a component of the set:
// those without a component, and those for the component itself or one above
// it.
func (list RestoreOptions) For(name string, key ComponentKey) RestoreOptions {
	path := windowsPath(trimPath(key.FullPath()))
	var found RestoreOptions
	for _, o := range list {
		covers := o.Component == "" || inDirectory(path, windowsPath(trimPath(o.Component)))
		if covers && fold(o.Name) == fold(name) {
			found = append(found, o)
		}
	}
	return found
}

// An optionParser walks a restore options string.
type optionParser struct{ rest string }

func (p *optionParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *optionParser) take(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *optionParser) quoted() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	text, rest, ok := strings.Cut(p.rest, `"`)
	p.rest = rest
	return text, ok
}

func (p *optionParser) option() (RestoreOption, error) {
	var o RestoreOption
	var ok bool
	if o.Name, ok = p.quoted(); !ok {
		return o, p.wrong("a name in quotation marks")
	}
	if p.take(':') {
		o.Component = o.Name
		if o.Name, ok = p.quoted(); !ok {
			return o, p.wrong("a name in quotation marks")
		}
	}
	if !p.take('=') {
		return o, p.wrong("=")
	}
	if o.Value, ok = p.quoted(); !ok {
		return o, p.wrong("a value in quotation marks")
	}
	return o, nil
}

func (p *optionParser) wrong(want string) error {
	return fail("ParseRestoreOptions", "", ErrInvalidArg, "%s is missing before %.40q", want, p.rest)
}
