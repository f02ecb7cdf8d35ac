package install

import (
	"fmt"
	"slices"
	"testing"
)

// situations yields the whole product of what the table depends on, with A as
// the source slot.
func situations(yield func(Situation) bool) {
	phases := []Phase{
		PhaseNone, PhaseWriting, PhaseVerified, PhaseInstalling, PhaseArming, PhaseArmed, PhaseAlive, PhaseConfirming, PhaseCommitting,
		PhaseRollingBack, PhaseFailed, PhaseCommitted, phaseUnreadable, phaseMissing,
	}
	no, both := []bool{false}, []bool{false, true}
	limits := map[bool]int{false: 3, true: drillBoots}
	debts := map[Phase][]Part{}
	for _, phase := range phases {
		debts[phase] = []Part{OwesNothing}
	}
	debts[PhaseCommitted] = []Part{OwesNothing, OwesLeave, OwesCleanup}
	debts[PhaseFailed] = []Part{OwesNothing, OwesRollback, OwesFailure, OwesCleanup}
	for _, phase := range phases {
		source, target, record := "A", "B", both
		if phase == PhaseNone || phase == phaseUnreadable || phase == phaseMissing {
			source, target, record = "", "", no
		}
		for _, running := range []string{"A", "B", ""} {
			for _, boots := range []string{"A", "B", ""} {
				for _, lost := range both {
					for _, onTrial := range both {
						for _, id := range []TrialID{IDNone, IDOurs, IDOther} {
							for _, count := range []int{0, 1, 3, 4} {
								for _, sameBoot := range record {
									for _, trialBoots := range []int{0, 1, 4} {
										for _, drill := range record {
											for _, returned := range record {
												for _, good := range record {
													for _, owes := range debts[phase] {
														for _, backup := range both {
															if id == IDOurs && source == "" || returned && trialBoots == 0 || drill && (phase == PhaseCommitted || owes != OwesNothing || phase == PhaseInstalling || phase == PhaseConfirming) {
																continue // not to be had
															}
															if !yield(Situation{
																Phase: phase, Source: source, Target: target, Running: running,
																EnvLost: lost, Boots: boots, OnTrial: onTrial, ID: id, Count: count,
																SameBoot: sameBoot, TrialBoots: trialBoots, TrialLimit: limits[drill],
																Returned: returned, SourceGood: good, Backup: backup, Drill: drill, Owed: owes,
															}) {
																return
															}
														}
													}
												}
											}
										}
									}
								}
							}
						}
					}
				}
			}
		}
	}
}

// moduleSituations yields the whole product for an update without a slot.
func moduleSituations(yield func(Situation) bool) {
	both := []bool{false, true}
	for _, phase := range []Phase{PhaseWriting, PhaseVerified, PhaseInstalling, PhaseInstalled, PhaseConfirming, PhaseFailed, PhaseCommitted, PhaseArmed} {
		for _, running := range []string{"A", "B", ""} {
			for _, boots := range []string{"A", "B", ""} {
				for _, onTrial := range both {
					for _, id := range []TrialID{IDNone, IDOther} {
						for _, sameBoot := range both {
							for _, needs := range both {
								for _, owes := range []Part{OwesNothing, OwesLeave, OwesRollback, OwesFailure, OwesCleanup} {
									for _, lost := range both {
										if !yield(Situation{
											Module: true, Phase: phase, Running: running, Boots: boots, OnTrial: onTrial, ID: id, SameBoot: sameBoot,
											NeedsBoot: needs, Owed: owes, EnvLost: lost, Backup: true, TrialLimit: 3,
										}) {
											return
										}
									}
								}
							}
						}
					}
				}
			}
		}
	}
}

// TestModuleTable: an update without a slot comes to rest, runs each part in
// its order and none of them twice, and never writes a slot or the environment.
func TestModuleTable(t *testing.T) {
	rows := map[string]int{}
	order := map[Action]int{RunInstall: 1, Judge: 2, Commit: 3, RunLeave: 4, Abandon: 5, Fail: 5, RunRollback: 6, RunFailure: 7, RunCleanup: 8}
	for s := range moduleSituations {
		for _, w := range worlds {
			w.scripts = true // a module has parts even where the artifact has no scripts
			at, begun, trail := s, 0, []string(nil)
			for n := 0; ; n++ {
				d := Decide(at)
				rows[d.Row]++
				trail = append(trail, fmt.Sprintf("%s:%d", d.Row, d.Do))
				if d.Do == Nothing || d.Do == Wait || d.Do == HandsOff || d.Do == Attention {
					break
				}
				if d.Do == Forget || d.Do == Restore || d.Do == Adopt { // about the environment, whatever the update
					at, _ = w.after(at, d)
					if d.Do == Adopt {
						break
					}
					continue
				}
				if order[d.Do] <= begun || n > 12 {
					t.Fatalf("%+v in %+v: %v: out of order", s, w, trail)
				}
				if d.Do == Commit && (w.verdict != Healthy || at.Phase != PhaseInstalled) || d.Do == RunLeave && at.Phase != PhaseCommitted {
					t.Fatalf("%+v in %+v: %v: kept without a verdict", s, w, trail)
				}
				begun = order[d.Do]
				at, _ = w.after(at, d)
			}
		}
	}
	for _, row := range []string{"M1", "M2", "M3", "M4", "M5", "L1", "L2", "L3", "L4", "H1", "A1"} {
		if rows[row] == 0 {
			t.Errorf("row %s is never met", row)
		}
	}
}

// A world is how the device answers what plimsoll does.
type world struct {
	verdict Verdict
	ignores bool // the bootloader ignores the environment
	counts  bool // the bootloader counts the boots of a trial, and goes back
	scripts bool // the artifact has state scripts
	fails   bool // and those of ArtifactInstall and ArtifactCommit fail
}

// after applies a decision to a situation, in the model: what the record, the
// environment and the running slot are once the action was done.
func (w world) after(s Situation, d Decision) (next Situation, reboots int) {
	switch d.Do {
	case Adopt:
		s.Phase, s.Source, s.Target, s.ID = PhaseAlive, other(s.Running), s.Running, IDOurs
		s.SameBoot, s.TrialBoots, s.SourceGood, s.Drill = true, 1, true, false
	case Forget:
		s.ID = IDNone
	case Abandon, Fail:
		began := s.Phase == PhaseInstalling || s.Phase == PhaseInstalled || s.Phase == PhaseConfirming || s.TrialBoots > 0
		s.Phase, s.SameBoot = PhaseFailed, true
		if s.Owed = OwesNothing; w.scripts && !s.Drill && began {
			s.Owed = OwesRollback
		}
		if d.Do == Fail {
			s.ID = IDNone
		}
	case RunLeave:
		s.Owed, s.SameBoot = OwesCleanup, true
	case RunRollback:
		s.Owed, s.SameBoot = OwesFailure, true
	case RunFailure:
		s.Owed, s.SameBoot = OwesCleanup, true
	case RunCleanup:
		s.Owed, s.SameBoot = OwesNothing, true
	case RunInstall:
		s.Phase, s.SameBoot = PhaseInstalled, true
		if w.fails {
			s.Phase, s.Verdict = PhaseInstalling, Unhealthy
		}
	case Arm:
		if s.Phase == PhaseVerified && w.scripts && w.fails {
			s.Phase, s.SameBoot, s.Verdict = PhaseInstalling, true, Unhealthy
			break
		}
		s.Phase, s.SameBoot, s.TrialBoots, s.Returned = PhaseArmed, true, 0, false
		s.Boots, s.OnTrial, s.ID, s.Count = s.Target, true, IDOurs, 0
	case Disarm:
		s.Phase, s.SameBoot = PhaseFailed, true
		s.Boots, s.OnTrial, s.ID = d.Boots, false, IDNone
	case Judge:
		if s.Phase != PhaseCommitting && s.Phase != phaseMissing && (s.Phase != PhaseAlive || !s.SameBoot) {
			s.Phase, s.SameBoot = PhaseAlive, true
			s.TrialBoots++
		}
		s.Verdict = w.verdict
		if s.Phase == phaseMissing {
			s.Verdict = Unhealthy
		}
	case Commit:
		if w.scripts && w.fails && s.Phase != PhaseCommitting && s.Phase != PhaseCommitted {
			s.Phase, s.SameBoot, s.Verdict = PhaseConfirming, true, Unhealthy
			break
		}
		s.Phase, s.SameBoot = PhaseCommitted, true
		if !s.Module {
			s.Boots, s.OnTrial, s.ID = s.Target, false, IDNone
		}
		if w.scripts {
			s.Owed = OwesLeave
		}
	case Finish:
		s.Phase, s.SameBoot, s.ID = PhaseCommitted, true, IDNone
		if w.scripts {
			s.Owed = OwesLeave
		}
	case Restore:
		s.EnvLost, s.Boots, s.OnTrial, s.ID = false, d.Boots, false, IDNone
	case Return:
		if s.Phase != phaseMissing {
			s.Phase, s.Returned, s.SameBoot = PhaseRollingBack, true, true
		}
		s.Boots, s.OnTrial, s.ID = d.Boots, false, IDNone
		return w.reboot(s), 1
	case Reboot:
		return w.reboot(s), 1
	case Prove:
		s.Phase, s.SameBoot = PhaseAlive, true
		s.TrialBoots++
	case Restart: // not to go back: the bootloader must
		return w.reboot(s), 0
	}
	return s, 0
}

// reboot is U-Boot's part: it boots what the environment names, or not.
func (w world) reboot(s Situation) Situation {
	if s.OnTrial {
		if s.Count++; w.counts && s.Count > s.TrialLimit {
			s.Boots, s.OnTrial = other(s.Boots), false
		}
	}
	if !w.ignores {
		s.Running = s.Boots
	}
	s.SameBoot, s.Verdict = false, NoVerdict
	return s
}

// leaves reports whether an action makes the environment name another slot
// than the running one, so that the next boot is of that slot.
func leaves(s Situation, d Decision) bool {
	return (d.Do == Return || d.Do == Restore) && d.Boots != s.Running
}

var worlds = []world{
	{verdict: Healthy}, {verdict: Unhealthy}, {verdict: Healthy, ignores: true}, {verdict: Unhealthy, ignores: true}, {verdict: Healthy, counts: true},
	{verdict: Healthy, scripts: true}, {verdict: Unhealthy, scripts: true}, {verdict: Healthy, scripts: true, fails: true},
}

func TestTheWholeTable(t *testing.T) {
	n, rows := 0, map[string]int{}
	for s := range situations {
		for _, w := range worlds {
			n++
			if err := w.follow(s, rows); err != nil {
				t.Fatalf("%+v\nin a world %+v: %v", s, w, err)
			}
		}
	}
	t.Logf("%d situations in %d worlds, %d rows", n/len(worlds), len(worlds), len(rows))
	for _, row := range []string{
		"A1", "A2", "A3", "A4", "A5", "A6", "A7", "B1", "B2", "C1", "D1", "D2", "D3a", "D3b", "D4", "D4'", "D4''",
		"C2", "F0", "L1", "L2", "L3", "L4",
		"D5", "D6", "D7", "D8", "D9", "D10", "F1", "F2", "F3", "G1", "G2", "G3", "E1", "E2", "H1", "H2", "I1", "I2", "I3",
	} {
		if rows[row] == 0 {
			t.Errorf("row %s is never met", row)
		}
	}
}

// follow lets plimsoll act from s on until nothing is owed, and says which of
// the table's promises was broken on the way.
func (w world) follow(s Situation, rows map[string]int) error {
	var trail []string
	reboots, restarts, judged := 0, 0, false
	if s.Returned && !s.SameBoot {
		reboots = 1 // asked for in an earlier boot, for the same id
	}
	for range 16 {
		d := Decide(s)
		rows[d.Row]++
		trail = append(trail, fmt.Sprintf("%s:%d", d.Row, d.Do))
		switch {
		case d.Row == "" || d.Is == "":
			return fmt.Errorf("%v: a row without name or meaning", trail)
		case d.Do == Nothing || d.Do == Wait || d.Do == HandsOff || d.Do == Attention:
			return nil // a fixed point
		case d.Do == Commit && !(judged && w.verdict == Healthy) && !recordedVerdict(s):
			return fmt.Errorf("%v: committed without a verdict", trail)
		case s.Drill && (d.Do == Judge || d.Do == Commit || d.Do == Finish || d.Do == Arm):
			return fmt.Errorf("%v: a drill is kept, or begins by itself", trail)
		case !s.Drill && (d.Do == Prove || d.Do == Restart || d.Passed):
			return fmt.Errorf("%v: a drill without one", trail)
		case d.Passed && !(s.Running == s.Source && s.Boots == s.Source && !s.OnTrial && s.ID == IDOurs && s.TrialBoots == drillBoots):
			return fmt.Errorf("%v: a drill passes that shows nothing", trail)
		case d.Do == Restart && (!s.alive() || s.Running != s.Target):
			return fmt.Errorf("%v: restarts without a word in the record", trail)
		case d.Do == Commit && s.Running != s.Target:
			return fmt.Errorf("%v: committed what does not run", trail)
		case d.Do == Arm && (s.Running != s.Source || s.Target == s.Running):
			return fmt.Errorf("%v: armed the running slot", trail)
		case leaves(s, d) && s.Phase != phaseMissing && !s.SourceGood:
			return fmt.Errorf("%v: returns to a slot that is not good", trail)
		case leaves(s, d) && s.Source != "" && d.Boots != s.Source:
			return fmt.Errorf("%v: returns to a slot that it did not come from", trail)
		case d.Do == Disarm && d.Boots != s.Running:
			return fmt.Errorf("%v: disarms to a slot that does not run", trail)
		case (d.Do == Disarm || d.Do == Return || d.Do == Restore) && d.Boots == "":
			return fmt.Errorf("%v: writes no slot", trail)
		case s.Running == "" || s.ID == IDNone && s.OnTrial && !s.EnvLost && s.Phase != PhaseWriting:
			return fmt.Errorf("%v: acts on what is not ours", trail)
		}
		if d.Do == Restart {
			if restarts++; restarts > drillBoots+1 {
				return fmt.Errorf("%v: restarts for ever", trail)
			}
		}
		judged = judged || d.Do == Judge
		next, r := w.after(s, d)
		if reboots += r; reboots > 1 {
			return fmt.Errorf("%v: reboots twice", trail)
		}
		if r > 0 {
			judged = false
		}
		s = next
	}
	return fmt.Errorf("%v: does not come to rest", trail)
}

// recordedVerdict reports whether an earlier call was told that the system is
// healthy: it recorded that before it began to commit, in this boot.
func recordedVerdict(s Situation) bool {
	return s.Phase == PhaseCommitted || s.Phase == PhaseCommitting && s.SameBoot
}

// TestTableRows are the rows as the safety document has them: what is known,
// and what must be done.
func TestTableRows(t *testing.T) {
	base := func(phase Phase, running, boots string, onTrial bool, id TrialID) Situation {
		s := Situation{
			Phase: phase, Source: "A", Target: "B", Running: running, Boots: boots, OnTrial: onTrial, ID: id,
			TrialLimit: 3, SourceGood: true,
		}
		if phase == PhaseNone || phase == phaseUnreadable || phase == phaseMissing {
			s.Source, s.Target = "", ""
		}
		return s
	}
	with := func(s Situation, change func(*Situation)) Situation { change(&s); return s }
	sameBoot := func(s *Situation) { s.SameBoot = true }
	drill := func(boots int) func(*Situation) {
		return func(s *Situation) { s.Drill, s.TrialLimit, s.TrialBoots = true, drillBoots, boots }
	}
	inThisBoot := func(s *Situation) { drill(1)(s); s.SameBoot = true }
	for _, c := range []struct {
		name string
		s    Situation
		row  string
		do   Action
	}{
		{"idle", base(PhaseNone, "A", "A", false, IDNone), "A1", Nothing},
		{"another client's trial", base(PhaseNone, "B", "B", true, IDNone), "A2", HandsOff},
		{"another client's arm", base(PhaseNone, "A", "B", true, IDNone), "A3", HandsOff},
		{"our trial, data lost", base(PhaseNone, "B", "B", true, IDOther), "A4", Adopt},
		{"bootloader reads another environment", base(PhaseNone, "A", "B", false, IDNone), "A5", Attention},
		{"ours ended, data lost", base(PhaseNone, "A", "A", false, IDOther), "A6", Forget},
		{"both copies lost", with(base(PhaseNone, "A", "A", false, IDNone), func(s *Situation) { s.EnvLost = true }), "A7", Attention},
		{"both copies lost, backup", with(base(PhaseNone, "A", "A", false, IDNone), func(s *Situation) { s.EnvLost, s.Backup = true, true }), "A7", Restore},
		{"both copies lost in a trial", with(base(PhaseAlive, "B", "", false, IDNone), func(s *Situation) { s.EnvLost, s.Backup = true, true }), "A7", Judge},
		{"install cut", base(PhaseWriting, "A", "A", false, IDNone), "B1", Abandon},
		{"running the slot being written", base(PhaseWriting, "B", "B", false, IDNone), "B2", Return},
		{"running the slot being written, no way back", with(base(PhaseWriting, "B", "B", false, IDNone), func(s *Situation) { s.SourceGood = false }), "B2", Attention},
		{"verified, not armed", base(PhaseVerified, "A", "A", false, IDNone), "C1", Arm},
		{"cut before the arm", base(PhaseArming, "A", "A", false, IDNone), "D1", Arm},
		{"cut before the arm, stale count", with(base(PhaseArming, "A", "A", false, IDNone), func(s *Situation) { s.Count = 2 }), "D1", Arm},
		{"waiting for the reboot", with(base(PhaseArmed, "A", "B", true, IDOurs), sameBoot), "D2", Wait},
		{"ignored the arm", base(PhaseArmed, "A", "B", true, IDOurs), "D3a", Disarm},
		{"kernel of B, root of A", with(base(PhaseArmed, "A", "B", true, IDOurs), func(s *Situation) { s.Count = 1 }), "D3b", Disarm},
		{"trial", base(PhaseArmed, "B", "B", true, IDOurs), "D4", Judge},
		{"trial, record behind", base(PhaseArming, "B", "B", true, IDOurs), "D4", Judge},
		{"trial, unit restarted", with(base(PhaseAlive, "B", "B", true, IDOurs), sameBoot), "D4'", Judge},
		{"trial, count cannot be saved", with(base(PhaseAlive, "B", "B", true, IDOurs), func(s *Situation) { s.TrialBoots = 4 }), "D4''", Return},
		{"trial, healthy", with(base(PhaseAlive, "B", "B", true, IDOurs), func(s *Situation) { s.Verdict = Healthy }), "D4", Commit},
		{"trial, unhealthy", with(base(PhaseAlive, "B", "B", true, IDOurs), func(s *Situation) { s.Verdict = Unhealthy }), "D4", Return},
		{"fell back", base(PhaseArmed, "A", "A", false, IDOurs), "D5", Fail},
		{"committed by another hand", base(PhaseAlive, "B", "B", false, IDOurs), "D6", Finish},
		{"environment reset to the target", base(PhaseAlive, "B", "B", false, IDNone), "D7", Judge},
		{"rollback written, reboot hangs", with(base(PhaseAlive, "B", "A", false, IDNone), sameBoot), "D8", Reboot},
		{"rollback written, root still the target", base(PhaseAlive, "B", "A", false, IDNone), "D9", Attention},
		{"rescue system", base(PhaseArmed, "", "B", true, IDOurs), "D10", Attention},
		{"cut before the commit's write", with(base(PhaseCommitting, "B", "B", true, IDOurs), sameBoot), "F1", Commit},
		{"cut before the commit's write, rebooted", base(PhaseCommitting, "B", "B", true, IDOurs), "F1", Judge},
		{"environment committed, id kept", base(PhaseCommitting, "B", "B", false, IDOurs), "F2", Finish},
		{"environment committed", base(PhaseCommitting, "B", "B", false, IDNone), "F2", Finish},
		{"fell back during the commit", base(PhaseCommitting, "A", "A", false, IDOurs), "F3", Fail},
		{"rollback not written", base(PhaseRollingBack, "B", "B", true, IDOurs), "G1", Return},
		{"rollback done", base(PhaseRollingBack, "A", "A", false, IDNone), "G2", Fail},
		{"bootloader ignores the rollback", with(base(PhaseRollingBack, "B", "A", false, IDNone), func(s *Situation) { s.Returned = true }), "G3", Attention},
		{"cut in ArtifactInstall", base(PhaseInstalling, "A", "A", false, IDNone), "C2", Fail},
		{"cut in ArtifactCommit", base(PhaseConfirming, "B", "B", true, IDOurs), "F0", Return},
		{"cut in ArtifactCommit, and fell back", base(PhaseConfirming, "A", "A", false, IDOurs), "F3", Fail},
		{"committed by another hand in ArtifactCommit", base(PhaseConfirming, "B", "B", false, IDOurs), "D6", Finish},
		{"kept, scripts owed", with(base(PhaseCommitted, "B", "B", false, IDNone), func(s *Situation) { s.Owed = OwesLeave }), "L1", RunLeave},
		{"did not stay, scripts owed", with(base(PhaseFailed, "A", "A", false, IDNone), func(s *Situation) { s.Owed = OwesRollback }), "L2", RunRollback},
		{"kept, and the other slot runs", with(base(PhaseCommitted, "A", "A", false, IDNone), func(s *Situation) { s.Owed = OwesLeave }), "L4", RunCleanup},
		{"drill armed", with(base(PhaseArmed, "A", "B", true, IDOurs), inThisBoot), "D2", Wait},
		{"drill cut before the arm", with(base(PhaseArming, "A", "A", false, IDNone), drill(0)), "D1", Fail},
		{"drill's image verified, not armed", with(base(PhaseVerified, "A", "A", false, IDNone), drill(0)), "C1", Fail},
		{"drill's image cut", with(base(PhaseWriting, "A", "A", false, IDNone), drill(0)), "B1", Abandon},
		{"drill ignored by the bootloader", with(base(PhaseArmed, "A", "B", true, IDOurs), drill(0)), "D3a", Disarm},
		{"drill with the wrong root", with(base(PhaseArmed, "A", "B", true, IDOurs), func(s *Situation) { drill(0)(s); s.Count = 1 }), "D3b", Disarm},
		{"drill in the target", with(base(PhaseArmed, "B", "B", true, IDOurs), drill(0)), "E1", Prove},
		{"drill in the target, recorded", with(base(PhaseAlive, "B", "B", true, IDOurs), inThisBoot), "E2", Restart},
		{"drill in the target again", with(base(PhaseAlive, "B", "B", true, IDOurs), drill(1)), "E1", Prove},
		{"drill started too often", with(base(PhaseAlive, "B", "B", true, IDOurs), func(s *Situation) { drill(2)(s); s.SameBoot = true }), "D4''", Return},
		{"drill called off", with(base(PhaseAlive, "B", "B", true, IDOurs), func(s *Situation) { inThisBoot(s); s.Verdict = Unhealthy }), "E1", Return},
		{"drill, and somebody says it is healthy", with(base(PhaseAlive, "B", "B", true, IDOurs), func(s *Situation) { inThisBoot(s); s.Verdict = Healthy }), "E2", Restart},
		{"drill committed by another hand", with(base(PhaseAlive, "B", "B", false, IDOurs), inThisBoot), "D6", Return},
		{"environment reset to the drill's target", with(base(PhaseArmed, "B", "B", false, IDNone), drill(0)), "D7", Return},
		{"both copies lost in a drill", with(base(PhaseArmed, "B", "", false, IDNone), func(s *Situation) { drill(0)(s); s.EnvLost, s.Backup = true, true }), "A7", Prove},
		{"both copies lost in a drill, recorded", with(base(PhaseAlive, "B", "", false, IDNone), func(s *Situation) { inThisBoot(s); s.EnvLost, s.Backup = true, true }), "A7", Restore},
		{"drill fell back", with(base(PhaseAlive, "A", "A", false, IDOurs), drill(1)), "D5", Fail},
		{"drill fell back, never alive", with(base(PhaseArmed, "A", "A", false, IDOurs), drill(0)), "D5", Fail},
		{"drill went back by a decision", with(base(PhaseRollingBack, "A", "A", false, IDNone), drill(2)), "G2", Fail},
		{"drill is over", with(base(PhaseFailed, "A", "A", false, IDNone), drill(1)), "H1", Nothing},
		{"failed, idle", base(PhaseFailed, "A", "A", false, IDNone), "H1", Nothing},
		{"late fallback", base(PhaseCommitted, "A", "B", false, IDNone), "H2", Attention},
		{"record of a newer release, idle", base(phaseUnreadable, "A", "A", false, IDNone), "I1", Nothing},
		{"record of a newer release, trial", base(phaseUnreadable, "B", "B", true, IDOther), "I1", Adopt},
		{"no state directory, trial", base(phaseMissing, "B", "B", true, IDOther), "I2", Judge},
		{"no state directory", base(phaseMissing, "A", "A", false, IDNone), "I3", Attention},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Decide(c.s); got.Row != c.row || got.Do != c.do {
				t.Errorf("row %s, action %d; want row %s, action %d", got.Row, got.Do, c.row, c.do)
			}
			// The slots' names must not matter.
			if got := Decide(mirror(c.s)); got.Row != c.row || got.Do != c.do {
				t.Errorf("with the slots exchanged: row %s, action %d; want row %s, action %d", got.Row, got.Do, c.row, c.do)
			}
		})
	}
}

func mirror(s Situation) Situation {
	for _, slot := range []*string{&s.Source, &s.Target, &s.Running, &s.Boots} {
		if *slot != "" {
			*slot = other(*slot)
		}
	}
	return s
}

// TestPowerCycles takes a trial through power cycles instead of verdicts: the
// device ends on a slot that boots, and without plimsoll rebooting it.
func TestPowerCycles(t *testing.T) {
	for limit := 1; limit <= 4; limit++ {
		s := Situation{
			Phase: PhaseArmed, Source: "A", Target: "B", Running: "A", Boots: "B", OnTrial: true, ID: IDOurs,
			SameBoot: true, TrialLimit: limit, SourceGood: true,
		}
		var trail []string
		for range limit + 2 {
			s = cycle(s, limit)
			d := Decide(s)
			trail = append(trail, d.Row)
			if d.Do == Judge { // the power goes before the verdict
				s.Phase, s.TrialBoots = PhaseAlive, s.TrialBoots+1
			}
		}
		if want := "D5"; !slices.Contains(trail, want) || s.Running != "A" {
			t.Errorf("limit %d: %v, running %s; want %s on A", limit, trail, want, s.Running)
		}
	}
}

// cycle is a boot by U-Boot's rules: the count grows while on trial, and past
// the limit the other slot boots and the trial ends. The id stays.
func cycle(s Situation, limit int) Situation {
	if s.OnTrial {
		if s.Count++; s.Count > limit {
			s.Boots, s.OnTrial = other(s.Boots), false
		}
	}
	s.Running, s.SameBoot = s.Boots, false
	return s
}
