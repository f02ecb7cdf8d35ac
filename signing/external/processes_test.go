package external

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// readPids returns the numbers of processes that a script wrote down so far.
func readPids(path string) (pids []int) {
	b, _ := os.ReadFile(path)
	for _, line := range strings.SplitAfter(string(b), "\n") {
		if pid, err := strconv.Atoi(strings.TrimSuffix(line, "\n")); err == nil && strings.HasSuffix(line, "\n") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// alive reports whether a process runs; one that only waits to be reaped does
// not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, ok := strings.Cut(string(b), ") ")
	return err == nil && ok && !strings.HasPrefix(state, "Z")
}
