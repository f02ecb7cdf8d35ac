package tell

import "strconv"

// A Code says why, in two digits from 1 to 9, so that each can be blinked. The
// first is the kind: 1 the update itself, 2 whether it is for this device now,
// 3 the stick, 4 the device, 5 the new version, 6 what people decided. A code
// never changes its meaning; new ones are added. 0 is none.
type Code int

const (
	Unsigned    Code = 11
	Untrusted   Code = 12 // signed by another key, or changed since
	Damaged     Code = 13 // a checksum, or not an artifact at all
	Unfinished  Code = 14 // the file ends before the artifact does
	Renamed     Code = 15 // zipped, renamed, or a download that goes on
	Unsupported Code = 16 // a newer format, compression, or a module that is not here

	WrongType    Code = 21
	Depends      Code = 22
	Unversioned  Code = 23
	Older        Code = 24
	BelowFloor   Code = 25
	FailedBefore Code = 26
	NotListed    Code = 27 // in only-serials
	NoArtifact   Code = 28

	NTFS        Code = 31
	ExFAT       Code = 32 // and the kernel cannot read it
	Locked      Code = 33 // BitLocker
	Encrypted   Code = 34 // LUKS
	Apple       Code = 35 // APFS, HFS+
	UnknownFS   Code = 36
	CorruptFS   Code = 37 // cannot be mounted
	StickErrors Code = 38 // reading fails
	TooMuch     Code = 39 // too many files

	TooLarge     Code = 41 // for the slot
	DeviceMedium Code = 42 // a write or its read-back
	StateDir     Code = 43
	BootEnv      Code = 44
	Busy         Code = 45 // another update is in progress
	Config       Code = 46
	DeviceFull   Code = 47

	Unhealthy    Code = 51
	NeverStarted Code = 52 // the bootloader counted it out
	BootIgnored  Code = 53 // the bootloader ignored the environment, or took the wrong root
	Deadline     Code = 54
	TakenBack    Code = 55 // by hand
	Migration    Code = 56 // a script or a module failed

	Refused     Code = 61 // by [policy]
	Removed     Code = 62
	Off         Code = 63 // [stick] enable = false
	Interrupted Code = 64

	Other Code = 99
)

// String is how the code is written: E12; "" for none.
func (c Code) String() string {
	if c == 0 {
		return ""
	}
	return "E" + strconv.Itoa(int(c))
}

// An Explanation is what the manual says of a code.
type Explanation struct {
	Code  Code
	Title string // what is the matter, without a full stop
	Do    string // what a technician does about it: one or two sentences
}

// Codes returns the table of the manual, in the order of the codes.
func Codes() []Explanation {
	return append([]Explanation(nil), explanations...)
}

var explanations = []Explanation{
	{Unsigned, "Update is not signed", "Do not use this update. Ask the office for a signed one."},
	{Untrusted, "Update is not trusted", "It was signed by somebody else, or changed afterwards. Ask the office for this update again."},
	{Damaged, "Update is damaged", "Copy the update to the stick again. If the code comes back, use another stick."},
	{Unfinished, "Copy was not finished", "Copy the update to the stick again, and eject the stick before you pull it out of the computer."},
	{Renamed, "File is zipped, renamed or half downloaded", "Download the update again to its end, unpack it if it is a zip file, and leave its name as it is. The name must end in .mender."},
	{Unsupported, "Device cannot read this kind of update", "Tell the office that this device needs another form of the update."},

	{WrongType, "Update is for another type of device", "Check that you have the right stick for this device. If you are sure, report the type of the device to the office."},
	{Depends, "Another update must come first", "Ask the office which update this device needs before this one."},
	{Unversioned, "Update has no version to compare", "The device cannot tell whether the update is newer than what it has. Ask the office for one with a version."},
	{Older, "Update is older than what is installed", "The device keeps its newer version: there is nothing to do. If you expected a newer one, ask the office for the current stick."},
	{BelowFloor, "Update is too old for this device", "This version is not allowed any more. Ask the office for a newer one."},
	{FailedBefore, "Update has failed on this device before", "Do not try this update again. Report the device and this code to the office."},
	{NotListed, "Stick is not meant for this device", "The stick has a list of devices, and this one is not on it. Ask the office which stick this device gets."},
	{NoArtifact, "No update on the stick", "Copy the update onto the stick, not into a folder. Its name ends in .mender."},

	{NTFS, "Stick is formatted with NTFS", "Format the stick as FAT32 on a computer, and copy the update to it again."},
	{ExFAT, "Stick is formatted with exFAT", "This device cannot read it. Format the stick as FAT32, and copy the update to it again."},
	{Locked, "Stick is locked with BitLocker", "Use a stick that is not locked, or switch BitLocker off for this one on a computer."},
	{Encrypted, "Stick is encrypted", "Use a stick that is not encrypted."},
	{Apple, "Stick is formatted for a Mac", "Format the stick as MS-DOS (FAT) on the Mac, and copy the update to it again."},
	{UnknownFS, "Stick is not formatted in a known way", "Format the stick as FAT32 on a computer, and copy the update to it again."},
	{CorruptFS, "Stick's format is damaged", "Format the stick as FAT32 on a computer, and copy the update to it again. If the code comes back, use another stick."},
	{StickErrors, "Stick is worn out or has bad contact", "Try the stick in another socket once. If the code comes back, throw the stick away and use a new one."},
	{TooMuch, "Too many files on the stick", "Use a stick that has nothing on it but updates."},

	{TooLarge, "Update is too large for this device", "Report the device and this code to the office: the update must be made smaller."},
	{DeviceMedium, "Device cannot store the update", "Try once more. If the code comes back, the device's own storage is failing: report it to the office."},
	{StateDir, "Device cannot remember what it does", "Do not try again. Report the device and this code to the office."},
	{BootEnv, "Device cannot prepare its start", "Do not try again, and do not switch the device off. Report the device and this code to the office."},
	{Busy, "Device is busy with another update", "Wait until it is done, then plug the stick in again."},
	{Config, "Device is not set up correctly", "Do not try again. Report the device and this code to the office."},
	{DeviceFull, "Device has no room left", "Report the device and this code to the office: something must be deleted on it."},

	{Unhealthy, "New version did not work on this device", "The device runs its old version again. Do not repeat the update; report the device and this code to the office."},
	{NeverStarted, "New version did not start", "The device runs its old version again. Do not repeat the update; report the device and this code to the office."},
	{BootIgnored, "Device did not switch to the new version", "The device still runs its old version. Do not repeat the update; report the device and this code to the office."},
	{Deadline, "New version was not confirmed in time", "The device runs its old version again. Report the device and this code to the office."},
	{TakenBack, "New version was taken back by hand", "Somebody decided to keep the old version. Ask the office before you update again."},
	{Migration, "Update failed on its way in", "The device keeps its old version. Do not repeat the update; report the device and this code to the office."},

	{Refused, "Device does not permit an update now", "Bring the device to a state in which it may be updated, then plug the stick in again. If you do not know how, ask the office."},
	{Removed, "Stick was removed too early", "Plug the stick in again, and leave it until the light says that you may take it. The device goes on where it stopped."},
	{Off, "Updates by stick are switched off", "This device does not take updates from sticks. Ask the office."},
	{Interrupted, "Update was interrupted", "Plug the stick in again. The device goes on where it stopped."},

	{Other, "Something else went wrong", "Try once more. If the code comes back, report the device and this code to the office."},
}

// known tells whether the manual has the code.
func (c Code) known() bool { return c.explanation().Code != 0 }

func (c Code) explanation() Explanation {
	for _, e := range explanations {
		if e.Code == c {
			return e
		}
	}
	return Explanation{}
}
