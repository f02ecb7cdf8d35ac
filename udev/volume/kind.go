package volume

import "fmt"

// A Kind is what a volume holds, told from its first bytes.
type Kind string

// The kinds, in the words of the kernel where it has one.
const (
	VFAT      Kind = "vfat" // FAT12, FAT16, FAT32
	ExFAT     Kind = "exfat"
	Ext4      Kind = "ext4" // and ext2, ext3: one driver reads all
	NTFS      Kind = "ntfs"
	BitLocker Kind = "bitlocker" // with BitLocker To Go
	LUKS      Kind = "luks"
	APFS      Kind = "apfs"
	HFSPlus   Kind = "hfsplus" // and HFS
	ISO9660   Kind = "iso9660"
	UDF       Kind = "udf"
	Btrfs     Kind = "btrfs"
	XFS       Kind = "xfs"
	SquashFS  Kind = "squashfs"
	F2FS      Kind = "f2fs"
	Swap      Kind = "swap"
	Empty     Kind = "empty"   // nothing but zeros where file systems begin
	Unknown   Kind = "unknown" // something, and none of these
)

// A KindError says that a volume is of a kind that is not mounted, or not
// written. It is [ErrKind].
type KindError struct {
	Kind     Kind
	NoDriver bool   // it would be mounted, had the kernel the driver
	Why      string // for people
}

func (e *KindError) Error() string { return fmt.Sprintf("%v (%s): %s", ErrKind, e.Kind, e.Why) }

// Unwrap lets errors.Is find ErrKind.
func (e *KindError) Unwrap() error { return ErrKind }
