package script

import "regexp"

// A Name is that of a state script: State_Action_NN or State_Action_NN_text.
type Name struct {
	State  string // "ArtifactInstall"
	Action string // "Enter", "Leave" or "Error"
	Order  string // two digits
	Text   string // what it is good for; may be ""
}

// The states that have scripts, the actions, and a text without white space.
var pattern = regexp.MustCompile(
	`\A(Idle|Sync|Download|Artifact(?:Install|Reboot|Commit|Rollback|RollbackReboot|Failure))_(Enter|Leave|Error)_([0-9][0-9])(?:_([^\s/\x00-\x1f]+))?\z`)

// maxName is the longest name that file systems have.
const maxName = 255

// ParseName reports whether a file name is that of a state script, as a whole.
// Such a name has no slash in it.
func ParseName(name string) (Name, bool) {
	m := pattern.FindStringSubmatch(name)
	if m == nil || len(name) > maxName {
		return Name{}, false
	}
	return Name{State: m[1], Action: m[2], Order: m[3], Text: m[4]}, true
}

func (n Name) String() string {
	s := n.State + "_" + n.Action + "_" + n.Order
	if n.Text != "" {
		s += "_" + n.Text
	}
	return s
}
