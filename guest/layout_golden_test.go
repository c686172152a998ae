package guest_test

import (
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shadowsim/shadowsim/disk"
	"github.com/shadowsim/shadowsim/guest"
	"github.com/shadowsim/shadowsim/internal/guid"
)

var updateLayouts = flag.Bool("update-layouts", false, "rewrite what the transcripts of disks expect")

// TestLayouts runs the transcripts in testdata/layouts. Each case makes a disk
// with the commands of [bench], and shows what the package finds on it: the
// layout or the error, the volumes, and the judgement.
func TestLayouts(t *testing.T) {
	files, err := filepath.Glob("testdata/layouts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(b), "\r\n", "\n")
			var cases []string
			for c := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
				input, _, _ := strings.Cut(c+"\n", "----\n")
				cases = append(cases, input+"----\n"+play(t, input))
			}
			got := strings.Join(cases, "\n\n") + "\n"
			if *updateLayouts {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(text, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// A bench is a disk under construction.
type bench struct {
	d    *disk.Memory
	spec guest.DiskSpec
	size int64 // what the reader is told
}

// play runs the commands of a case and describes the disk.
func play(t *testing.T, input string) string {
	t.Helper()
	var b bench
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if err := b.do(words[0], words[1:]); err != nil {
			return fmt.Sprintf("%s: %v", words[0], err)
		}
	}
	return strings.TrimSuffix(describe(guest.ReadLayout(b.d, b.size)), "\n")
}

func describe(l *guest.Layout, err error) string {
	var out strings.Builder
	if err != nil {
		fmt.Fprintln(&out, err)
	} else {
		fmt.Fprintln(&out, l)
	}
	for _, v := range guest.Volumes(l) {
		fmt.Fprintln(&out, "volume", v)
	}
	verdict := "eligible"
	for _, f := range guest.Judge(guest.Rules{}, l) {
		fmt.Fprintln(&out, "fact:", f)
		if f.Disqualifies() {
			verdict = "not eligible"
		}
	}
	fmt.Fprintln(&out, verdict)
	return out.String()
}

// do runs one command:
//
//	disk SIZE                   a new disk
//	image NAME                  the head of the disk from testdata/images/NAME.gz
//	mbr SIGNATURE | gpt GUID | floppy, then part KEY=VALUE... and format
//	put OFFSET HEX...           bytes
//	text OFFSET STRING
//	copy FROM TO LENGTH
//	entry OFFSET STATUS KIND START COUNT    a slot of a boot record, sign included
//	seal SECTOR...              new checksums for a GPT header and its entries
//	grow SIZE                   a larger disk
//	told SIZE                   the reader is told another size
//	system OFFSET NAME...       a system record on the volume at OFFSET
func (b *bench) do(command string, args []string) error {
	switch command {
	case "disk":
		b.size = number(args[0])
		b.d = disk.NewMemory(b.size)
	case "image":
		return b.image(args[0])
	case "mbr":
		b.spec = guest.DiskSpec{Scheme: guest.MBR, Signature: uint32(number("0x" + args[0]))}
	case "gpt":
		b.spec = guest.DiskSpec{Scheme: guest.GPT, GUID: guid.MustParse(args[0])}
	case "floppy":
		b.spec = guest.DiskSpec{Scheme: guest.SuperFloppy}
	case "part":
		return b.part(args)
	case "format":
		return guest.Format(b.d, b.spec)
	case "put":
		raw, err := hex.DecodeString(strings.Join(args[1:], ""))
		if err != nil {
			return err
		}
		return b.write(number(args[0]), raw)
	case "text":
		return b.write(number(args[0]), []byte(strings.Join(args[1:], " ")))
	case "copy":
		return b.write(number(args[1]), b.read(number(args[0]), number(args[2])))
	case "entry":
		return b.entry(args)
	case "seal":
		for _, s := range args {
			if err := b.seal(number(s)); err != nil {
				return err
			}
		}
	case "grow":
		b.size = number(args[0])
		return b.d.Resize(b.size)
	case "told":
		b.size = number(args[0])
	case "system":
		v := disk.Section(b.d, number(args[0]), b.d.Size()-number(args[0]))
		return guest.WriteSystem(v, &guest.System{OS: guest.OS(strings.Join(args[1:], " ")), ComputerName: "PC"})
	default:
		return errors.New("no such command")
	}
	return nil
}

// number reads decimal and hexadecimal numbers, and whole KiB and MiB.
func number(s string) int64 {
	unit := int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(err)
	}
	return n * unit
}

func (b *bench) write(off int64, p []byte) error {
	_, err := b.d.WriteAt(p, off)
	return err
}

func (b *bench) read(off, n int64) []byte {
	p := make([]byte, n)
	if _, err := b.d.ReadAt(p, off); err != nil {
		panic(err)
	}
	return p
}

func (b *bench) image(name string) error {
	p, err := loadImage(name)
	if err != nil {
		return err
	}
	return b.write(0, p)
}

// loadImage unpacks the head of a disk that other programs made: sfdisk
// 2.38.1, mkntfs 2022.10.3, dosfstools 4.2, exfatprogs 1.2.0, e2fsprogs 1.47.0,
// xfsprogs 6.1.0, btrfs-progs 6.2, genisoimage 1.1.11. Of each partition there
// are the first 68 KiB.
func loadImage(name string) ([]byte, error) {
	f, err := os.Open("testdata/images/" + name + ".gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

var kinds = map[string]guest.FileSystemKind{"ntfs": guest.NTFS, "fat12": guest.FAT12, "fat16": guest.FAT16,
	"fat32": guest.FAT32, "exfat": guest.ExFAT, "refs": guest.ReFS, "ext4": guest.Ext4, "btrfs": guest.Btrfs}

var roles = map[string]guest.Role{"efi": guest.RoleEFI, "reserved": guest.RoleReserved, "recovery": guest.RoleRecovery,
	"oem": guest.RoleOEM, "extended": guest.RoleExtended, "dynamic": guest.RoleDynamic, "pool": guest.RoleStorageSpace}

func (b *bench) part(args []string) error {
	var p guest.PartitionSpec
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "size":
			p.Size = number(value)
		case "fs":
			p.FileSystem.Kind = kinds[value]
		case "serial":
			p.FileSystem.Serial = uint64(number(value))
		case "label":
			p.FileSystem.Label = value
		case "role":
			p.Role = roles[value]
		case "type":
			p.Type.MBR = byte(number(value))
		case "guid":
			p.Type.GPT = guid.MustParse(value)
		case "name":
			p.Name = value
		case "active":
			p.Active = true
		case "hidden":
			p.Hidden = true
		case "no-letter":
			p.NoDriveLetter = true
		default:
			return fmt.Errorf("no such key %q", key)
		}
	}
	b.spec.Partitions = append(b.spec.Partitions, p)
	return nil
}

func (b *bench) entry(args []string) error {
	e := make([]byte, 16)
	e[0], e[4] = byte(number(args[1])), byte(number(args[2]))
	binary.LittleEndian.PutUint32(e[8:], uint32(number(args[3])))
	binary.LittleEndian.PutUint32(e[12:], uint32(number(args[4])))
	at := number(args[0])
	if err := b.write(at, e); err != nil {
		return err
	}
	return b.write(at/512*512+510, []byte{0x55, 0xAA})
}

// seal makes a header and its entries agree again after they were changed.
func (b *bench) seal(sector int64) error {
	h := b.read(sector*512, 512)
	le := binary.LittleEndian
	count, size, array := le.Uint32(h[80:]), le.Uint32(h[84:]), le.Uint64(h[72:])
	if n := int64(count) * int64(size); n <= 1<<20 && array <= uint64(b.d.Size()-n)/512 {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(b.read(int64(array)*512, n)))
	}
	le.PutUint32(h[16:], 0)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:min(le.Uint32(h[12:]), 512)]))
	return b.write(sector*512, h)
}
