package udev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/plimsoll-ota/plimsoll/udev/report"
)

// A visited is what is remembered of the last visit that had a result of its
// own: only so that the same is not reported again.
type visited struct {
	Stick string `json:"stick"`
	Result
}

// key is what two visits of the same stick with the same result have in common.
func (l visited) key() string {
	return fmt.Sprintf("%q %q %v %q", l.Stick, l.State, l.Code, l.Manifest)
}

const (
	maxMemory = 16 << 10 // of the file
	maxDetail = 1 << 10  // of what an error says
)

// remembered returns the last visit; an empty one if none is known.
func (v *Visit) remembered() (last visited) {
	b, err := os.ReadFile(v.Memory)
	if err == nil && len(b) <= maxMemory {
		err = json.Unmarshal(b, &last)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			v.note("the last visit is not known: %v", err)
		}
		return visited{}
	}
	return last
}

// remember replaces it, atomically.
func (v *Visit) remember(last visited) {
	if d := last.Detail; len(d) > maxDetail {
		last.Detail = strings.ToValidUTF8(d[:maxDetail], "") + "…"
	}
	b, err := json.Marshal(last)
	if err == nil {
		err = report.ReplaceFile(v.Memory, b)
	}
	if err != nil {
		v.note("the last visit is not remembered: %v", err)
	}
}
