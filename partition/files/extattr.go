package files

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// attributes are the extended ones of a file, each in a file of its own: a value
// may hold anything.
type attributes struct {
	dir   string
	all   []string
	names []string // of those that are kept
}

var attributeLine = regexp.MustCompile(`(?m)^  (\S+) \(\d+\)`)

// lost are the ones that the kernel takes away when a file gets other content.
var lost = map[string]bool{"security.capability": true, "security.ima": true, "security.evm": true}

func (e *ext) attributeNames(ctx context.Context, i Info) (names []string, err error) {
	out, err := e.ask(ctx, nil, fmt.Sprintf("ea_list <%d>", i.node))
	for _, m := range attributeLine.FindAllStringSubmatch(out, -1) {
		names = append(names, m[1])
	}
	return names, err
}

// strip are the commands that take them away. debugfs (1.47) forgets the block
// that they are in when it removes a file.
func strip(q string, names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "ea_rm %s %s\n", q, quote(name))
	}
	return b.String()
}

// attributes saves those of a file. Close removes what was saved.
func (e *ext) attributes(ctx context.Context, i Info) (*attributes, error) {
	all, err := e.attributeNames(ctx, i)
	if err != nil {
		return nil, err
	}
	a := &attributes{all: all}
	for _, name := range all {
		if !lost[name] {
			a.names = append(a.names, name)
		}
	}
	if len(a.names) == 0 {
		return a, nil
	}
	if a.dir, err = os.MkdirTemp("", "plimsoll-*"); err != nil {
		return nil, err
	}
	for k, name := range a.names {
		if _, err := e.ask(ctx, nil, fmt.Sprintf("ea_get -f %s <%d> %s", quote(a.file(k)), i.node, quote(name))); err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

func (a *attributes) file(k int) string { return filepath.Join(a.dir, strconv.Itoa(k)) }

// set gives the file at q what was saved.
func (a *attributes) set(ctx context.Context, e *ext, t time.Time, q string) error {
	if a == nil || len(a.names) == 0 {
		return nil
	}
	var b strings.Builder
	for k, name := range a.names {
		from, err := quoteLine(a.file(k))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "ea_set -f %s %s %s\n", from, q, quote(name))
	}
	return e.change(ctx, t, nil, b.String()+touch(q, t, "ctime"))
}

// Close removes what was saved.
func (a *attributes) Close() {
	if a != nil && a.dir != "" {
		os.RemoveAll(a.dir)
	}
}
