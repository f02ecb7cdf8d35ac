package install

// Decide is the one place where plimsoll makes up its mind after a boot, a
// cut or a command. It is pure: what is known goes in, one row of the table
// comes out, and nothing is read or written. Resume, Status, Commit and
// Rollback all act on it, and its test walks the whole product of its inputs.

// A Phase is how far the record of an update has come. It is stored in
// state.json before the step that it names is entered.
type Phase string

const (
	PhaseNone        Phase = ""             // no update was recorded
	PhaseWriting     Phase = "writing"      // the inactive slot is being written
	PhaseVerified    Phase = "verified"     // written and read back; nothing armed
	PhaseInstalling  Phase = "installing"   // ArtifactInstall's scripts, and the module, are under way
	PhaseInstalled   Phase = "installed"    // a module has installed its payload; it has no verdict
	PhaseArming      Phase = "arming"       // the intent is recorded; the environment may be armed
	PhaseArmed       Phase = "armed"        // the environment was armed
	PhaseAlive       Phase = "alive"        // the trial reached plimsoll in the new system
	PhaseConfirming  Phase = "confirming"   // judged healthy; ArtifactCommit's scripts, and the module, are under way
	PhaseCommitting  Phase = "committing"   // judged healthy; the environment may be committed
	PhaseRollingBack Phase = "rolling-back" // judged unhealthy, or asked to; the environment may be written
	PhaseFailed      Phase = "failed"       // closed: the update did not stay
	PhaseCommitted   Phase = "committed"    // closed: the update stayed

	phaseUnreadable Phase = "unreadable" // never stored: the record is damaged or of a newer schema
	phaseMissing    Phase = "missing"    // never stored: the state directory cannot be used
)

// A Part is what an update that is closed still owes: what runs around it, in
// this order, each repeated after a cut. It is stored before it is begun.
type Part string

const (
	OwesNothing  Part = ""
	OwesLeave    Part = "commit-leave" // it stayed: ArtifactCommit_Leave
	OwesRollback Part = "rollback"     // it did not: data, ArtifactRollback
	OwesFailure  Part = "failure"      // and then ArtifactFailure
	OwesCleanup  Part = "cleanup"      // at last, either way
)

// A TrialID says whose trial the environment names.
type TrialID int

const (
	IDNone  TrialID = iota // plimsoll_trial is absent
	IDOurs                 // it equals the record's
	IDOther                // it is there and is not the record's, or there is no record
)

// A Verdict is what the health checks say of the running system.
type Verdict int

const (
	NoVerdict Verdict = iota
	Healthy
	Unhealthy
)

// A Situation is all that a decision may depend on. Slots are named "A" and
// "B"; "" is neither.
type Situation struct {
	Phase   Phase
	Source  string // the slot that the update was installed from
	Target  string // the slot that it was written to
	Running string // the slot beneath /

	EnvLost bool    // neither copy of the environment is valid
	Boots   string  // the slot that mender_boot_part names
	OnTrial bool    // upgrade_available is 1
	ID      TrialID // plimsoll_trial against the record
	Count   int     // bootcount

	SameBoot   bool // the record was last written during this boot
	TrialBoots int  // boots into the target that the record has counted
	TrialLimit int  // boots into the target that are allowed
	Returned   bool // a reboot to go back was already asked for, for this id
	SourceGood bool // the source slot holds a complete system
	Backup     bool // a backup of the environment is there and fits this device
	Module     bool // the payload is a module's: no slot has to do with it
	NeedsBoot  bool // what the module has installed needs a reboot
	Owed       Part // what a closed update still owes
	Drill      bool // the record is of a drill: it gets no verdict, and the bootloader must go back by itself
	Verdict    Verdict
}

// An Action is what is to be done about a situation.
type Action int

const (
	Nothing     Action = iota // idle: nothing is owed
	Wait                      // armed; the reboot is owed, and not by plimsoll
	HandsOff                  // another client's update: neither helped nor hindered
	Attention                 // report, write nothing, reboot nothing
	Adopt                     // rebuild a minimal record of the trial, then decide again
	Forget                    // clear the trial id from the environment
	Abandon                   // the inactive slot is not whole: mark it bad, close the record
	Arm                       // read the target slot back once more, then arm it
	Disarm                    // close the record as failed; environment back to the running slot
	Judge                     // ask the health checks, then decide again
	Commit                    // record, environment, record: in that order
	Finish                    // the environment is committed: only the record is behind
	Fail                      // the environment is back already: close the record as failed
	Return                    // record, environment back to the source, reboot
	Reboot                    // the environment is back already: force the reboot
	Restore                   // both copies are lost: write them from the backup, then decide again
	Prove                     // a drill: record that its target is alive, then decide again
	Restart                   // a drill: reboot without a verdict, so that the bootloader goes back
	RunInstall                // a module: ArtifactInstall
	RunLeave                  // what is owed: ArtifactCommit_Leave
	RunRollback               // what is owed: data as it was, and ArtifactRollback
	RunFailure                // what is owed: ArtifactFailure
	RunCleanup                // what is owed: Cleanup
)

// A Class says why an update failed, which decides whether it may be tried
// again without a hand laid on the device.
type Class string

const (
	ClassNone      Class = ""          // not the artifact's failure: a rollback by hand
	ClassBad       Class = "bad"       // never again unattended
	ClassDisturbed Class = "disturbed" // power, stick, I/O: three times at most
)

// A Decision is a row of the table.
type Decision struct {
	Row    string // its number, as docs/safety.md and "plimsoll status" name it
	Is     string // what the situation is, for people
	Do     Action
	Boots  string // for Restore, Disarm and Return: the slot that the environment must name
	Class  Class  // for what fails
	Passed bool   // for a drill that ends: the bootloader went back by itself, from a system that was alive
}

// Decide returns the row for s. It is total: a combination that no history is
// known to produce is reported and left alone (row Z).
func Decide(s Situation) Decision {
	switch {
	case s.Running == "" && s.EnvLost:
		return Decision{Row: "A7", Is: "both copies of the boot environment are damaged, and the running system is on neither slot", Do: Attention}
	case s.Running == "":
		return Decision{Row: "D10", Is: "the running system is on neither slot: a rescue system or the wrong medium", Do: Attention}
	case s.Phase == phaseMissing:
		return s.withoutState()
	case s.EnvLost:
		return s.withoutEnvironment()
	case s.Boots == "":
		return Decision{Row: "A5", Is: "the boot environment names neither slot", Do: Attention}
	case s.Phase == PhaseWriting && s.Running == s.Target:
		return s.goBack("B2", "running the slot that was being written", ClassDisturbed)
	case s.Phase == phaseUnreadable:
		d := s.withoutRecord()
		return Decision{Row: "I1", Is: "the record cannot be read; by the environment alone: " + d.Is, Do: d.Do, Boots: d.Boots}
	case s.Phase == PhaseNone, s.ID == IDOther:
		return s.withoutRecord()
	case s.OnTrial && s.ID == IDNone:
		return s.withoutRecord() // upgrade_available without our id: somebody else's
	case s.Module:
		return s.module()
	case s.Running == s.Target:
		return s.onTarget()
	default:
		return s.onSource()
	}
}

// withoutRecord are the A rows: the environment's word is all there is.
func (s Situation) withoutRecord() Decision {
	here := s.Running == s.Boots
	switch {
	case here && !s.OnTrial && s.ID == IDNone:
		return Decision{Row: "A1", Is: "idle", Do: Nothing}
	case here && !s.OnTrial:
		return Decision{Row: "A6", Is: "an update of ours ended and its record is lost", Do: Forget}
	case here && s.ID == IDNone:
		return Decision{Row: "A2", Is: "another client's update is on trial", Do: HandsOff}
	case here:
		return Decision{Row: "A4", Is: "an update of ours is on trial and its record is lost", Do: Adopt}
	case s.OnTrial && s.ID == IDNone:
		return Decision{Row: "A3", Is: "another client's update is armed and waits for a reboot", Do: HandsOff}
	case s.OnTrial:
		return Decision{Row: "A3", Is: "an update of ours is armed, its record is lost, and it waits for a reboot", Do: HandsOff}
	default:
		return Decision{Row: "A5", Is: "the bootloader did not start the slot that the environment names: it could not, or it follows another environment, or this one was reset", Do: Attention}
	}
}

// withoutState are rows I2 and I3: nothing can be remembered, so nothing is
// begun, and a trial cannot be kept.
func (s Situation) withoutState() Decision {
	switch {
	case s.EnvLost:
		return Decision{Row: "A7", Is: "both copies of the boot environment are damaged, and the state directory cannot be used", Do: Attention}
	case s.Boots != s.Running || s.Boots == "":
		return Decision{Row: "A5", Is: "the state directory cannot be used, and the bootloader does not follow this environment", Do: Attention}
	case s.OnTrial && s.ID == IDNone:
		return Decision{Row: "A2", Is: "another client's update is on trial", Do: HandsOff}
	case s.OnTrial && s.Verdict == NoVerdict:
		return Decision{Row: "I2", Is: "an update of ours is on trial without its state directory", Do: Judge}
	case s.OnTrial:
		return Decision{Row: "I2", Is: "an update of ours is on trial without its state directory", Do: Return, Boots: other(s.Running), Class: ClassBad}
	default:
		return Decision{Row: "I3", Is: "the state directory cannot be used", Do: Attention}
	}
}

// withoutEnvironment is row A7: neither copy is valid.
func (s Situation) withoutEnvironment() Decision {
	is := "both copies of the boot environment are damaged"
	d := Decision{Row: "A7", Is: is, Do: Restore, Boots: s.Running}
	trial := s.onTrialRecord() && s.Running == s.Target
	switch {
	case !s.Backup:
		d.Do, d.Boots = Attention, ""
		d.Is += " and there is no backup that fits"
	case trial && s.Drill && !s.alive():
		d.Do, d.Boots = Prove, ""
	case s.Phase == PhaseWriting && s.Running == s.Target,
		(s.Phase == PhaseRollingBack || s.Phase == PhaseConfirming) && s.Running == s.Target,
		trial && (s.Verdict == Unhealthy || s.Drill):
		d.Boots = s.Source
		if !s.SourceGood || s.Returned {
			d.Do, d.Boots = Attention, ""
			d.Is += ", and there is no way back from this slot"
		}
	case trial && s.Verdict == NoVerdict:
		d.Do, d.Boots = Judge, ""
	}
	return d
}

// onTrialRecord reports whether the record is of an update that may have been
// booted and has not been judged for good.
func (s Situation) onTrialRecord() bool {
	switch s.Phase {
	case PhaseVerified, PhaseArming, PhaseArmed, PhaseAlive, PhaseCommitting:
		return true
	}
	return false
}

// onTarget are the rows of a system that runs in the slot that was written.
func (s Situation) onTarget() Decision {
	if s.Boots == s.Source {
		return s.onTargetBootsSource()
	}
	if s.Drill {
		return s.onTargetDrill()
	}
	if s.OnTrial {
		return s.onTargetOnTrial()
	}
	switch s.Phase {
	case PhaseCommitting:
		return Decision{Row: "F2", Is: "committed; only the record is behind", Do: Finish}
	case PhaseCommitted, PhaseFailed:
		if s.ID == IDOurs {
			return Decision{Row: "A6", Is: "an update of ours ended; its id is still in the environment", Do: Forget}
		}
		return s.closed(Decision{Row: "A1", Is: "idle", Do: Nothing})
	case PhaseRollingBack:
		return s.goBack("G1", "a rollback was decided and not written", "")
	}
	if s.ID == IDOurs {
		return Decision{Row: "D6", Is: "committed by another hand; the record is behind", Do: Finish}
	}
	if s.Phase == PhaseConfirming {
		return s.goBack("D7", "the environment was reset while ArtifactCommit was under way", ClassDisturbed)
	}
	switch s.Verdict { // D7: the environment was reset, and this slot is its default
	case Healthy:
		return Decision{Row: "D7", Is: "the environment was reset during the trial; the system is healthy", Do: Commit}
	case Unhealthy:
		return s.goBack("D7", "the environment was reset during the trial; the system is unhealthy", ClassBad)
	}
	return Decision{Row: "D7", Is: "the environment was reset during the trial, and was never committed", Do: Judge}
}

// onTargetOnTrial: running = target = mender_boot_part, and the id is ours.
func (s Situation) onTargetOnTrial() Decision {
	switch s.Phase {
	case PhaseCommitted:
		return Decision{Row: "F1", Is: "committed in the record, and the environment is behind", Do: Commit}
	case PhaseCommitting:
		if s.SameBoot {
			return Decision{Row: "F1", Is: "judged healthy; the environment is behind", Do: Commit}
		}
	case PhaseConfirming:
		if s.Verdict == Unhealthy {
			return s.goBack("F0", "ArtifactCommit_Enter failed", ClassBad)
		}
		return s.goBack("F0", "cut in ArtifactCommit_Enter", ClassDisturbed)
	case PhaseRollingBack, PhaseFailed:
		return s.goBack("G1", "a rollback was decided and not written", "")
	}
	row := "D4"
	switch {
	case s.TrialBoots > s.TrialLimit:
		return s.goBack("D4''", "more trial boots than allowed: the bootloader does not count them", ClassBad)
	case s.Phase == PhaseCommitting:
		row = "F1"
	case s.Phase == PhaseAlive && s.SameBoot:
		row = "D4'"
	}
	switch s.Verdict {
	case Healthy:
		return Decision{Row: row, Is: "on trial and healthy", Do: Commit}
	case Unhealthy:
		return s.goBack(row, "on trial and unhealthy", ClassBad)
	}
	return Decision{Row: row, Is: "on trial", Do: Judge}
}

// alive reports whether the target's own plimsoll recorded this boot.
func (s Situation) alive() bool { return s.Phase == PhaseAlive && s.SameBoot }

// onTargetDrill: the target of a drill runs, and nothing says yet that it
// should not. It is never kept, whoever says so: what a drill shows is that the
// bootloader goes back by itself.
func (s Situation) onTargetDrill() Decision {
	closed := s.Phase == PhaseFailed || s.Phase == PhaseCommitted
	switch {
	case s.Phase == PhaseRollingBack, closed && s.OnTrial:
		return s.goBack("G1", "the end of a drill was decided and not written", "")
	case closed && s.ID == IDOurs:
		return Decision{Row: "A6", Is: "a drill of ours ended; its id is still in the environment", Do: Forget}
	case closed:
		return Decision{Row: "A1", Is: "idle", Do: Nothing}
	case !s.OnTrial && s.ID == IDOurs:
		return s.goBack("D6", "a drill was committed by another hand", ClassNone)
	case !s.OnTrial:
		return s.goBack("D7", "the environment was reset during a drill", ClassNone)
	case s.TrialBoots > s.TrialLimit:
		return s.goBack("D4''", "a drill started more often than allowed: the bootloader does not count", ClassNone)
	case s.Verdict == Unhealthy:
		return s.goBack("E1", "a drill that was called off, or could not be recorded", ClassNone)
	case s.alive():
		return Decision{Row: "E2", Is: "a drill reached the other slot: a reboot must bring the bootloader back", Do: Restart}
	}
	return Decision{Row: "E1", Is: "a drill reached the other slot", Do: Prove}
}

// onTargetBootsSource: the environment says source, the running root is the
// target. Within the boot that wrote it that is a reboot which has not come;
// after another boot the bootloader does not do what the environment says.
func (s Situation) onTargetBootsSource() Decision {
	switch {
	case s.OnTrial:
		return Decision{Row: "Z", Is: "the environment has a trial of the other slot than the record", Do: Attention}
	case s.Phase == PhaseCommitted || s.Phase == PhaseFailed:
		return Decision{Row: "A5", Is: "the bootloader did not start the slot that the environment names: it could not, or it follows another environment, or this one was changed", Do: Attention}
	case s.SameBoot:
		return Decision{Row: "D8", Is: "the rollback is written and the reboot has not come", Do: Reboot}
	case s.Phase == PhaseRollingBack:
		return Decision{Row: "G3", Is: "the bootloader ignored the rollback", Do: Attention}
	}
	return Decision{Row: "D9", Is: "the environment names one slot, and the root file system is on the other", Do: Attention}
}

// goBack returns to the source, once for each id, and only if it is whole.
func (s Situation) goBack(row, is string, c Class) Decision {
	switch {
	case s.Returned:
		return Decision{Row: "G3", Is: "the bootloader ignored the rollback", Do: Attention}
	case !s.SourceGood:
		return Decision{Row: row, Is: is + "; the other slot is not good, there is no way back", Do: Attention}
	}
	return Decision{Row: row, Is: is, Do: Return, Boots: s.Source, Class: c}
}

// onSource are the rows of a system that runs where the update came from.
func (s Situation) onSource() Decision {
	switch {
	case s.Boots == s.Target && s.OnTrial:
		return s.onSourceArmed()
	case s.Boots == s.Target && (s.Phase == PhaseCommitted || s.Phase == PhaseCommitting || s.Phase == PhaseConfirming):
		return Decision{Row: "H2", Is: "running the previous version: the committed slot could not be booted", Do: Attention}
	case s.Boots == s.Target:
		return Decision{Row: "A5", Is: "the bootloader did not start the slot that the environment names: it could not, or it follows another environment, or it was committed before the reboot", Do: Attention}
	case s.OnTrial:
		return Decision{Row: "Z", Is: "the environment has the running slot on trial under the record's id", Do: Attention}
	}
	return s.onSourceBack()
}

// onSourceArmed: the environment still has the target on trial, under our id.
func (s Situation) onSourceArmed() Decision {
	switch s.Phase {
	case PhaseFailed:
		return Decision{Row: "D3", Is: "failed; the environment is still armed", Do: Disarm, Boots: s.Source}
	case PhaseCommitted:
		return Decision{Row: "Z", Is: "the committed slot is on trial again", Do: Attention}
	case PhaseRollingBack:
		return Decision{Row: "G1", Is: "a rollback was decided and not written", Do: Disarm, Boots: s.Source}
	}
	switch {
	case s.SameBoot && s.Drill:
		return Decision{Row: "D2", Is: "a drill is armed: a reboot starts it", Do: Wait}
	case s.SameBoot:
		return Decision{Row: "D2", Is: "armed: a reboot starts the trial", Do: Wait}
	case s.Count == 0:
		return Decision{Row: "D3a", Is: "rebooted, and the bootloader ignored the update", Do: Disarm, Boots: s.Source, Class: ClassBad}
	}
	return Decision{Row: "D3b", Is: "the bootloader counted a trial, and the root file system is the old one", Do: Disarm, Boots: s.Source, Class: ClassBad}
}

// onSourceBack: the environment names the running slot and no trial.
func (s Situation) onSourceBack() Decision {
	switch s.Phase {
	case PhaseWriting:
		return Decision{Row: "B1", Is: "an installation was cut while it wrote the inactive slot", Do: Abandon}
	case PhaseCommitted, PhaseFailed:
		if s.ID == IDOurs {
			return Decision{Row: "A6", Is: "an update of ours ended; its id is still in the environment", Do: Forget}
		}
		return s.closedOnSource()
	case PhaseInstalling:
		if s.Verdict == Unhealthy {
			return Decision{Row: "C2", Is: "ArtifactInstall failed: nothing was armed", Do: Fail, Class: ClassBad}
		}
		return Decision{Row: "C2", Is: "cut in ArtifactInstall: nothing was armed", Do: Fail, Class: ClassDisturbed}
	case PhaseConfirming:
		return Decision{Row: "F3", Is: "fell back while ArtifactCommit was under way", Do: Fail, Class: ClassDisturbed}
	case PhaseRollingBack:
		return Decision{Row: "G2", Is: "went back, as decided", Do: Fail}
	case PhaseCommitting:
		return Decision{Row: "F3", Is: "fell back while the commit was being written", Do: Fail, Class: ClassDisturbed}
	}
	switch {
	case s.Drill:
		return s.drillOver()
	case s.ID == IDOurs && s.TrialBoots > 0:
		return Decision{Row: "D5", Is: "tried, and fell back before there was a verdict", Do: Fail, Class: ClassDisturbed}
	case s.ID == IDOurs:
		return Decision{Row: "D5", Is: "tried, and fell back: the new system never reached plimsoll", Do: Fail, Class: ClassBad}
	case s.Phase == PhaseVerified:
		return Decision{Row: "C1", Is: "written and verified, and not armed", Do: Arm}
	case s.Phase == PhaseArming:
		return Decision{Row: "D1", Is: "cut before the arm: nothing was tried", Do: Arm}
	}
	return Decision{Row: "D5", Is: "the environment was reset during the trial, and names the old slot", Do: Fail, Class: ClassDisturbed}
}

// closedOnSource: an update is over, and what it was installed from runs.
func (s Situation) closedOnSource() Decision {
	switch {
	case s.Phase == PhaseFailed && s.Drill:
		return Decision{Row: "H1", Is: "idle; the last update was a drill", Do: Nothing}
	case s.Phase == PhaseFailed:
		return s.closed(Decision{Row: "H1", Is: "idle; the last update did not stay", Do: Nothing})
	}
	return s.closed(Decision{Row: "A1", Is: "idle", Do: Nothing})
}

// closed are the L rows: what an update that is over still owes. Where another
// slot runs than the one that the scripts are about they are left out.
func (s Situation) closed(idle Decision) Decision {
	stayed := s.Phase == PhaseCommitted
	here := s.Module || (s.Running == s.Target) == stayed
	switch {
	case s.Owed == OwesNothing:
		return idle
	case s.Owed == OwesLeave && stayed && here:
		return Decision{Row: "L1", Is: "committed; ArtifactCommit_Leave is to be run", Do: RunLeave}
	case s.Owed == OwesRollback && !stayed && here:
		return Decision{Row: "L2", Is: "the update did not stay; ArtifactRollback is to be run", Do: RunRollback}
	case s.Owed == OwesFailure && !stayed && here:
		return Decision{Row: "L3", Is: "the update did not stay; ArtifactFailure is to be run", Do: RunFailure}
	}
	return Decision{Row: "L4", Is: "an update is over; what it left is to be removed", Do: RunCleanup}
}

// module are the M rows: the payload is a module's, and no slot has to do with
// it. (Mender client 5, the states of an update.)
func (s Situation) module() Decision {
	switch s.Phase {
	case PhaseWriting:
		return Decision{Row: "M1", Is: "cut while the payload was taken in", Do: Abandon}
	case PhaseVerified:
		return Decision{Row: "M2", Is: "taken in, and not installed", Do: RunInstall}
	case PhaseInstalling:
		if s.Verdict == Unhealthy {
			return Decision{Row: "M3", Is: "ArtifactInstall failed", Do: Fail, Class: ClassBad}
		}
		return Decision{Row: "M3", Is: "cut in ArtifactInstall", Do: Fail, Class: ClassDisturbed}
	case PhaseInstalled:
		return s.moduleInstalled()
	case PhaseConfirming:
		if s.Verdict == Unhealthy {
			return Decision{Row: "M5", Is: "ArtifactCommit failed", Do: Fail, Class: ClassBad}
		}
		return Decision{Row: "M5", Is: "cut in ArtifactCommit", Do: Fail, Class: ClassDisturbed}
	case PhaseFailed:
		return s.closed(Decision{Row: "H1", Is: "idle; the last update did not stay", Do: Nothing})
	case PhaseCommitted:
		return s.closed(Decision{Row: "A1", Is: "idle", Do: Nothing})
	}
	return Decision{Row: "Z", Is: "the record has a phase that an update without a slot does not have", Do: Attention}
}

func (s Situation) moduleInstalled() Decision {
	switch {
	case s.Verdict == Healthy:
		return Decision{Row: "M4", Is: "installed, and healthy", Do: Commit}
	case s.Verdict == Unhealthy:
		return Decision{Row: "M4", Is: "installed, and unhealthy", Do: Fail, Class: ClassBad}
	case s.NeedsBoot && s.SameBoot:
		return Decision{Row: "M4", Is: "installed: it needs a reboot", Do: Wait}
	}
	return Decision{Row: "M4", Is: "installed, and not kept", Do: Judge}
}

// drillOver: back where a drill came from, and nobody of ours wrote that.
func (s Situation) drillOver() Decision {
	switch {
	case s.ID == IDOurs && s.TrialBoots == 0:
		return Decision{Row: "D5", Is: "the bootloader came back from a drill, and the other slot never reached plimsoll", Do: Fail}
	case s.ID == IDOurs && s.TrialBoots > s.TrialLimit:
		return Decision{Row: "D5", Is: "the bootloader came back from a drill later than it should", Do: Fail}
	case s.ID == IDOurs:
		return Decision{Row: "D5", Is: "the other slot was alive, and the bootloader came back by itself", Do: Fail, Passed: true}
	case s.Phase == PhaseVerified:
		return Decision{Row: "C1", Is: "a drill was cut before it was armed", Do: Fail}
	case s.Phase == PhaseArming:
		return Decision{Row: "D1", Is: "a drill was cut before it was armed", Do: Fail}
	}
	return Decision{Row: "D5", Is: "the environment was reset during a drill, and names the old slot", Do: Fail}
}

// other is the other of the two slots.
func other(slot string) string {
	if slot == "A" {
		return "B"
	}
	return "A"
}
