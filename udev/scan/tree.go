package scan

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// What is read of a stick, and kept of it, at most. A folder of a malformed file system may have no end.
const (
	MaxEntries = 100_000 // of directories
	MaxFiles   = 256     // artifacts
	maxOdd     = 64
	maxFolders = 8 // named plimsoll, in upper and lower case
	// maxLooks is how many files of a folder are looked at, of those with the name of an artifact. To find one of a hundred thousand names a FAT compares half of
	// them.
	maxLooks = 4 * MaxFiles
	batch    = 1024
)

// A File is a regular file that is not empty and has the name of an artifact.
type File struct {
	Path string // as the stick has it, in the root or one folder deep; for Open and Look, and nothing else
	Name string // Path for people: printable, and of bounded length
	Size int64
}

// Why says why something that looks like an artifact is none.
type Why string

// What may be wrong with it.
const (
	Empty    Why = "it is empty: the copy was not finished"
	Download Why = "a download that was not finished"
	Renamed  Why = "a file that was packed or renamed on its way: unpack it, or copy the artifact itself"
	Folder   Why = "a folder with the name of an artifact"
	Link     Why = "a symbolic link, which is not followed"
	Special  Why = "a device or a pipe, which is not read"
	Broken   Why = "it cannot be read"
	BadList  Why = "not a list of serial numbers, so none is taken to be listed"
)

// An Oddity is passed over, and people are told.
type Oddity struct {
	Name string // printable
	Why  Why
}

// A Result is what was found on a stick.
type Result struct {
	Files     []File   // first those in plimsoll, which were prepared, then those in the root; each sorted by Path
	Odd       []Oddity // sorted by Name
	Truncated bool     // there is more, and it was not read or not kept

	// OnlySerials are the devices for which the stick is, as plimsoll/only-serials has it: nil if it is for all. It is a convenience and no
	// protection, since nobody signs it. A list that is there and cannot be read lists nobody.
	OnlySerials []string
}

// Tree reads the names on the stick. An error is one of reading a folder; what was found before is in the Result all the same.
func (s *Stick) Tree() (Result, error) {
	w := walk{left: MaxEntries}
	rootFiles, err := w.folder(s.dir, ".", true)
	files := []File{}
	for _, name := range w.folders {
		more, e := w.folder(s.dir, name, false)
		files, err = append(files, more...), errors.Join(err, e)
	}
	w.result.Files = w.keep(append(files, rootFiles...))
	slices.SortFunc(w.result.Odd, func(a, b Oddity) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Why, b.Why)) })
	return w.result, err
}

// A walk is one reading of a stick.
type walk struct {
	left    int // entries
	looks   int // in this folder
	folders []string
	result  Result
}

// folder reads the folder name in dir; "." is the stick itself, in which folders are noted.
func (w *walk) folder(dir *os.File, name string, root bool) ([]File, error) {
	d, err := openFolder(dir, name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, w.noFolder(dir, name)
	}
	if err != nil {
		return nil, err
	}
	defer d.Close() // only read
	w.looks = 0
	in := place{w: w, dir: d, root: root}
	if !root {
		in.prefix = name + "/"
	}
	for {
		names, err := d.Readdirnames(batch)
		if len(names) > w.left {
			names, w.result.Truncated = names[:w.left], true
		}
		w.left -= len(names)
		for _, name := range names {
			in.entry(name)
		}
		switch {
		case err == io.EOF:
			return w.sorted(in.files), nil
		case err != nil:
			return w.sorted(in.files), err
		case w.result.Truncated && w.left == 0:
			return w.sorted(in.files), nil
		}
	}
}

// noFolder notes that plimsoll is something else. A file of that name is nobody's concern.
func (w *walk) noFolder(dir *os.File, name string) error {
	st, err := stat(dir, name)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		w.odd(name, Link)
	}
	return nil
}

// A place is a folder that is being read.
type place struct {
	w      *walk
	dir    *os.File
	prefix string
	root   bool
	files  []File
}

// entry looks at one name. Most are none of ours, and cost no look at what they are.
func (p *place) entry(name string) {
	switch why := strange(name); {
	case isCandidate(name):
		p.candidate(name)
	case why != "":
		p.w.odd(p.prefix+name, why)
	case p.root && isFolder(name):
		if len(p.w.folders) == maxFolders {
			p.w.result.Truncated = true
			return
		}
		p.w.folders = append(p.w.folders, name)
	case !p.root && isSerials(name):
		p.serials(name)
	}
}

func (p *place) candidate(name string) {
	if p.w.looks == maxLooks {
		p.w.result.Truncated = true
		return
	}
	p.w.looks++
	st, err := stat(p.dir, name)
	switch path := p.prefix + name; {
	case errors.Is(err, fs.ErrNotExist): // gone since
	case err != nil:
		p.w.odd(path, Broken)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		p.w.odd(path, Folder)
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		p.w.odd(path, Link)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		p.w.odd(path, Special)
	case st.Size == 0:
		p.w.odd(path, Empty)
	default:
		p.files = append(p.files, File{Path: path, Name: Printable(path), Size: st.Size})
		if len(p.files) >= 2*MaxFiles {
			p.files = p.w.sorted(p.files)
		}
	}
}

// serials reads the list of those that the stick is for. Of two, spelt in different ways, both count.
func (p *place) serials(name string) {
	list, err := readSerials(p.dir, name)
	if err != nil {
		p.w.odd(p.prefix+name, BadList)
	}
	p.w.result.OnlySerials = append(append([]string{}, p.w.result.OnlySerials...), list...)
}

// sorted returns files in an order that does not depend on the file system, and at most as many as are kept.
func (w *walk) sorted(files []File) []File {
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return w.keep(files)
}

func (w *walk) keep(files []File) []File {
	if len(files) > MaxFiles {
		w.result.Truncated = true
		files = files[:MaxFiles:MaxFiles]
	}
	return files
}

func (w *walk) odd(path string, why Why) {
	if len(w.result.Odd) == maxOdd {
		w.result.Truncated = true
		return
	}
	w.result.Odd = append(w.result.Odd, Oddity{Name: Printable(filepath.Clean(path)), Why: why})
}
