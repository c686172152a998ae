package vss

// requesterKind is the kind of the trace event of a requester's call:
// "requester/DoSnapshotSet".
func requesterKind(method string) string {
	if kind, ok := requesterKinds[method]; ok {
		return kind
	}
	return "requester/" + method
}

// endOf is the kind of the event at the end of what began with another:
// "vss/freeze.end".
func endOf(kind string) string {
	if end, ok := endKinds[kind]; ok {
		return end
	}
	return kind + ".end"
}

// The kinds that every backup has many of are put together once.
var requesterKinds, endKinds = func() (requester, ends map[string]string) {
	requester, ends = make(map[string]string), make(map[string]string)
	for method := range rulesOf {
		kind := "requester/" + method
		requester[method], ends[kind] = kind, kind+".end"
	}
	for _, p := range FaultPoints() {
		ends[string(p.Point)] = string(p.Point) + ".end"
	}
	return requester, ends
}()
