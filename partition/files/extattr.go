package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// attributes are the extended ones of a file, each in a file of its own: a value
// may hold anything.
type attributes struct {
	dir   string
	names []string
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

// release returns the commands that free the blocks which hold the attributes of
// files that are removed next: debugfs (1.47) forgets them. A block that several
// files share is one file's own once an attribute was taken away from it. freeb
// does not count what it frees: if there are commands, recount is due.
func (e *ext) release(ctx context.Context, t time.Time, files []Info) (string, error) {
	var own, commands strings.Builder
	var blocks []Info
	for _, i := range files {
		if i.acl == 0 {
			continue
		}
		names, err := e.attributeNames(ctx, i)
		if err != nil {
			return "", err
		}
		q, err := quoteLine(i.Path)
		if err != nil {
			return "", err
		}
		for _, name := range names {
			fmt.Fprintf(&own, "ea_rm %s %s\n", q, quote(name))
		}
		blocks = append(blocks, i)
	}
	if len(blocks) == 0 {
		return "", nil
	}
	if err := e.change(ctx, t, nil, own.String()); err != nil {
		return "", err
	}
	blocks, err := e.statAll(ctx, blocks)
	if err != nil {
		return "", err
	}
	for _, i := range blocks {
		if i.acl != 0 {
			fmt.Fprintf(&commands, "sif <%d> file_acl 0\nfreeb %d\n", i.node, i.acl)
		}
	}
	return commands.String(), nil
}

// recount has e2fsck count what is free, which it does without being asked.
func (e *ext) recount(ctx context.Context, t time.Time) error {
	out, _, err := program.Call{
		Name: "e2fsck", Args: []string{"-fp", e.image()}, Files: []*os.File{e.f}, Time: t, Env: []string{"E2FSCK_TIME=" + strconv.FormatInt(t.Unix(), 10)},
	}.Run(ctx)
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() == 1 { // it mended something
		return nil
	}
	if failed != nil {
		return fmt.Errorf("%w: e2fsck: %s", ErrUnclean, strings.TrimSpace(out))
	}
	return err
}

// attributes saves those of a file. Close removes what was saved.
func (e *ext) attributes(ctx context.Context, i Info) (*attributes, error) {
	all, err := e.attributeNames(ctx, i)
	if err != nil {
		return nil, err
	}
	a := &attributes{}
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
