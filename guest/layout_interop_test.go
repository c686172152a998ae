package guest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
	"github.com/shadowsim/shadowsim/internal/interop"
)

var (
	diskGUID = guid.MustParse("11111111-2222-3333-4444-555555555555")
	fsUUID   = guid.MustParse("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
)

const mib = 1 << 20

// run runs a tool with something on its standard input and returns what it
// says.
func run(t testing.TB, input, tool string, args ...string) string {
	t.Helper()
	cmd := exec.Command(interop.Tool(t, tool), args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// blank makes an empty image file.
func blank(t testing.TB, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

// splice copies a file into another one.
func splice(t testing.TB, image string, off int64, part string) {
	t.Helper()
	b, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// readFile reads the layout of an image file.
func readFile(t testing.TB, name string) (*guest.Layout, error) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return guest.ReadLayout(f, fi.Size())
}

// made writes a disk that Format made to an image file.
func made(t testing.TB, size int64, spec guest.DiskSpec) string {
	t.Helper()
	d := disk.NewMemory(size)
	if err := guest.Format(d, spec); err != nil {
		t.Fatal(err)
	}
	name := blank(t, size)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for x := range disk.Extents(d, 0, size) {
		b := make([]byte, x.Len)
		if _, err := d.ReadAt(b, x.Off); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, x.Off); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

// TestReadSfdisk reads the tables that sfdisk makes.
func TestReadSfdisk(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"mbr", "label: dos\nlabel-id: 0x1a2b3c4d\nstart=2048,size=20480,type=7,bootable\nstart=22528,size=4096,type=27\n", `
MBR basic 67108864 bytes signature 1a2b3c4d
1: 1048576+10485760 0x07 data active: none
2: 11534336+2097152 0x27 recovery: none`},
		{"logical", "label: dos\nlabel-id: 0x00000001\nstart=2048,size=4096,type=7\nstart=8192,size=65536,type=f\nstart=10240,size=4096,type=7\nstart=16384,size=8192,type=83\nstart=26624,size=2048,type=c\n", `
MBR basic 67108864 bytes signature 00000001
1: 1048576+2097152 0x07 data: none
2: 4194304+33554432 0x0f extended
5: 5242880+2097152 0x07 data: none
6: 8388608+4194304 0x83 foreign: none
7: 13631488+1048576 0x0c data: none`},
		{"dynamic", "label: dos\nlabel-id: 0x00000002\nstart=2048,type=42\n", `
MBR dynamic 67108864 bytes signature 00000002
1: 1048576+66060288 0x42 dynamic: none`},
		{"gpt", "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n" +
			"start=2048,size=2048,type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B,uuid=00000000-0000-0000-0000-000000000001,name=\"EFI system\"\n" +
			"size=2048,type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE,uuid=00000000-0000-0000-0000-000000000002\n" +
			"size=8192,type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7,uuid=00000000-0000-0000-0000-000000000003,name=\"Größe\",attrs=\"GUID:63\"\n" +
			"size=8192,type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC,uuid=00000000-0000-0000-0000-000000000004\n", `
GPT basic 67108864 bytes id 11111111-2222-3333-4444-555555555555
1: 1048576+1048576 c12a7328-f81f-11d2-ba4b-00a0c93ec93b EFI system "EFI system": none
2: 2097152+1048576 e3c9e316-0b5c-4db8-817d-f92df00215ae Microsoft reserved
3: 3145728+4194304 ebd0a0a2-b9e5-4433-87c0-68b6b72699c7 data no-letter "Größe": none
4: 7340032+4194304 de94bba4-06d1-4d40-a16a-bfd50179d6ac recovery: none`},
		{"gpt dynamic", "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n" +
			"start=2048,size=2048,type=5808C8AA-7E8F-42E0-85D2-E1E90434CFB3\ntype=AF9B60A0-1431-4F62-BC68-3311714A69AD\n", `
GPT dynamic 67108864 bytes id 11111111-2222-3333-4444-555555555555
1: 1048576+1048576 5808c8aa-7e8f-42e0-85d2-e1e90434cfb3 dynamic: none
2: 2097152+63963136 af9b60a0-1431-4f62-bc68-3311714a69ad dynamic: none`},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := blank(t, 64*mib)
			run(t, c.script, "sfdisk", "--quiet", name)
			l, err := readFile(t, name)
			if err != nil {
				t.Fatal(err)
			}
			if got := "\n" + l.String(); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestReadFormatters reads what formatters make, alone on a disk and inside of
// a partition.
func TestReadFormatters(t *testing.T) {
	for _, c := range []struct {
		name, tool string
		size       int64
		args       []string
		want       string // what the file system prints; a star stands for what the tool draws
		cluster    int64
	}{
		{"ntfs", "mkntfs", 16 * mib, []string{"-F", "-q", "-c", "8192", "-L", "DATA"}, "NTFS serial *", 8192},
		{"fat12", "mkfs.fat", 4 * mib, []string{"-F", "12", "-i", "1234abcd", "-n", "SMALL"}, `FAT12 serial 1234abcd label "SMALL"`, 2048},
		{"fat16", "mkfs.fat", 16 * mib, []string{"-F", "16", "-i", "1234abcd"}, `FAT16 serial 1234abcd`, 2048},
		{"fat32", "mkfs.fat", 48 * mib, []string{"-F", "32", "-i", "1234abcd", "-n", "BIG DATA"}, `FAT32 serial 1234abcd label "BIG DATA"`, 512},
		{"fat32 with table", "mkfs.fat", 48 * mib, []string{"-F", "32", "-i", "1234abcd", "--mbr=y"}, `FAT32 serial 1234abcd`, 512},
		{"exfat", "mkfs.exfat", 16 * mib, []string{"-L", "CARD", "-c", "8K"}, "exFAT serial *", 8192},
		{"ext2", "mke2fs", 8 * mib, []string{"-q", "-F", "-t", "ext2", "-b", "1024", "-L", "two", "-U", guid.String(fsUUID)}, `ext2 uuid ` + guid.String(fsUUID) + ` label "two"`, 1024},
		{"ext3", "mke2fs", 8 * mib, []string{"-q", "-F", "-t", "ext3", "-b", "4096", "-U", guid.String(fsUUID)}, `ext3 uuid ` + guid.String(fsUUID), 4096},
		{"ext4", "mke2fs", 8 * mib, []string{"-q", "-F", "-t", "ext4", "-b", "4096", "-U", guid.String(fsUUID)}, `ext4 uuid ` + guid.String(fsUUID), 4096},
		{"swap", "mkswap", 8 * mib, []string{"-q", "-U", guid.String(fsUUID), "-L", "pages"}, `swap uuid ` + guid.String(fsUUID) + ` label "pages"`, 4096},
	} {
		t.Run(c.name, func(t *testing.T) {
			part := blank(t, c.size)
			run(t, "", c.tool, append(c.args, part)...)
			check := func(l *guest.Layout, scheme guest.Scheme) {
				t.Helper()
				if l.Scheme != scheme || len(l.Partitions) != 1 {
					t.Fatalf("got %v, want one file system on %v", l, scheme)
				}
				fs := l.Partitions[0].FileSystem
				want, drawn := strings.CutSuffix(c.want, "*")
				if got := fs.String(); got != want && !(drawn && strings.HasPrefix(got, want)) || fs.ClusterSize != c.cluster {
					t.Errorf("%v: got %v, clusters of %d; want %s, %d", scheme, fs, fs.ClusterSize, c.want, c.cluster)
				}
				if n := fs.Sectors * fs.SectorSize; n < c.size-64<<10 || n > c.size {
					t.Errorf("file system spans %d bytes of %d", n, c.size)
				}
			}
			l, err := readFile(t, part)
			if err != nil {
				t.Fatal(err)
			}
			check(l, guest.SuperFloppy)
			whole := blank(t, c.size+2*mib)
			run(t, "label: dos\nstart=2048,type=7\n", "sfdisk", "--quiet", whole)
			splice(t, whole, mib, part)
			if l, err = readFile(t, whole); err != nil {
				t.Fatal(err)
			}
			check(l, guest.MBR)
		})
	}
}
