package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// list asks for the names, and then for all inodes at once.
func (e *ext) list(ctx context.Context, dir Info) ([]Info, error) {
	out, err := e.ask(ctx, nil, fmt.Sprintf("ls -p <%d>", dir.node))
	if err != nil {
		return nil, err
	}
	// /inode/mode/uid/gid/name/size/ and a line break. No name has a slash in it,
	// but one may have line breaks.
	var all []Info
	fields := strings.Split(out, "/")
	for ; len(fields) > 7; fields = fields[7:] {
		node, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return nil, errors.New("debugfs lists nothing that is understood")
		}
		if name := fields[5]; node != 0 && name != "." && name != ".." && name != "" {
			all = append(all, Info{Path: path.Join(dir.Path, name), node: node})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return e.statAll(ctx, all)
}

// statAll completes what is known by its inode.
func (e *ext) statAll(ctx context.Context, all []Info) ([]Info, error) {
	var commands strings.Builder
	for _, i := range all {
		fmt.Fprintf(&commands, "stat <%d>\n", i.node)
	}
	out, err := e.debugfs(ctx, program.Call{
		Time: time.Unix(1, 0), Stdin: strings.NewReader(commands.String()), Args: []string{"-c", "-f", "/dev/stdin", e.image()},
	})
	if err != nil {
		return nil, err
	}
	for k, i := range all {
		mark := fmt.Sprintf("debugfs: stat <%d>\n", i.node)
		_, rest, ok := strings.Cut(out, mark)
		if !ok {
			return nil, errors.New("debugfs lists nothing that is understood")
		}
		out = rest
		if k+1 < len(all) {
			rest, _, _ = strings.Cut(rest, fmt.Sprintf("debugfs: stat <%d>\n", all[k+1].node))
		}
		if all[k], err = e.parse(ctx, i.Path, rest); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// put writes the file anew: debugfs cannot write into one that is there.
func (e *ext) put(ctx context.Context, t time.Time, name string, src *os.File, a Attr, old *Info) error {
	q, err := quoteLine(name)
	if err != nil {
		return err
	}
	var commands, free string
	var kept *attributes
	if old != nil {
		if kept, err = e.attributes(ctx, *old); err != nil {
			return err
		}
		defer kept.Close()
		if free, err = e.release(ctx, t, []Info{*old}); err != nil {
			return err
		}
		commands = free + "rm " + q + "\n"
	}
	commands += "write /proc/self/fd/4 " + q + "\n" + inode(q, 0o100000, a, t) + e.folder(name, t)
	if err := e.change(ctx, t, src, commands); err != nil {
		return err
	}
	if err := kept.set(ctx, e, t, q); err != nil || free == "" {
		return err
	}
	return e.recount(ctx, t)
}

func (e *ext) mkdir(ctx context.Context, t time.Time, name string, a Attr) error {
	q, err := quoteLine(name)
	if err != nil {
		return err
	}
	return e.change(ctx, t, nil, "mkdir "+q+"\n"+inode(q, 0o40000, a, t)+e.folder(name, t))
}

func (e *ext) chmod(ctx context.Context, t time.Time, file Info, a Attr) error {
	q, err := quoteLine(file.Path)
	if err != nil {
		return err
	}
	kind := int64(0o100000)
	if file.Mode.IsDir() {
		kind = 0o40000
	} else if !file.Mode.IsRegular() {
		return kindOf(file)
	}
	return e.change(ctx, t, nil, inode(q, kind, a, t))
}

func (e *ext) remove(ctx context.Context, t time.Time, all []Info) error {
	var b strings.Builder
	free, err := e.release(ctx, t, all)
	if err != nil {
		return err
	}
	b.WriteString(free)
	for _, i := range all {
		q, err := quoteLine(i.Path)
		if err != nil {
			return fmt.Errorf("%q: %w", i.Path, err)
		}
		command := "rm "
		if i.Mode.IsDir() {
			command = "rmdir "
		}
		b.WriteString(command + q + "\n")
	}
	b.WriteString(e.folder(all[len(all)-1].Path, t))
	if err := e.change(ctx, t, nil, b.String()); err != nil || free == "" {
		return err
	}
	return e.recount(ctx, t)
}

// folder is the command that gives the folder of name its time: it changed.
func (e *ext) folder(name string, t time.Time) string {
	return touch(quote(path.Dir(name)), t, "ctime", "mtime")
}

// inode are the commands that make an inode what a says.
func inode(q string, kind int64, a Attr, t time.Time) string {
	mode := kind | int64(a.Mode.Perm())
	for bit, flag := range map[int64]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if a.Mode&flag != 0 {
			mode |= bit
		}
	}
	return fmt.Sprintf("sif %s mode 0%o\nsif %s uid %d\nsif %s gid %d\n", q, mode, q, a.UID, q, a.GID) + touch(q, t, "ctime", "atime", "mtime")
}

func touch(q string, t time.Time, which ...string) string {
	var b strings.Builder
	for _, w := range which {
		fmt.Fprintf(&b, "sif %s %s @%d\n", q, w, t.Unix())
	}
	return b.String()
}
