package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// value is what a quantity is, or why it is not.
func (x quantity) value(figures map[string]*figure, worst bool) (v float64, err error) {
	for _, name := range x.of {
		f := figures[name]
		switch {
		case f == nil:
			return 0, fmt.Errorf("%s: never run", name)
		case f.err != nil:
			return 0, f.err
		case worst:
			v += slices.Max(f.all(x.part))
		default:
			v += median(f.all(x.part))
		}
	}
	return v, nil
}

// cells are a row of the table.
func (r row) cells(figures map[string]*figure) []string {
	ours, err := r.ours.value(figures, r.worst)
	peer, e := r.peer.value(figures, false)
	if err = cmp.Or(err, e); err != nil {
		return []string{r.what, "", r.peer.name, "", r.target(), reason(err)}
	}
	got, ratio, against := ours, "", ""
	if len(r.peer.of) > 0 {
		got = ours / peer
		if r.faster {
			got = peer / ours
		}
		ratio, against = fmt.Sprintf("%.2f ×", got), r.peer.name+": "+r.unit.format(peer)
	}
	verdict := "short"
	switch {
	case r.target() == "":
		verdict = ""
	case r.faster && got >= r.goal, !r.faster && got <= r.goal:
		verdict = "met"
	}
	return []string{r.what, r.unit.format(ours), against, ratio, r.target(), verdict}
}

func (r row) target() string {
	switch {
	case len(r.peer.of) == 0 && r.goal == 0:
		return "0"
	case r.goal == 0:
		return ""
	case len(r.peer.of) == 0:
		return "≤ " + r.unit.format(r.goal)
	case r.faster && r.goal == 1:
		return "not slower"
	case r.faster:
		return fmt.Sprintf("%g × faster", r.goal)
	default:
		return fmt.Sprintf("≤ %g ×", r.goal)
	}
}

func reason(err error) string {
	if errors.Is(err, errLong) {
		return errLong.Error()
	}
	return "failed"
}

// report is the document: the machine, the table, and what it was made of.
func (b *bench) report(rows []row, figures map[string]*figure) (string, error) {
	var s strings.Builder
	about, err := b.about()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&s, "# Side by side\n\nPrinted by `make bench`, in one run: same image, same slot, in turns. What takes\nminutes may be kept from an earlier run on this machine; the second table says\nso. A ratio is of medians; memory and written bytes are the largest of all runs.\n\n%s\n", about)
	t := [][]string{{"job", "plimsoll", "beside it", "ratio", "target", ""}}
	for _, r := range rows {
		t = append(t, r.cells(figures))
	}
	table(&s, t)
	s.WriteString("\n## Every figure\n\nWall seconds; CPU seconds and memory at the median and the largest.\n\n")
	t = [][]string{{"contender", "runs", "median", "least", "most", "cpu", "memory", "written", "file", ""}}
	for _, name := range needed(rows) {
		t = append(t, figures[name].cells(name))
	}
	table(&s, t)
	return s.String(), nil
}

func (f figure) cells(name string) []string {
	if f.err != nil {
		return []string{name, "0", "", "", "", "", "", "", "", reason(f.err)}
	}
	number := func(format string, v float64) string {
		if v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}
	w := f.all(wall)
	note := f.note
	if s := f.all(settled); slices.Max(s) > 0 {
		note = fmt.Sprintf("read-back begins at %.2f s (%.2f to %.2f)", median(s), slices.Min(s), slices.Max(s))
	}
	return []string{
		name, fmt.Sprint(len(w)), number("%.3f", median(w)), number("%.3f", slices.Min(w)), number("%.3f", slices.Max(w)),
		number("%.2f", median(f.all(cpu))), number("%.1f MiB", slices.Max(f.all(peak))/mib), number("%.0f", slices.Max(f.all(written))),
		number("%.0f", median(f.all(size))), note,
	}
}

// table writes a table that reads well as it is, too.
func table(s *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], len([]rune(cell)), 3)
		}
	}
	for n, r := range rows {
		for i, cell := range r {
			fmt.Fprintf(s, "| %-*s ", width[i], cell)
		}
		s.WriteString("|\n")
		if n > 0 {
			continue
		}
		for _, w := range width {
			s.WriteString("|" + strings.Repeat("-", w+2))
		}
		s.WriteString("|\n")
	}
}

// about names the machine, the medium, the image and the versions.
func (b *bench) about() (string, error) {
	var s strings.Builder
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	model, flags := processor()
	fmt.Fprintf(&s, "- %s\n", time.Now().UTC().Format("2 January 2006"))
	fmt.Fprintf(&s, "- %d cores of %s (%s), Linux %s; a load of %s before it began\n", runtime.NumCPU(), model, flags,
		unix.ByteSliceToString(u.Release[:]), b.load)
	var fs unix.Statfs_t
	if err := unix.Statfs(b.slotDir, &fs); err != nil {
		return "", err
	}
	fmt.Fprintf(&s, "- the slot: a loop device with direct I/O over a file on %s; before each run the file\n  is rewritten past the page cache with random blocks, or with A\n", filesystem(int64(fs.Type)))
	fmt.Fprintf(&s, "- the image: %d bytes, sha256 %s…\n", b.size, b.sum[:16])
	if b.updated != "" {
		n, of, err := differing(b.image, b.updated)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "- B is A with Debian's updates: %d of %d blocks of 4 KiB differ in place\n", n, of)
	}
	out, err := b.command(b.plimsoll, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("plimsoll --version: %w", err)
	}
	fmt.Fprintf(&s, "- %s, %s\n- Debian's", strings.TrimSpace(string(out)), runtime.Version())
	for i, pkg := range []string{"mender-client", "mender-artifact", "rauc", "swupdate", "zstd", "coreutils"} {
		version, err := b.version(pkg)
		if err != nil {
			return "", err
		}
		if i > 0 {
			s.WriteString(",")
		}
		if i%3 == 0 && i > 0 {
			s.WriteString("\n ")
		}
		fmt.Fprintf(&s, " %s %s", pkg, version)
	}
	s.WriteString("\n")
	return s.String(), nil
}

// processor returns the model, and what it has that makes sums fast.
func processor() (model, flags string) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown", "unknown"
	}
	defer f.Close()
	model, flags = "unknown", "no SHA extensions"
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "model name":
			model = value
		case "flags", "Features":
			for _, flag := range strings.Fields(value) {
				if flag == "sha_ni" || flag == "sha2" {
					flags = flag
				}
			}
		}
	}
	return model, flags
}

func filesystem(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.TMPFS_MAGIC:
		return "tmpfs, that is, in memory"
	case unix.XFS_SUPER_MAGIC:
		return "XFS"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	}
	return fmt.Sprintf("a file system of type %#x", magic)
}
