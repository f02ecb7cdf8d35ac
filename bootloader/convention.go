package bootloader

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
)

// The variables of Mender's convention, and ours beside them. They are named
// in this file only.
const (
	varPart        = "mender_boot_part"
	varPartHex     = "mender_boot_part_hex"
	varTrial       = "upgrade_available"
	varCount       = "bootcount"
	varLimit       = "bootlimit"
	varAltBoot     = "altbootcmd"
	varCheckCanary = "mender_check_saveenv_canary"
	varCanary      = "mender_saveenv_canary"
	varID          = "plimsoll_trial"
	varFloor       = "plimsoll_floor"
	varTargets     = "boot_targets"
	varOwnCount    = "plimsoll_count" // instead of bootcount, where a register counts
	varOwnLimit    = "plimsoll_limit" // instead of bootlimit, there
)

// Why a slot cannot be armed.
var (
	ErrPending    = errors.New("an update is armed or on trial already")
	ErrCannotSave = errors.New("the bootloader has not shown that it can save its environment")
	ErrNoLimit    = errors.New("the bootloader would never fall back from a trial")
)

// A State is what the environment says of slots and trials.
type State struct {
	Part    int    // partition number of the slot that boots; 0 if it is not set
	Trial   bool   // that slot is on trial
	Counter string // who counts the boots of a trial: CounterNative, CounterScript or CounterRegister
	Count   int    // boots since the trial began
	Limit   int    // count that is allowed; 0: there is none, and a trial never falls back
	ID      string // whose trial it is; "" if not ours
	Floor   string // lowest version that may be installed; "" for none
	CanSave bool   // U-Boot showed that it can save, or is not asked to show it
	AltBoot bool   // U-Boot has a command for when the limit is exceeded
	Copies  int    // copies that are configured
	Valid   int    // copies that are valid

	// RegisterLimit is, with CounterRegister, the bootlimit that U-Boot's register
	// is held against: unless it is 0 a healthy system falls back.
	RegisterLimit int
}

// State returns what the current copy says. ErrNoCopy if none is valid; the
// number of copies is right all the same. A boot partition or a trial flag that
// is not a number is an error: nobody can tell what U-Boot's scripts make of it.
func (u *UBoot) State() (State, error) {
	s, err := u.look()
	if err == nil {
		err = s.env.sane()
	}
	st := u.state(s.env)
	st.Copies, st.Valid = len(u.copies), s.valid
	return st, err
}

func (e Env) sane() error {
	for _, name := range []string{varPart, varTrial} {
		if _, err := strconv.ParseUint(e[name], 10, 31); e[name] != "" && err != nil {
			return fmt.Errorf("boot environment: %s is %q, which is not a number", name, e[name])
		}
	}
	return nil
}

func (u *UBoot) state(e Env) State {
	count, limit := CountVariables(u.options.Counter)
	st := State{
		Part:    number(e[varPart]),
		Trial:   number(e[varTrial]) != 0, // U-Boot counts for any number but 0
		Counter: u.options.Counter,
		Count:   number(e[count]),
		Limit:   number(e[limit]),
		ID:      e[varID],
		Floor:   e[varFloor],
		CanSave: e[varCheckCanary] != "1" || e[varCanary] == "1",
		AltBoot: e[varAltBoot] != "",
	}
	if u.options.Counter == CounterRegister {
		st.RegisterLimit = number(e[varLimit])
	}
	return st
}

// commands are the variables that decide what a U-Boot starts which follows the
// convention by itself.
var commands = []string{varAltBoot, "bootcmd", "mender_setup"}

// Commands names a version of the scripts in an environment. The saved ones win
// over the defaults of a U-Boot that was replaced since.
func (e Env) Commands() string {
	h := sha256.New()
	for _, name := range commands {
		fmt.Fprintf(h, "%s=%s\n", name, e[name])
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// BootTargets returns where U-Boot looks for something to boot, in its order,
// as far as the environment says: "mmc0 usb0 dhcp".
func (e Env) BootTargets() string { return e[varTargets] }

// number reads a decimal as U-Boot does, for which what is no number is 0.
func number(s string) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// A Trial is what Try arms.
type Trial struct {
	Part  int    // partition number of the slot to boot
	ID    string // whose trial it is
	Limit int    // boots that it may take; 0: what the environment says already
}

// Try arms a slot: from the next boot on it is on trial. It is one write: on
// nil it is in force and on the medium. It is refused with ErrPending,
// ErrCannotSave, ErrSingleCopy, ErrNoLimit or ErrNoCopy, and then nothing was
// written. With CounterRegister U-Boot's own bootcount and bootlimit are left
// alone: its register counts every boot, and with a limit in the environment a
// healthy system would fall back. Our boot script counts in variables of its own.
func (u *UBoot) Try(t Trial) error {
	return u.Update(func(e Env) error {
		if err := u.check(e); err != nil {
			return err
		}
		if err := e.set(t.Part); err != nil {
			return err
		}
		count, limit := CountVariables(u.options.Counter)
		e[varTrial], e[varID], e[count] = "1", t.ID, "0"
		if t.Limit != 0 {
			e[limit] = strconv.Itoa(t.Limit)
		}
		return u.limited(e)
	})
}

// Check tells why Try would be refused, and writes nothing. Beyond the refusals
// of Try it knows of copies that the kernel would not let us write, and of a
// lock that cannot be taken.
func (u *UBoot) Check() error {
	held, err := lock(u.options.LockPath) // one that cannot be had would be found too late otherwise
	if err != nil {
		return err
	}
	if err := held.Close(); err != nil {
		return err
	}
	e, err := u.Env()
	if err != nil {
		return err
	}
	if err := u.check(e); err != nil {
		return err
	}
	for _, c := range u.copies {
		if err := c.writable(); err != nil {
			return fmt.Errorf("boot environment: %w", err)
		}
	}
	return nil
}

func (u *UBoot) check(e Env) error {
	if err := e.sane(); err != nil {
		return err
	}
	s := u.state(e)
	switch {
	case s.Trial:
		return ErrPending
	case !s.CanSave:
		return fmt.Errorf("%w (%s is %q)", ErrCannotSave, varCanary, e[varCanary])
	case !u.redundant() && !u.options.SingleCopy:
		return ErrSingleCopy
	case !s.AltBoot && u.native():
		// Above the limit U-Boot runs nothing else, and stops at its prompt.
		return fmt.Errorf("%w (%s is not set)", ErrNoLimit, varAltBoot)
	case u.native():
		return u.limited(e)
	}
	return nil
}

// limited refuses an environment in which a trial would never end.
func (u *UBoot) limited(e Env) error {
	if _, limit := CountVariables(u.options.Counter); u.state(e).Limit == 0 {
		return fmt.Errorf("%w (%s is %q)", ErrNoLimit, limit, e[limit])
	}
	return nil
}

func (u *UBoot) native() bool { return u.options.Counter == CounterNative }

// Commit ends a trial for good: part boots from now on. A floor that is not
// empty is kept in the environment, where wiping the state directory does not
// lower it. It is one write, and one that changes nothing is left out.
func (u *UBoot) Commit(part int, floor string) error {
	return u.Update(func(e Env) error {
		if floor != "" {
			e[varFloor] = floor
		}
		return e.boot(part)
	})
}

// Rollback ends a trial, or an arm, the other way: part boots from now on. It
// is one write, and one that changes nothing is left out.
func (u *UBoot) Rollback(part int) error {
	return u.Update(func(e Env) error { return e.boot(part) })
}

// Forget clears the id of a trial that ended. Nothing else changes.
func (u *UBoot) Forget() error {
	return u.Update(func(e Env) error {
		delete(e, varID)
		return nil
	})
}

// boot makes part the slot that boots, on no trial.
func (e Env) boot(part int) error {
	e[varTrial] = "0"
	delete(e, varID)
	return e.set(part)
}

// set names the slot that boots, in both of the forms that U-Boot's scripts use.
func (e Env) set(part int) error {
	if part < 1 {
		return fmt.Errorf("boot partition %d: there is no such partition", part)
	}
	e[varPart], e[varPartHex] = strconv.Itoa(part), strconv.FormatInt(int64(part), 16)
	return nil
}

// CountVariables returns the names of the variables in which a trial's boots
// are counted and limited, by who counts them.
func CountVariables(counter string) (count, limit string) {
	if counter == CounterRegister {
		return varOwnCount, varOwnLimit
	}
	return varCount, varLimit
}

// MaxScriptBoots is how many boots of a trial our boot script can count: it
// counts in one decimal digit.
const MaxScriptBoots = 9

// PartVariables returns the names of the variables that say which slot boots,
// in decimal and in hexadecimal, and whether it is on trial.
func PartVariables() (part, hex, trial string) { return varPart, varPartHex, varTrial }

// ScriptVariables returns the names of all variables of the convention and of
// ours: what a boot script must keep when it saves.
func ScriptVariables(counter string) []string {
	count, limit := CountVariables(counter)
	return []string{varPart, varPartHex, varTrial, count, limit, varID, varFloor}
}
