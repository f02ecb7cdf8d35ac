package main

import (
	"errors"
	"fmt"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/bootloader"
	"github.com/plimsoll-ota/plimsoll/install"
	"github.com/plimsoll-ota/plimsoll/install/data"
	"github.com/plimsoll-ota/plimsoll/install/health"
	"github.com/plimsoll-ota/plimsoll/install/module"
	"github.com/plimsoll-ota/plimsoll/partition"
	"github.com/plimsoll-ota/plimsoll/partition/files"
	"github.com/plimsoll-ota/plimsoll/signing"
	"github.com/plimsoll-ota/plimsoll/signing/external"
	"github.com/plimsoll-ota/plimsoll/udev"
	"github.com/plimsoll-ota/plimsoll/udev/prepare"
	"github.com/plimsoll-ota/plimsoll/udev/report"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
	"github.com/plimsoll-ota/plimsoll/udev/volume"
	"golang.org/x/sys/unix"
)

// The exit codes are interface: scripts and units depend on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitNothing     = 2
	exitRefused     = 3
	exitReboot      = 4
	exitAttention   = 5
	exitDiffers     = 6  // what was compared is not the same
	exitUsage       = 64 // EX_USAGE of sysexits.h
	exitInterrupted = 130
)

// An exitCode is not an error to report but the code to end with.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit %d", int(c)) }

// advice turns an error into the exit code and the next thing to do. The first
// match counts: what says more stands above what says less. A test finds every
// exported sentinel of our packages here.
var advice = []struct {
	err  error
	code int
	hint string
}{
	{errConfig, exitAttention, "correct the configuration; its keys are in docs/configuration.md"},
	{errStickOff, exitFailed, "to allow it, set it to true; by hand there is: plimsoll install FILE"},
	{udev.ErrOwnDisk, exitFailed, "name the stick's disk: lsblk shows which is which"},
	{volume.ErrName, exitFailed, "name a whole disk as the kernel does, such as sda: lsblk shows those that are there"},
	{install.ErrLater, exitFailed, "try again later; [policy] in the configuration decides"},
	{install.ErrForbidden, exitRefused, "[policy] in the configuration decides"},
	{install.ErrLocked, exitFailed, "wait until the other one is done, and try again"},
	{install.ErrForeign, exitFailed, "commit or roll back with the client that installed it"},
	{files.ErrTree, exitFailed, "see what is wrong with the image: e2fsck -fn IMAGE"},
	{install.ErrNothing, exitNothing, ""},
	{install.ErrIntact, exitNothing, ""},
	{install.ErrDrill, exitFailed, "it ends by itself: let the device start twice; or take it back with: plimsoll rollback"},
	{install.ErrDrillImage, exitFailed, "give the drill an artifact: plimsoll doctor --drill --artifact FILE"},
	{install.ErrDrillFailed, exitFailed, "this bootloader does not bring a failed update back: see plimsoll doctor, and mend it before the next update"},
	{install.ErrNoDrill, exitRefused, "let the bootloader fall back once: plimsoll doctor --drill"},
	{module.ErrUnsupported, exitRefused, "install the update module that it needs, or build the artifact for this device"},
	{module.ErrSpace, exitFailed, "make room in the state directory, and install the artifact again"},
	{install.ErrInconsistent, exitAttention, "see: plimsoll history; install an artifact that puts it right"},
	{health.ErrStopped, exitFailed, "the next boot judges; or decide yourself: plimsoll commit or plimsoll rollback"},
	{install.ErrNotOnTrial, exitFailed, "reboot first; or take it back with: plimsoll rollback"},
	{install.ErrFellBack, exitFailed, "see: plimsoll history; the artifact is installed again only with --retry"},
	{install.ErrCut, exitFailed, "install the artifact again; what was written already is not written twice"},
	{install.ErrNotGood, exitFailed, "install an artifact first: there is nothing whole to return to"},
	{install.ErrPending, exitFailed, "reboot to try it, then: plimsoll commit or plimsoll rollback"},
	{install.ErrDeviceType, exitRefused, "take the artifact that was made for this device type"},
	{install.ErrDepends, exitRefused, "install what it depends on first"},
	{install.ErrCurrent, exitNothing, ""},
	{install.ErrFloor, exitRefused, "if going back is what you want: --allow-downgrade"},
	{install.ErrUnversioned, exitRefused, "build it with --update-version, or allow it: [stick] unversioned"},
	{install.ErrDowngrade, exitRefused, "if going back is what you want: --allow-downgrade"},
	{install.ErrFailedBefore, exitRefused, "if the reason is gone: --retry"},

	{scan.ErrUnfinished, exitRefused, "copy the artifact again, and eject the stick before pulling it out"},
	{scan.ErrRenamed, exitRefused, "unpack it, or download the artifact again; another name does not make an artifact of it"},
	{scan.ErrSerials, exitFailed, "a list of serial numbers has one a line"},
	{prepare.ErrSpace, exitFailed, "remove from the stick what is not needed, or take a larger one"},
	{prepare.ErrFAT, exitFailed, "format the stick as exFAT or ext4, or build a smaller artifact"},
	{prepare.ErrNTFS, exitFailed, "format the stick as FAT32 or exFAT"},
	{prepare.ErrName, exitFailed, "rename the file, such as to release-8.mender"},
	{prepare.ErrClash, exitFailed, "remove the one on the stick, or rename the file"},
	{prepare.ErrTooMany, exitFailed, "remove from the stick what does not belong on it, or take another"},
	{prepare.ErrChanged, exitFailed, "wait until the file is complete, and try again"},
	{prepare.ErrReadBack, exitFailed, "the stick does not keep what is written to it: replace it"},

	{external.ErrTimeout, exitFailed, "see what the program waits for, or give it longer: --signer-timeout"},
	{external.ErrNoTool, exitFailed, "install OpenSC; Debian has it in the package opensc"},
	{external.ErrNoOpenSSL, exitFailed, "install openssl, which decrypts keys; or give a key that is not encrypted"},
	{external.ErrNoPIN, exitFailed, "give it in a file, pin-source=file:/PATH in the URI, or as PLIMSOLL_PIN"},
	{errBadSignature, exitFailed, "sign exactly the manifest of the artifact as it is now, with the key whose public half --public-key names; see docs/signing.md"},
	{signing.ErrEncrypted, exitFailed, "give its passphrase: --passphrase-file FILE, or PLIMSOLL_PASSPHRASE"},
	{artifact.ErrStale, exitFailed, "sign it again with -k KEY, or give the signature up with --drop-signature"},
	{signing.ErrNoKeys, exitRefused, "name the public key: [trust] keys in the configuration, or -k"},
	{artifact.ErrUnsigned, exitRefused, "sign it with: plimsoll artifact sign -k KEY ARTIFACT"},
	{signing.ErrMismatch, exitRefused, "it was signed with another key, or changed since; see: plimsoll artifact read ARTIFACT"},
	{artifact.ErrUntrusted, exitRefused, "it was signed with another key, or changed since; see: plimsoll artifact read ARTIFACT"},
	{artifact.ErrTruncated, exitRefused, "the copy is not complete: copy the artifact again, and eject the stick before pulling it"},
	{artifact.ErrChecksum, exitRefused, "the file or the stick is damaged: copy the artifact again"},
	{artifact.ErrLimit, exitRefused, "build the artifact again with plimsoll artifact write"},
	{artifact.ErrUnsupported, exitRefused, "build the artifact for this release of plimsoll"},
	{artifact.ErrFormat, exitRefused, "the file is not an artifact, or is damaged: copy it again or build it again"},
	{errSignedBySame, exitNothing, ""},
	{artifact.ErrSigned, exitFailed, "sign it again with --force"},
	{artifact.ErrSize, exitFailed, "make the image smaller, compress it harder, or raise --max-artifact-size"},

	{bootloader.ErrPending, exitFailed, "reboot to try it, then: plimsoll commit or plimsoll rollback"},
	{bootloader.ErrNoCopy, exitAttention, "do not switch the device off; restore the boot environment from a backup"},
	{bootloader.ErrCannotSave, exitAttention, "the bootloader never proved that it can save: see mender_saveenv_canary in its configuration"},
	{bootloader.ErrSingleCopy, exitAttention, "configure a redundant environment, or accept the risk with [bootloader] single_copy = true"},
	{bootloader.ErrNoLimit, exitAttention, "without bootlimit the bootloader never falls back: set it in its environment, or set [bootloader] counter"},
	{bootloader.ErrTooLarge, exitAttention, "the boot environment is full: remove variables with fw_setenv"},

	{partition.ErrSize, exitFailed, "the image is larger than the slot: build a smaller one"},
	{partition.ErrInUse, exitFailed, "unmount the inactive slot, and keep automounters away from it"},
	{partition.ErrReadBack, exitFailed, "the medium does not keep what is written to it: try once more, then replace it"},
	{partition.ErrThawed, exitFailed, "throw the image away, and make another: with --compression, to a faster reader, or with a longer --freeze-limit"},
	{partition.ErrIncomplete, exitFailed, "install the artifact again"},
	{partition.ErrNoSlot, exitAttention, "correct [slots] in the configuration"},
	{partition.ErrSameSlot, exitAttention, "correct [slots] in the configuration: two different slots are needed"},
	{partition.ErrAmbiguous, exitAttention, "the running slot is not certain: compare root= on the kernel command line with what is mounted"},
	{partition.ErrNotSlot, exitAttention, "start the device from one of its slots"},

	{errInside, exitFailed, "such as release-8.mender:/etc/fstab; the image must be there"},
	{errNoChange, exitNothing, ""},
	{errNotImage, exitFailed, "files are changed in ext2, ext3, ext4 and FAT images; a header can be changed whatever the payload is"},
	{errVessel, exitFailed, "the file is damaged, or of another kind"},
	{files.ErrNone, exitFailed, "files are changed in ext2, ext3, ext4 and FAT images"},
	{files.ErrUnclean, exitFailed, "have it mended first: e2fsck -f -p IMAGE"},
	{files.ErrName, exitFailed, "take another name"},
	{files.ErrSpace, exitFailed, "make the file system larger when it is built, or remove something from it"},
	{files.ErrKind, exitFailed, "see: plimsoll artifact ls -l IMAGE:/PATH"},

	{data.ErrPath, exitAttention, "correct [data] in the configuration; its keys are in docs/data.md"},
	{data.ErrLimit, exitFailed, "declare less in [data], or raise carry_limit"},
	{data.ErrSpace, exitFailed, "free space on the file system that is named, and try again"},
	{data.ErrNone, exitFailed, "nothing was copied before the update: there is nothing to put back"},
	{data.ErrDamaged, exitAttention, "the medium of the state directory does not keep what is written to it: replace it"},
	{data.ErrReadOnly, exitFailed, "keep what is to survive an update on the data partition; see docs/data.md"},

	{report.ErrOfficeKey, exitFailed, "make one with: plimsoll key generate --office; devices get what plimsoll key public prints"},
	{report.ErrSealed, exitFailed, "open it with the key whose public half the device has: [report] log_key"},
	{report.ErrTorn, exitFailed, "the stick was pulled while it was written, or does not keep what is written to it: use another one"},
	{report.ErrReport, exitFailed, "the file was not written by a device, or by a later release"},

	{unix.ENOSPC, exitFailed, "the disk is full: free space, and try again"},
	{report.ErrStore, exitAttention, "mount a writable partition at the state directory, on neither slot"},
	{install.ErrState, exitAttention, "mount a writable partition at the state directory, on neither slot"},
	{bootloader.ErrUnsupported, exitAttention, "this kind of storage is not supported for the boot environment"},
	{partition.ErrUnsupported, exitAttention, "slots are block devices or plain files"},
	{bootloader.ErrReadBack, exitAttention, "the medium does not keep what is written to it; do not switch the device off, and replace it"},
	{install.ErrAttention, exitAttention, "see: plimsoll status"},
}

// explain returns the exit code for err, and what to do next.
func explain(err error) (code int, hint string) {
	if _, ok := err.(interrupted); ok {
		return exitInterrupted, ""
	}
	if _, ok := err.(ran); !ok {
		return exitUsage, "see: plimsoll --help"
	}
	for _, a := range advice {
		if errors.Is(err, a.err) {
			return a.code, a.hint
		}
	}
	return exitFailed, ""
}

// deviceSays answers the operator's first question after a failed
// installation: whether the device still boots.
func deviceSays(err error) string {
	var e *install.Error
	switch {
	case !errors.As(err, &e):
		return ""
	case e.Step == install.StepRead:
		return "the device is unchanged and boots as before"
	case e.Step < install.StepArm:
		return "nothing was armed: the device boots as before"
	}
	return "see: plimsoll status"
}
