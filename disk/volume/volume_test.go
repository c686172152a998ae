package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"
	"testing/iotest"
	"time"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/disk/volume"
)

// A File holds a disk image.
var _ interface {
	disk.Store
	disk.Resizer
	disk.Discarder
	disk.Extenter
	disk.Differ
	disk.Snapshotter
	disk.Cloner
} = (*volume.File)(nil)

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		code volume.Code
		text string
		hr   uint32
		is   error
	}{
		{volume.ErrFileNotFound, "ERROR_FILE_NOT_FOUND (2)", 0x80070002, fs.ErrNotExist},
		{volume.ErrPathNotFound, "ERROR_PATH_NOT_FOUND (3)", 0x80070003, fs.ErrNotExist},
		{volume.ErrAccessDenied, "ERROR_ACCESS_DENIED (5)", 0x80070005, fs.ErrPermission},
		{volume.ErrInvalidHandle, "ERROR_INVALID_HANDLE (6)", 0x80070006, fs.ErrClosed},
		{volume.ErrNotSameDevice, "ERROR_NOT_SAME_DEVICE (17)", 0x80070011, nil},
		{volume.ErrWriteProtect, "ERROR_WRITE_PROTECT (19)", 0x80070013, fs.ErrPermission},
		{volume.ErrSharingViolation, "ERROR_SHARING_VIOLATION (32)", 0x80070020, nil},
		{volume.ErrNotSupported, "ERROR_NOT_SUPPORTED (50)", 0x80070032, errors.ErrUnsupported},
		{volume.ErrFileExists, "ERROR_FILE_EXISTS (80)", 0x80070050, fs.ErrExist},
		{volume.ErrInvalidParameter, "ERROR_INVALID_PARAMETER (87)", 0x80070057, fs.ErrInvalid},
		{volume.ErrDiskFull, "ERROR_DISK_FULL (112)", 0x80070070, nil},
		{volume.ErrInvalidName, "ERROR_INVALID_NAME (123)", 0x8007007B, fs.ErrInvalid},
		{volume.ErrDirNotEmpty, "ERROR_DIR_NOT_EMPTY (145)", 0x80070091, fs.ErrExist},
		{volume.ErrAlreadyExists, "ERROR_ALREADY_EXISTS (183)", 0x800700B7, fs.ErrExist},
		{volume.ErrFilenameTooLong, "ERROR_FILENAME_EXCED_RANGE (206)", 0x800700CE, fs.ErrInvalid},
		{volume.ErrFileTooLarge, "ERROR_FILE_TOO_LARGE (223)", 0x800700DF, nil},
		{volume.ErrDirectory, "ERROR_DIRECTORY (267)", 0x8007010B, nil},
		{volume.ErrNoSuchDevice, "ERROR_NO_SUCH_DEVICE (433)", 0x800701B1, fs.ErrNotExist},
		{volume.ErrCantResolveName, "ERROR_CANT_RESOLVE_FILENAME (1921)", 0x80070781, nil},
		{volume.ErrNotReparsePoint, "ERROR_NOT_A_REPARSE_POINT (4390)", 0x80071126, fs.ErrInvalid},
		{volume.Code(1), "Win32 error 1", 0x80070001, nil},
	} {
		if c.code.Error() != c.text || c.code.HRESULT() != c.hr {
			t.Errorf("%s 0x%08X, want %s 0x%08X", c.code, c.code.HRESULT(), c.text, c.hr)
		}
		for _, is := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrClosed, errors.ErrUnsupported} {
			wrapped := fmt.Errorf("copy: %w", &volume.Error{Op: "Open", Path: `\x`, Err: c.code})
			if got := errors.Is(wrapped, is); got != (is == c.is) {
				t.Errorf("errors.Is(%v, %v) = %v", wrapped, is, got)
			}
		}
	}
}

func TestNamesKeepCaseAndAreFoundInAny(t *testing.T) {
	v := sample(t)
	must(t, v.WriteFile(`\vms\SQL01\DISK.VHD`, []byte("new")))
	info, err := v.Stat(`\vMs\sQl01\disk.vhd`)
	must(t, err)
	if info.Name() != "Disk.vhd" || info.Size() != 3 {
		t.Errorf("found %v", info)
	}
	before := info.FileID()
	must(t, v.Rename(`\VMs\sql01\disk.vhd`, `\VMs\sql01\DISK.vhd`))
	info, err = v.Stat(`\VMs\sql01\disk.vhd`)
	must(t, err)
	if info.Name() != "DISK.vhd" || info.FileID() != before {
		t.Errorf("a change of case made it %v", info)
	}
	wantCode(t, v.Mkdir(`\VMS\ÄÖÜ.TXT`), volume.ErrAlreadyExists)
}

func TestRefusals(t *testing.T) {
	v := sample(t)
	f, err := v.OpenFile(`\VMs\sql01\Disk.vhd`, volume.ReadWrite, volume.Exclusive)
	must(t, err)
	must(t, v.WriteFile(`\plain`, []byte("x")))
	must(t, v.Symlink(`\loop`, `\loop`))
	open := func(path string, a volume.Access) error { _, err := v.OpenFile(path, a, volume.Exclusive); return err }
	for _, c := range []struct {
		what string
		err  error
		want volume.Code
	}{
		{"open a missing file", open(`\x`, volume.Read), volume.ErrFileNotFound},
		{"open below a missing directory", open(`\x\y`, volume.Read), volume.ErrPathNotFound},
		{"open below a file", open(`\plain\y`, volume.Read), volume.ErrPathNotFound},
		{"open a directory", open(`\VMs`, volume.Read), volume.ErrAccessDenied},
		{"write a directory", v.WriteFile(`\VMs`, nil), volume.ErrAccessDenied},
		{"open for nothing", open(`\plain`, 0), volume.ErrInvalidParameter},
		{"truncate without write", open(`\plain`, volume.Read|volume.Truncate), volume.ErrInvalidParameter},
		{"open a loop", open(`\loop`, volume.Read), volume.ErrCantResolveName},
		{"make anew what exists", open(`\plain`, volume.Write|volume.CreateNew), volume.ErrFileExists},
		{"write a read-only file", v.WriteFile(`\VMs\nothing`, nil), volume.ErrAccessDenied},
		{"remove a read-only file", v.Remove(`\VMs\nothing`), volume.ErrAccessDenied},
		{"open a file being written", open(`\VMs\sql01\Disk.vhd`, volume.Write), volume.ErrSharingViolation},
		{"write over a file being written", v.WriteFile(`\VMs\sql01\Disk.vhd`, nil), volume.ErrSharingViolation},
		{"remove a file being written", v.Remove(`\VMs\sql01\Disk.vhd`), volume.ErrSharingViolation},
		{"rename a file being written", v.Rename(`\VMs\sql01\Disk.vhd`, `\x`), volume.ErrSharingViolation},
		{"replace a file being written", v.Rename(`\plain`, `\VMs\sql01\Disk.vhd`), volume.ErrSharingViolation},
		{"rename the directory above", v.Rename(`\VMs`, `\x`), volume.ErrAccessDenied},
		{"remove the directory above", v.RemoveAll(`\VMs\sql01`), volume.ErrSharingViolation},
		{"remove a full directory", v.Remove(`\VMs`), volume.ErrDirNotEmpty},
		{"remove the root", v.RemoveAll(`\`), volume.ErrAccessDenied},
		{"remove a missing file", v.Remove(`\x`), volume.ErrFileNotFound},
		{"make an existing directory", v.Mkdir(`\VMs`), volume.ErrAlreadyExists},
		{"make a directory below a missing one", v.Mkdir(`\x\y`), volume.ErrPathNotFound},
		{"make directories over a file", v.MkdirAll(`\plain`), volume.ErrAlreadyExists},
		{"make directories below a file", v.MkdirAll(`\plain\x`), volume.ErrPathNotFound},
		{"rename into itself", v.Rename(`\ProgramData`, `\ProgramData\Virtual Machines\x`), volume.ErrInvalidParameter},
		{"rename onto a directory", v.Rename(`\plain`, `\ProgramData`), volume.ErrAlreadyExists},
		{"rename a directory onto a file", v.Rename(`\ProgramData`, `\plain`), volume.ErrAlreadyExists},
		{"rename onto a read-only file", v.Rename(`\plain`, `\VMs\nothing`), volume.ErrAccessDenied},
		{"rename a missing file", v.Rename(`\x`, `\y`), volume.ErrFileNotFound},
		{"rename to another drive", v.Rename(`\plain`, `D:\plain`), volume.ErrInvalidName},
		{"rename the root", v.Rename(`\`, `\x`), volume.ErrAccessDenied},
		{"a path with a drive", v.Mkdir(`C:\x`), volume.ErrInvalidName},
		{"link where something is", v.Symlink(`\x`, `\plain`), volume.ErrAlreadyExists},
		{"link to nowhere", v.Symlink(``, `\x`), volume.ErrInvalidName},
		{"link to a bad name", v.Symlink(`a?b`, `\x`), volume.ErrInvalidName},
		{"set an unknown attribute", v.SetAttributes(`\plain`, 0x800), volume.ErrInvalidParameter},
		{"negative size", f.Resize(-1), volume.ErrInvalidParameter},
		{"enormous size", f.Resize(1<<48 + 1), volume.ErrFileTooLarge},
		{"discard outside", f.Discard(f.Size(), 1), volume.ErrInvalidParameter},
		{"discard far outside", f.Discard(1<<62, 1<<62), volume.ErrInvalidParameter},
	} {
		if got, _ := errors.AsType[volume.Code](c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
	_, err = f.WriteAt([]byte{1}, 1<<48)
	wantCode(t, err, volume.ErrFileTooLarge)
	_, err = f.WriteAt([]byte{1}, -1)
	wantCode(t, err, volume.ErrInvalidParameter)
	_, err = f.ReadAt([]byte{1}, -1)
	wantCode(t, err, volume.ErrInvalidParameter)
	must(t, v.RemoveAll(`\x\y\z`))
	must(t, f.Close())
	must(t, v.Remove(`\VMs\sql01\Disk.vhd`))
}

func TestSharing(t *testing.T) {
	v := sample(t)
	open := func(a volume.Access, s volume.Share) (*volume.File, error) {
		return v.OpenFile(`\VMs\sql01\config.xml`, a, s)
	}
	a, err := open(volume.Write, volume.ShareWrite)
	must(t, err)
	_, err = open(volume.Write, volume.Exclusive)
	wantCode(t, err, volume.ErrSharingViolation)
	b, err := open(volume.ReadWrite, volume.ShareWrite)
	must(t, err)
	must(t, a.Close())
	wantCode(t, a.Close(), volume.ErrInvalidHandle)
	wantCode(t, v.Remove(`\VMs\sql01\config.xml`), volume.ErrSharingViolation)
	must(t, v.WriteFile(`\VMs\sql01\config.xml`, []byte("replaced")))
	data, err := io.ReadAll(b)
	must(t, err)
	if string(data) != "replaced" {
		t.Errorf("a shared handle reads %q", data)
	}
	r, err := open(volume.Read, volume.Exclusive)
	must(t, err)
	must(t, b.Close())
	must(t, v.Remove(`\VMs\sql01\config.xml`))
	if _, err := r.WriteAt([]byte("x"), 0); !errors.Is(err, volume.ErrAccessDenied) {
		t.Errorf("writing a file opened for reading: %v", err)
	}
	if _, err := b.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) || b.Size() != 0 || b.Bytes().Size() != 0 {
		t.Errorf("reading a closed file: %v", err)
	}
}

func TestFileReads(t *testing.T) {
	v := sample(t)
	want, err := v.ReadFile(`\VMs\sql01\Disk.vhd`)
	must(t, err)
	f, err := v.Open(`\VMs\sql01\Disk.vhd`)
	must(t, err)
	must(t, iotest.TestReader(f, want))
	must(t, f.Close())
	f, err = v.OpenFile(`\VMs\sql01\Disk.vhd`, volume.ReadWrite, volume.Exclusive)
	must(t, err)
	must(t, iotest.TestReader(f, want))
	if _, err := f.Seek(0, 9); !errors.Is(err, volume.ErrInvalidParameter) {
		t.Errorf("Seek from nowhere: %v", err)
	}
}

func TestTimesAndAttributes(t *testing.T) {
	now := time.Date(2008, time.February, 27, 12, 0, 0, 0, time.UTC)
	v := volume.New(volume.Config{Now: func() time.Time { return now }})
	must(t, v.WriteFile(`\a`, []byte("x")))
	created := now
	now = now.Add(time.Hour)
	must(t, v.SetAttributes(`\a`, volume.Hidden))
	f, err := v.OpenFile(`\a`, volume.Write, volume.Exclusive)
	must(t, err)
	_, err = f.WriteAt([]byte("y"), 0)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	i := info.(*volume.Info)
	if !i.Created().Equal(created) || !i.ModTime().Equal(now) || i.Attributes() != volume.Hidden|volume.Archive {
		t.Errorf("after a write: %v created %v, %v", i, i.Created(), i.Attributes())
	}
	fine := time.Date(1999, 12, 31, 23, 59, 59, 123456789, time.FixedZone("", 3600))
	must(t, v.Chtimes(`\a`, volume.Times{Created: fine}))
	i, err = v.Stat(`\a`)
	must(t, err)
	if want := "1999-12-31T22:59:59.1234567Z"; i.Created().Format(time.RFC3339Nano) != want || !i.ModTime().Equal(now) {
		t.Errorf("created %v, want %s, modified %v", i.Created(), want, i.ModTime())
	}
	for _, odd := range []time.Time{time.Unix(-1<<62, 0), time.Unix(1<<62, 0), time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC)} {
		must(t, v.Chtimes(`\a`, volume.Times{Modified: odd}))
		i, err = v.Stat(`\a`)
		must(t, err)
		if y := i.ModTime().Year(); y < 1601 || y > 31000 {
			t.Errorf("%v became %v", odd, i.ModTime())
		}
	}
	if got := (volume.ReadOnly | volume.System | volume.Directory | volume.ReparsePoint).String(); got != "ReadOnly|System|Directory|ReparsePoint" {
		t.Errorf("attributes print %s", got)
	}
	if got := volume.Attributes(0).String(); got != "Normal" {
		t.Errorf("no attributes print %s", got)
	}
}

func TestLinks(t *testing.T) {
	v := sample(t)
	must(t, v.SymlinkDir(`later`, `\dirlink`))
	must(t, v.Symlink(`VMs`, `\vmlink`))
	must(t, v.Symlink(`\VMs\sql01\new.txt`, `\newlink`))
	for path, want := range map[string]volume.Attributes{
		`\dirlink`: volume.Directory | volume.ReparsePoint, `\vmlink`: volume.Directory | volume.ReparsePoint,
		`\newlink`: volume.ReparsePoint,
	} {
		info, err := v.Lstat(path)
		must(t, err)
		if info.Attributes() != want || info.Mode().Type() != fs.ModeSymlink || info.IsDir() {
			t.Errorf("%s is %v, %v, want %v", path, info, info.Attributes(), want)
		}
	}
	must(t, v.WriteFile(`\newlink`, []byte("made through a link")))
	if data, err := v.ReadFile(`\vmlink\sql01\NEW.TXT`); string(data) != "made through a link" {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := v.Stat(`\newlink`); err != nil || info.Name() != "newlink" || info.Size() != 19 {
		t.Errorf("Stat through a link: %v, %v", info, err)
	}
	if target, err := v.Readlink(`\newlink`); target != `\VMs\sql01\new.txt` {
		t.Errorf("Readlink: %s, %v", target, err)
	}
	if path, err := v.Resolve(`\VMLINK\SQL01\x`); path != `\VMs\sql01\x` {
		t.Errorf("Resolve: %s, %v", path, err)
	}
	must(t, v.MkdirAll(`\vmlink\sql01\deep\er`))
	must(t, v.RemoveAll(`\vmlink`))
	if _, err := v.Stat(`\VMs\sql01\deep\er`); err != nil {
		t.Errorf("removing a link removed what it led to: %v", err)
	}
	for i := range 70 {
		must(t, v.Symlink(fmt.Sprintf("chain%d", i+1), fmt.Sprintf(`\chain%d`, i)))
	}
	must(t, v.WriteFile(`\chain70`, []byte("end")))
	_, err := v.ReadFile(`\chain7`)
	must(t, err)
	_, err = v.ReadFile(`\chain6`)
	wantCode(t, err, volume.ErrCantResolveName)
}

func TestFreeSpace(t *testing.T) {
	v := volume.New(volume.Config{Capacity: 10 << 12})
	free := func(want int64) {
		t.Helper()
		if got := v.Free(); got != want<<12 {
			t.Errorf("%d bytes free, want %d clusters", got, want)
		}
	}
	must(t, v.WriteFile(`\a`, []byte("small")))
	free(9)
	f, err := v.Create(`\b`)
	must(t, err)
	must(t, f.Resize(1<<40))
	free(9)
	_, err = f.WriteAt([]byte{1, 1}, 1<<30-1)
	must(t, err)
	free(7)
	_, err = f.WriteAt(bytes.Repeat([]byte{1}, 4096), 1<<30-1)
	must(t, err)
	free(7)
	_, err = f.WriteAt(bytes.Repeat([]byte{1}, 8<<12), 0)
	wantCode(t, err, volume.ErrDiskFull)
	free(7)
	_, err = f.WriteAt(bytes.Repeat([]byte{1}, 7<<12), 0)
	must(t, err)
	free(0)
	wantCode(t, v.WriteFile(`\c`, []byte("x")), volume.ErrDiskFull)
	if _, err := v.Stat(`\c`); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the write that failed left a file: %v", err)
	}
	must(t, v.WriteFile(`\a`, []byte("other")))
	wantCode(t, v.Adopt(`\a`, f.Bytes()), volume.ErrDiskFull)
	must(t, f.Discard(4096, 2<<12))
	free(2)
	must(t, f.Resize(4096+1))
	free(8)
	must(t, f.Close())
	v.SetCapacity(4096)
	free(0)
	if v.Capacity() != 4096 {
		t.Errorf("capacity %d", v.Capacity())
	}
	wantCode(t, v.WriteFile(`\c`, []byte("x")), volume.ErrDiskFull)
	must(t, v.Remove(`\b`))
	free(0)
	must(t, v.Remove(`\a`))
	free(1)
}

func TestVolumeSaysWhatItIs(t *testing.T) {
	v := volume.New(volume.Config{ID: [16]byte{7}, Label: "data"})
	if v.ID() != [16]byte{7} || v.Label() != "data" || v.FileSystem() != "NTFS" || v.Capacity() != 1<<48 || v.Free() != 1<<48 {
		t.Errorf("%v %s %s %d %d", v.ID(), v.Label(), v.FileSystem(), v.Capacity(), v.Free())
	}
	if v.FS().Volume() != v {
		t.Error("the view shows another volume")
	}
	info, err := v.Stat(`\`)
	must(t, err)
	if !info.IsDir() || info.Name() != `\` {
		t.Errorf("the root is %v", info)
	}
	other := volume.New(volume.Config{ID: [16]byte{8}})
	rootOfOther, err := other.FS().Stat(".")
	must(t, err)
	again, err := v.FS().Stat(".")
	must(t, err)
	if again.Name() != "." {
		t.Errorf("the root is %s in the view", again.Name())
	}
	if volume.SameFile(info, rootOfOther) || !volume.SameFile(info, again) {
		t.Error("SameFile takes one root for another")
	}
}

func TestQuota(t *testing.T) {
	v := volume.New(volume.Config{})
	must(t, v.MkdirAll(`\data\web`))
	must(t, v.Mkdir(`\other`))
	must(t, v.SetQuota(`\data`, 3*4096))
	must(t, v.WriteFile(`\data\web\a`, bytes.Repeat([]byte{1}, 4096)))
	must(t, v.WriteFile(`\data\b`, bytes.Repeat([]byte{1}, 5000)))
	for _, err := range []error{
		v.WriteFile(`\data\c`, []byte("x")),
		v.Rename(`\other`, `\data\web\a`), // a file is there
	} {
		if err == nil {
			t.Error("more than the quota allows, or a directory over a file")
		}
	}
	must(t, v.WriteFile(`\other\c`, bytes.Repeat([]byte{1}, 8192)))
	if err := v.Rename(`\other`, `\data\moved`); !errors.Is(err, volume.ErrDiskFull) {
		t.Errorf("a directory that does not fit: %v", err)
	}
	must(t, v.Remove(`\data\b`))
	must(t, v.Rename(`\other`, `\data\moved`))
	q, err := v.QuotaOf(`\data`)
	if err != nil || q != (volume.Quota{Limit: 3 * 4096, Used: 3 * 4096}) {
		t.Errorf("%+v, %v", q, err)
	}
	must(t, v.CreateShadow(shadowID))
	must(t, v.Rename(`\data\moved`, `\moved`))
	s, err := v.ShadowVolume(shadowID)
	must(t, err)
	old, err := s.QuotaOf(`\data`)
	must(t, err)
	now, err := v.QuotaOf(`\data`)
	must(t, err)
	if old.Used != 3*4096 || now.Used != 4096 {
		t.Errorf("shadow copy %+v, volume %+v", old, now)
	}
	if _, err := v.QuotaOf(`\moved\c`); !errors.Is(err, volume.ErrDirectory) {
		t.Errorf("a file: %v", err)
	}
	must(t, v.SetQuota(`\data`, 0))
	must(t, v.WriteFile(`\data\large`, bytes.Repeat([]byte{1}, 100_000)))
	if free, err := v.FreeBelow(`\data`); err != nil || free != v.Free() {
		t.Errorf("%d bytes free, %v", free, err)
	}
}
