package requester_test

import (
	"testing"

	"github.com/shadowsim/shadowsim/vss"
	"github.com/shadowsim/shadowsim/vss/requester"
)

// FuzzTextFiles: whatever stands beside the document of a backup, a restore ends
// without a panic.
func FuzzTextFiles(f *testing.F) {
	for _, text := range []string{"", "D\\db\\data\r\nD:(A;;FA;;;BA)\r\n", "D\\db\\data\nD::\n", "\r\n", "D\\..\\x\r\nD:", "\\\n\xff\n"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, security, missing string) {
		l := newLab(t)
		l.write(`D:\db\data`, "rows")
		l.add(&app{name: "db", parts: []vss.ComponentInfo{group("db", `D:\db\data`)}})
		l.mustBackup()
		put(t, l.target, requester.SecurityName, security)
		put(t, l.target, requester.MissingName, missing)
		_, err := l.restore()
		if p := l.w.Panics(); len(p) > 0 {
			t.Fatalf("%v: %v", err, p)
		}
	})
}
