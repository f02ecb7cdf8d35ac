package udev

import (
	"errors"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/tell"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
)

// codes are those of what a stick can be and can hold. The first match counts:
// what says more stands above what says less.
var codes = []struct {
	err  error
	code tell.Code
}{
	{volume.ErrCorrupt, tell.CorruptFS},
	{volume.ErrMedium, tell.StickErrors},
	{volume.ErrStuck, tell.StickErrors},
	{volume.ErrTooMany, tell.TooMuch},
	{volume.ErrInUse, tell.Busy},
	{errNotLookedAt, tell.TooMuch},

	{scan.ErrUnfinished, tell.Unfinished},
	{scan.ErrRenamed, tell.Renamed},
	{artifact.ErrUnsigned, tell.Unsigned},
	{artifact.ErrUntrusted, tell.Untrusted},
	{artifact.ErrTruncated, tell.Unfinished},
	{artifact.ErrUnsupported, tell.Unsupported},
	{artifact.ErrChecksum, tell.Damaged},
	{artifact.ErrLimit, tell.Damaged},
	{artifact.ErrFormat, tell.Damaged},
}

// kindCodes are those of volumes that cannot be read.
var kindCodes = map[volume.Kind]tell.Code{
	volume.NTFS: tell.NTFS, volume.ExFAT: tell.ExFAT, volume.BitLocker: tell.Locked, volume.LUKS: tell.Encrypted,
	volume.APFS: tell.Apple, volume.HFSPlus: tell.Apple,
}

// codeOf returns the code of an error, of a stick or of the device.
func codeOf(d Device, err error) tell.Code {
	if errors.Is(err, volume.ErrGone) { // and then whatever else
		return tell.Removed
	}
	var kind *volume.KindError
	if errors.As(err, &kind) {
		if kind.NoDriver && kind.Kind == volume.VFAT {
			return tell.Config // there is nothing better that the stick could be formatted with
		}
		if code, ok := kindCodes[kind.Kind]; ok {
			return code
		}
		return tell.UnknownFS
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return d.Code(err)
}

// oddCodes are those of what looks like an artifact and is none.
var oddCodes = map[scan.Why]tell.Code{
	scan.Empty: tell.Unfinished, scan.Download: tell.Renamed, scan.Renamed: tell.Renamed, scan.Folder: tell.Renamed,
	scan.Broken: tell.StickErrors, scan.BadList: tell.NotListed,
}

// weight says which of several reasons is told, the heaviest one: what is about
// this device and a person can mend goes before what is meant for others.
func weight(c tell.Code) int {
	switch c {
	case tell.FailedBefore, tell.Depends, tell.Unversioned, tell.BelowFloor:
		return 6
	case tell.Unsigned, tell.Untrusted, tell.Damaged, tell.Unfinished, tell.Renamed, tell.Unsupported:
		return 5
	case tell.Older:
		return 3
	case tell.NotListed, tell.WrongType:
		return 2
	case tell.NoArtifact:
		return 1
	}
	return 7
}

const weightUpToDate = 4 // between what is wrong and what is no use

// ending is what it comes to if nothing on the stick is installed for this
// reason. There is no fault where the stick is just not for this device, or not
// for it any more.
func ending(c tell.Code) tell.State {
	switch c {
	case tell.WrongType, tell.NotListed, tell.NoArtifact, tell.Older:
		return tell.Nothing
	}
	return tell.Failed
}
