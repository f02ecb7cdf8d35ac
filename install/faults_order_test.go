package install_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// This file is the judge of what is run around an update: which moment may
// follow which, from docs/updates.md and the states of Mender's client 5, and
// nothing of the code under test.

// A payloadKind is what is installed, which decides what is called for it.
type payloadKind string

const (
	anImage payloadKind = "image"   // of a slot
	twoWay  payloadKind = "two-way" // of a module that can go back
	oneWay  payloadKind = "one-way" // of a module that cannot
)

// A stage are the moments that are recorded, begun and cut together.
type stage struct {
	name    string
	moments []string // in their order, each once
	wrong   string   // the moment after a failure; "": a failure changes nothing
	next    []string // the stages that may follow when all of it was run
	behind  []string // and that may follow as well if the device was cut after that
	within  []string // the stages that follow a cut, or a failure, in the midst of it
}

// atMost is how often a stage is begun that is repeated after a cut; all others
// are begun once.
const atMost = 3

// rest is where nothing is run any more.
const rest = "rest"

// stages are those of an update. An image has no Cleanup that anybody sees.
func stages(k payloadKind) []stage {
	cleanup := "Cleanup"
	if k == anImage {
		cleanup = rest
	}
	return []stage{
		{next: []string{"Download", rest}},
		{"Download", calls(k, "Download_Enter", "ProvidePayloadFileSizes", "Download", "Download_Leave"), "Download_Error",
			[]string{"ArtifactInstall"}, []string{"ArtifactRollback", cleanup}, []string{cleanup, rest}},
		{"ArtifactInstall", calls(k, "ArtifactInstall_Enter", "ArtifactInstall", "ArtifactInstall_Leave", "NeedsArtifactReboot", "SupportsRollback"), "ArtifactInstall_Error",
			[]string{"ArtifactCommit", "ArtifactRollback"}, nil, []string{"ArtifactRollback"}},
		{"ArtifactCommit", calls(k, "ArtifactCommit_Enter", "ArtifactCommit"), "ArtifactCommit_Error",
			[]string{"ArtifactCommit_Leave"}, []string{"ArtifactRollback"}, []string{"ArtifactRollback"}},
		repeated("ArtifactCommit_Leave", cleanup, "ArtifactCommit_Leave"),
		repeated("ArtifactRollback", "ArtifactFailure", calls(k, "ArtifactRollback_Enter", "SupportsRollback", "ArtifactRollback", "ArtifactRollback_Leave")...),
		repeated("ArtifactFailure", cleanup, calls(k, "ArtifactFailure_Enter", "ArtifactFailure", "ArtifactFailure_Leave")...),
		repeated("Cleanup", rest, calls(k, "Cleanup")...),
	}
}

// repeated is a stage that is run again after a cut.
func repeated(name, next string, moments ...string) stage {
	return stage{name: name, moments: moments, next: []string{next}, behind: []string{name}, within: []string{name}}
}

// calls leaves out what a kind of payload does not have.
func calls(k payloadKind, moments ...string) []string {
	return slices.DeleteFunc(moments, func(m string) bool {
		script := strings.Contains(m, "_")
		return k == anImage && !script || k == oneWay && m == "ArtifactRollback"
	})
}

// An order reads a log: lines "begin MOMENT", "end MOMENT" or "fail MOMENT", and
// "cut" where the device was cut.
type order struct {
	stages []stage
	at     stage
	begun  int    // of the moments of at
	open   string // the moment that has not ended
	cut    bool   // since at was begun
	torn   bool   // a moment of at never ended
	failed bool   // one of them did, and which of the two it was counts
	wrong  bool   // the moment after a failure was begun
	runs   map[string]int
}

// legal tells why a log is not the one of an update that came to rest, kept or
// not.
func legal(k payloadKind, log []string, kept bool) error {
	o := &order{stages: stages(k), runs: map[string]int{}}
	o.at = o.stages[0]
	for i, line := range log {
		if err := o.line(line); err != nil {
			return fmt.Errorf("line %d, %s: %w", i+1, line, err)
		}
	}
	if o.open != "" {
		return fmt.Errorf("%s never ended", o.open)
	}
	follow, err := o.follow()
	if err != nil {
		return fmt.Errorf("at rest: %w", err)
	}
	if !slices.Contains(follow, rest) {
		return fmt.Errorf("at rest: %q is followed by %v", o.at.name, follow)
	}
	back, forward := o.runs["ArtifactRollback"]+o.runs["ArtifactFailure"] > 0, o.runs["ArtifactCommit_Leave"] > 0
	if kept != forward || kept && back {
		return fmt.Errorf("kept: %v, and what was run is %v", kept, o.runs)
	}
	return nil
}

func (o *order) line(line string) error {
	what, moment, _ := strings.Cut(line, " ")
	switch what {
	case "cut":
		o.torn = o.torn || o.open != ""
		o.cut, o.open = true, ""
		return nil
	case "begin":
		return o.begin(moment)
	case "end", "fail":
		if o.open != moment {
			return fmt.Errorf("what runs is %q", o.open)
		}
		o.open = ""
		o.failed = o.failed || what == "fail" && o.at.wrong != "" && moment != o.at.wrong
		return nil
	}
	return fmt.Errorf("no such line")
}

func (o *order) begin(moment string) error {
	if o.open != "" {
		return fmt.Errorf("within %s", o.open)
	}
	o.open = moment
	switch {
	case o.cut: // nothing is gone on with
	case o.failed && moment == o.at.wrong && !o.wrong:
		o.wrong = true
		return nil
	case !o.failed && o.begun < len(o.at.moments) && o.at.moments[o.begun] == moment:
		o.begun++
		return nil
	}
	follow, err := o.follow()
	if err != nil {
		return err
	}
	for _, s := range o.stages {
		if len(s.moments) > 0 && s.moments[0] == moment {
			return o.enter(s, follow)
		}
	}
	return fmt.Errorf("in %q, after %d moments of it", o.at.name, o.begun)
}

// enter begins a stage.
func (o *order) enter(s stage, follow []string) error {
	if !slices.Contains(follow, s.name) {
		return fmt.Errorf("%q is followed by %v", o.at.name, follow)
	}
	o.runs[s.name]++
	if most := o.most(s); o.runs[s.name] > most {
		return fmt.Errorf("%s for the %d. time, and %d are allowed", s.name, o.runs[s.name], most)
	}
	o.at, o.begun = s, 1
	o.cut, o.torn, o.failed, o.wrong = false, false, false, false
	return nil
}

func (o *order) most(s stage) int {
	if slices.Contains(s.within, s.name) {
		return atMost
	}
	return 1
}

// follow returns the stages that may be begun now.
func (o *order) follow() (follow []string, err error) {
	whole := o.begun == len(o.at.moments) && !o.torn && !o.failed
	switch {
	case whole && o.cut:
		follow = slices.Concat(o.at.next, o.at.behind)
	case whole:
		follow = slices.Clone(o.at.next)
	case o.failed && !o.wrong && !o.cut:
		return nil, fmt.Errorf("after a failure comes %s", o.at.wrong)
	case o.failed, o.cut:
		follow = slices.Clone(o.at.within)
	default:
		return nil, fmt.Errorf("%s comes first", o.at.moments[o.begun])
	}
	for i := 0; i < len(follow); i++ { // a stage that was begun as often as it may is left
		for _, s := range o.stages {
			if s.name == follow[i] && o.most(s) == atMost && o.runs[s.name] == atMost {
				follow = append(follow, s.next[0])
			}
		}
	}
	return follow, nil
}

// written is a log in short: "X" for a moment that was run, "X(" for one that
// was begun, "X!" for one that failed, "|" for a cut.
func written(short string) (log []string) {
	for _, word := range strings.Fields(short) {
		moment := longNames[strings.TrimRight(word, "(!")]
		switch {
		case word == "|":
			log = append(log, "cut")
			continue
		case strings.HasSuffix(word, "("):
			log = append(log, "begin "+moment)
		case strings.HasSuffix(word, "!"):
			log = append(log, "begin "+moment, "fail "+moment)
		default:
			log = append(log, "begin "+moment, "end "+moment)
		}
	}
	return log
}

var longNames = map[string]string{
	"DE": "Download_Enter", "PS": "ProvidePayloadFileSizes", "D": "Download", "DL": "Download_Leave", "DX": "Download_Error",
	"IE": "ArtifactInstall_Enter", "I": "ArtifactInstall", "IL": "ArtifactInstall_Leave", "IX": "ArtifactInstall_Error",
	"NB": "NeedsArtifactReboot", "SR": "SupportsRollback",
	"CE": "ArtifactCommit_Enter", "C": "ArtifactCommit", "CX": "ArtifactCommit_Error", "CL": "ArtifactCommit_Leave",
	"RE": "ArtifactRollback_Enter", "R": "ArtifactRollback", "RL": "ArtifactRollback_Leave", "RX": "ArtifactRollback_Error",
	"FE": "ArtifactFailure_Enter", "F": "ArtifactFailure", "FL": "ArtifactFailure_Leave", "X": "Cleanup", "BE": "ArtifactReboot_Enter",
}

func TestLegalOrder(t *testing.T) {
	const (
		kept, not = true, false
		load      = "DE PS D DL " // what a module gets
		install   = load + "IE I IL NB SR "
		back      = "RE SR R RL FE F FL X"
	)
	for _, c := range []struct {
		kind  payloadKind
		log   string
		kept  bool
		legal bool
	}{
		{anImage, "", not, true},
		{anImage, "|", not, true},
		{anImage, "DE DL IE IL CE CL", kept, true},
		{anImage, "DE DL IE IL | CE CL | CL | CL", kept, true},
		{anImage, "DE DL IE IL CE | CL( | CL", kept, true},
		{anImage, "DE DL IE IL CE | RE RL FE FL", not, true},
		{anImage, "DE DL IE IL CE( | RE RL FE FL", not, true},
		{anImage, "DE DL IE IL CE! CX RE RL FE FL", not, true},
		{anImage, "DE DL IE IL CE! CX( | RE RL FE FL", not, true},
		{anImage, "DE DL IE IL CE! | RE RL FE FL", not, true},
		{anImage, "DE DL IE IL RE RL FE FL", not, true},
		{anImage, "DE DL IE IL! IX RE( | RE RL( | RE! RL FE! FL!", not, true},
		{anImage, "DE DL IE IL! IX RE( | RE( | RE( | FE( | FE( | FE( |", not, true},
		{anImage, "DE( |", not, true},
		{anImage, "DE DL |", not, true},
		{anImage, "DE DL! DX", not, true},
		{anImage, "DE DL IE( | RE RL FE FL", not, true},
		{twoWay, install + "CE C CL X", kept, true},
		{twoWay, install + "| CE C | CL X( | X", kept, true},
		{twoWay, install + "CE C | " + back, not, true},
		{twoWay, install + "CE C( | " + back, not, true},
		{twoWay, install + back, not, true},
		{twoWay, load + "IE I! IX " + back, not, true},
		{twoWay, load + "| " + back, not, true},
		{twoWay, load + "| X", not, true},
		{twoWay, "DE PS D( | X", not, true},
		{oneWay, install + "CE C CL X", kept, true},
		{oneWay, install + "| RE SR RL FE F FL X", not, true},

		{anImage, "DE DL IE IL CE CL", not, false},
		{anImage, "DE DL IE IL CE |", kept, false},
		{anImage, "DE DL IE IL CE", kept, false},
		{anImage, "DE DL IE IL", not, false},
		{anImage, "DE DL IE IL |", not, false},
		{anImage, "IE IL CE CL", kept, false},
		{anImage, "DE IE IL CE CL", kept, false},
		{anImage, "DE DL IE CE CL", kept, false},
		{anImage, "DE DL IL IE CE CL", kept, false},
		{anImage, "DE DL IE IE IL CE CL", kept, false},
		{anImage, "DE DL IE( | IE IL CE CL", kept, false},
		{anImage, "DE DL IE | IL CE CL", kept, false},
		{anImage, "DE DL IE IL | IE IL CE CL", kept, false},
		{anImage, "DE DL IE! IL CE CL", kept, false},
		{anImage, "DE DL IE! RE RL FE FL", not, false},
		{anImage, "DE DL IE IX RE RL FE FL", not, false},
		{anImage, "DE DL IE IL IX RE RL FE FL", not, false},
		{anImage, "DE DL IE! IX IX RE RL FE FL", not, false},
		{anImage, "DE DL IE IL CE( CL", kept, false},
		{anImage, "DE DL IE IL CE( | CE CL", kept, false},
		{anImage, "DE DL IE IL CE | CE CL", kept, false},
		{anImage, "DE DL IE IL CE CL CL", kept, false},
		{anImage, "DE DL IE IL CE CL RE RL FE FL", kept, false},
		{anImage, "DE DL IE IL CE CL | RE RL FE FL", not, false},
		{anImage, "DE DL IE IL RE RL FE FL CE CL", kept, false},
		{anImage, "DE DL IE IL RE RL | CE CL", kept, false},
		{anImage, "DE DL IE IL RE RL FE FL | RE RL FE FL", not, false},
		{anImage, "DE DL IE IL RE FE FL", not, false},
		{anImage, "DE DL IE IL FE FL", not, false},
		{anImage, "DE DL IE IL RE RL", not, false},
		{anImage, "DE DL IE IL RE RL FE", not, false},
		{anImage, "DE DL IE IL RE( | FE FL", not, false},
		{anImage, "DE DL IE IL CE | CL | CL | CL | CL", kept, false},
		{anImage, "DE DL IE IL! IX RE( | RE( | RE( | RE RL FE FL", not, false},
		{anImage, "DE DL IE IL BE CE CL", kept, false},
		{anImage, "DE DL X", not, false},
		{anImage, "DE DL RX", not, false},
		{twoWay, install + "CE C CL", kept, false},
		{twoWay, install + "CE C CL X | CL X", kept, false},
		{twoWay, install + "CE C CL X X", kept, false},
		{twoWay, install + "CE CL X", kept, false},
		{twoWay, install + "CE C( | CE C CL X", kept, false},
		{twoWay, install + "CE C | CE C CL X", kept, false},
		{twoWay, load + "IE I( | I IL NB SR CE C CL X", kept, false},
		{twoWay, load + "IE I | IE I IL NB SR CE C CL X", kept, false},
		{twoWay, install + "RE SR RL FE F FL X", not, false},
		{twoWay, install + "CE C CL X( |", kept, false},
		{twoWay, "DE PS D D DL IE I IL NB SR CE C CL X", kept, false},
		{twoWay, "DE PS D( | DE PS D DL IE I IL NB SR CE C CL X", kept, false},
		{oneWay, install + back, not, false},
	} {
		if err := legal(c.kind, written(c.log), c.kept); (err == nil) != c.legal {
			t.Errorf("%s, kept %v, %s: got %v, want it to be legal: %v", c.kind, c.kept, c.log, err, c.legal)
		}
	}
}
