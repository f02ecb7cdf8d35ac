package bootloader

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
)

// ErrSingleCopy: only one copy of the environment is configured, and a cut
// during a write would lose it.
var ErrSingleCopy = errors.New("the boot environment has a single copy, which a power cut can destroy")

// Options are what is special about a board. The zero value is a board that
// follows Mender's convention.
type Options struct {
	LockPath   string // file to lock around a write; "" is libubootenv's
	SingleCopy bool   // accept an environment of one copy, and that a cut can destroy it
	Counter    string // who counts boots: CounterNative (also ""), CounterScript or CounterRegister
	Sys        string // where sysfs is; "" is /sys
}

// Who counts the boots of a trial.
const (
	CounterNative   = "native"   // U-Boot, in the environment, while upgrade_available is 1
	CounterScript   = "script"   // our boot script, in the environment
	CounterRegister = "register" // our boot script, in variables of its own, beside a register of U-Boot's that counts every boot
)

// A UBoot is the environment of one device.
type UBoot struct {
	options Options
	copies  []*storage // one or two
}

// OpenUBoot returns the environment that is kept at copies: one, or two for a
// redundant environment. It reads nothing yet but the devices' sizes. Copies
// that share a byte, or a sector of a block device, are refused, also by another
// name: a link, a loop device, a partition and its disk.
func OpenUBoot(o Options, copies ...Location) (*UBoot, error) {
	if o.LockPath == "" {
		o.LockPath = defaultLock
	}
	if o.Sys == "" {
		o.Sys = "/sys"
	}
	switch o.Counter {
	case "":
		o.Counter = CounterNative
	case CounterNative, CounterScript, CounterRegister:
	default:
		return nil, fmt.Errorf("boot environment: counter %q is not known", o.Counter)
	}
	if len(copies) < 1 || len(copies) > 2 {
		return nil, fmt.Errorf("boot environment: %d copies, want 1 or 2", len(copies))
	}
	u := &UBoot{options: o}
	for _, l := range copies {
		s, err := l.open(o.Sys)
		if err != nil {
			return nil, fmt.Errorf("boot environment: %w", err)
		}
		u.copies = append(u.copies, s)
	}
	if a, b := u.copies[0].Size, u.copies[len(copies)-1].Size; a != b {
		return nil, fmt.Errorf("boot environment: the copies have %#x and %#x bytes, and must have the same", a, b)
	}
	if u.redundant() && u.copies[0].overlaps(u.copies[1]) {
		return nil, fmt.Errorf("boot environment: the copies %v and %v overlap", u.copies[0].Location, u.copies[1].Location)
	}
	return u, nil
}

func (u *UBoot) redundant() bool { return len(u.copies) == 2 }

// Locations returns where the copies are: paths resolved, offsets from the
// beginning.
func (u *UBoot) Locations() []Location {
	var all []Location
	for _, s := range u.copies {
		all = append(all, s.Location)
	}
	return all
}

// A snapshot is what both copies were at one time.
type snapshot struct {
	current int // index of the copy that counts
	valid   int // how many copies are valid
	env     Env
	flags   byte
	raw     []byte
}

// snapshot reads both copies and picks the current one: ErrNoCopy if there is
// none. A copy that cannot be read counts as one that is not valid, as long as
// the other is.
func (u *UBoot) snapshot() (snapshot, error) {
	var s snapshot
	var problems []error
	for i, c := range u.copies {
		raw, err := c.read()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		env, flags, err := ParseEnv(raw, u.redundant())
		if err != nil {
			problems = append(problems, fmt.Errorf("%v: %w", c.Location, err))
			if err := u.otherGeometry(raw); err != nil {
				problems = append(problems, err)
			}
			continue
		}
		if s.valid++; s.valid == 1 || u.newer(s.flags, flags) {
			s.current, s.env, s.flags, s.raw = i, env, flags, raw
		}
	}
	if s.valid > 0 {
		return s, nil
	}
	err := ErrNoCopy
	for _, p := range problems {
		err = fmt.Errorf("%w; %w", err, p)
	}
	return s, err
}

// look is snapshot for those who do not hold the lock. Whoever writes meanwhile
// may tear a copy under our eyes, so that bad news is checked with the lock.
func (u *UBoot) look() (s snapshot, err error) {
	if s, err = u.snapshot(); err == nil {
		return s, nil
	}
	held, lockErr := lock(u.options.LockPath)
	if lockErr != nil {
		return s, errors.Join(err, lockErr)
	}
	s, err = u.snapshot()
	return s, errors.Join(err, held.Close())
}

// newer applies the medium's rule: NOR flash marks the current copy instead of
// counting.
func (u *UBoot) newer(a, b byte) bool {
	if u.copies[0].larger {
		return b > a
	}
	return newer(a, b)
}

// errGeometry: the environment is not lost, the configuration of it is wrong.
var errGeometry = errors.New("the bootloader keeps another kind of environment there")

// otherGeometry recognises the commonest mistake: one copy configured of two,
// or two of one.
func (u *UBoot) otherGeometry(raw []byte) error {
	if _, _, err := ParseEnv(raw, !u.redundant()); err != nil {
		return nil
	}
	if u.redundant() {
		return fmt.Errorf("%w: a single copy, and two are configured", errGeometry)
	}
	return fmt.Errorf("%w: two copies, and one is configured", errGeometry)
}

// Env returns the current variables.
func (u *UBoot) Env() (Env, error) {
	s, err := u.look()
	return s.env, err
}

// Raw returns the current copy as it is on the medium: what Restore takes.
func (u *UBoot) Raw() ([]byte, error) {
	s, err := u.look()
	return s.raw, err
}

// Update lets f change the variables, and writes all of them in one go: to the
// copy that is not current, synced and read back. After a cut the old variables
// are in force or, all of them, the new ones. After an error the old ones are,
// as long as the medium can be written and read at all: a copy that became whole
// in spite of the error is withdrawn. Where f returns an error or changes
// nothing, nothing is written. A single copy is written over only with
// Options.SingleCopy, else ErrSingleCopy; an error may then lose it.
func (u *UBoot) Update(f func(Env) error) (err error) {
	held, err := lock(u.options.LockPath)
	if err != nil {
		return err
	}
	return errors.Join(u.update(f), held.Close())
}

// Renew makes both copies valid again where one is and the other is not: that
// one is written with the variables of the first, as Update writes. Where both
// are valid, or there is only one, nothing is written.
func (u *UBoot) Renew() (err error) {
	held, err := lock(u.options.LockPath)
	if err != nil {
		return err
	}
	return errors.Join(u.renew(), held.Close())
}

func (u *UBoot) renew() error {
	s, err := u.snapshot()
	if err != nil || s.valid == len(u.copies) {
		return err
	}
	return u.replace(s, s.env)
}

func (u *UBoot) update(f func(Env) error) error {
	s, err := u.snapshot()
	if err != nil {
		return err
	}
	env := maps.Clone(s.env)
	if err := f(env); err != nil {
		return err
	}
	maps.DeleteFunc(env, func(_, value string) bool { return value == "" })
	if maps.Equal(env, s.env) {
		return nil
	}
	return u.replace(s, env)
}

// replace writes env to the copy that is not current, which makes it the one
// that is.
func (u *UBoot) replace(s snapshot, env Env) error {
	if !u.redundant() && !u.options.SingleCopy {
		return ErrSingleCopy
	}
	stale := len(u.copies) - 1 - s.current
	b, err := env.Encode(int(u.copies[stale].Size), u.redundant(), s.flags+1)
	if err != nil {
		return err
	}
	if err = u.copies[stale].write(b); err == nil {
		err = u.inForce(stale, b)
	}
	if err != nil && u.redundant() {
		return errors.Join(err, u.withdraw(stale))
	}
	return err
}

// withdraw takes back a write that failed and is in force all the same: a full
// medium that lacks nothing but padding, a sync that failed too late.
func (u *UBoot) withdraw(written int) error {
	if s, err := u.snapshot(); err != nil || s.current != written {
		return err
	}
	return u.copies[written].spoil()
}

// inForce makes sure that U-Boot will take the copy that was written.
func (u *UBoot) inForce(written int, b []byte) error {
	s, err := u.snapshot()
	if err != nil {
		return err
	}
	if !bytes.Equal(s.raw, b) {
		return fmt.Errorf("%w: %v is not in force", ErrReadBack, u.copies[written].Location)
	}
	return nil
}

// Restore writes both copies from raw, a copy that Raw returned earlier, with
// the slot part as the one that boots and no trial. It is for an environment
// that is lost: where a copy is valid, or would be if fw_env.config were right,
// it is refused, and so is a backup of another size. The copies are written one
// after the other, so that a cut leaves one of them, and the second also when
// the first cannot be: after an error one of them may be in force.
func (u *UBoot) Restore(raw []byte, part int) (err error) {
	held, err := lock(u.options.LockPath)
	if err != nil {
		return err
	}
	return errors.Join(u.restore(raw, part), held.Close())
}

func (u *UBoot) restore(raw []byte, part int) error {
	switch _, err := u.snapshot(); {
	case err == nil:
		return errors.New("restore the boot environment: a copy is valid, nothing is lost")
	case errors.Is(err, errGeometry):
		return fmt.Errorf("restore the boot environment: nothing is lost: %w", err)
	}
	if int64(len(raw)) != u.copies[0].Size {
		return fmt.Errorf("restore the boot environment: the backup has %#x bytes, and the environment %#x", len(raw), u.copies[0].Size)
	}
	env, flags, err := ParseEnv(raw, u.redundant())
	if err != nil {
		return fmt.Errorf("restore the boot environment: the backup: %w", err)
	}
	if err := env.boot(part); err != nil {
		return err
	}
	var problems []error
	for i, c := range u.copies {
		b, err := env.Encode(len(raw), u.redundant(), flags+1-byte(i))
		if err != nil {
			return err
		}
		problems = append(problems, c.write(b))
	}
	return errors.Join(problems...)
}
