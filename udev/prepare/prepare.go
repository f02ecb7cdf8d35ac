package prepare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

const folderName = "plimsoll"

// Why a stick cannot be prepared. A file that is no artifact, or not one that is trusted, is an error of the package artifact or scan.
var (
	ErrSpace    = errors.New("it does not fit on the stick")
	ErrFAT      = errors.New("a file on FAT32 has at most 4 GiB less one byte")
	ErrNTFS     = errors.New("devices do not read NTFS")
	ErrName     = errors.New("not a name for an artifact on a stick")
	ErrClash    = errors.New("something else of that name is there")
	ErrTooMany  = errors.New("more artifacts than a device looks at")
	ErrChanged  = errors.New("the file changed while it was copied")
	ErrReadBack = errors.New("the stick does not hold what was written to it")
)

// Options are how a stick is prepared. The zero value copies artifacts whoever signed them, and signs nothing.
type Options struct {
	Verifier artifact.Verifier // what the devices trust; nil does not ask who signed
	Signer   artifact.Signer   // signs the index; nil leaves it unsigned
	Serials  []string          // the devices that the stick is for; with none a list that is there stays

	// After is called with the stick's folder when everything else is on it, and Reserve is how many bytes it will need: it writes more
	// that belongs to a prepared stick. Its error ends Prepare.
	After   func(dir string) error
	Reserve int64

	// Progress is told how many bytes of a step are through.
	Progress func(step string, done, total int64)
}

// The steps of Progress.
const (
	StepCheck  = "check"  // of all files, before anything is written
	StepCopy   = "copy"   // of one file
	StepVerify = "verify" // of one file, read back
)

// A Placed is an artifact that is in the folder plimsoll now.
type Placed struct {
	Entry
	Kept bool // it was there before
}

// Prepare copies the artifacts at the paths files to the stick at dir, and returns all artifacts in its folder plimsoll, sorted by file name.
// When it returns nil everything is on the medium. After an error nothing has changed if the error came before the copying; else some
// artifacts may have been added, each whole. It ends early, with the cause, when ctx does.
func Prepare(ctx context.Context, dir string, files []string, o Options) ([]Placed, error) {
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	if o.Verifier == nil {
		o.Verifier = anybody{}
	}
	s, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", dir, err)
	}
	defer s.close()
	placed, err := s.prepare(ctx, files, o)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", dir, err)
	}
	return placed, nil
}

// anybody trusts whoever signed, or did not.
type anybody struct{}

func (anybody) Verify([]byte, []byte) error { return nil }

func (s *stick) prepare(ctx context.Context, files []string, o Options) ([]Placed, error) {
	p, err := s.plan(ctx, files, o)
	if err != nil {
		return nil, err
	}
	if err := s.makeFolder(); err != nil {
		return nil, err
	}
	for _, src := range p.copies {
		if err := s.copy(ctx, src, o); err != nil {
			return nil, fmt.Errorf("copy %s: %w", src.path, err)
		}
	}
	if err := s.writeLists(ctx, p.placed(), o); err != nil {
		return nil, err
	}
	if o.After != nil {
		if err := o.After(s.dir); err != nil {
			return nil, err
		}
	}
	return p.placed(), s.sync()
}

// A plan is what has to be done, and was found possible.
type plan struct {
	copies []source // in the order in which they were named
	kept   []Entry  // on the stick already
}

func (p plan) placed() []Placed {
	var all []Placed
	for _, e := range p.kept {
		all = append(all, Placed{e, true})
	}
	for _, c := range p.copies {
		all = append(all, Placed{c.Entry, false})
	}
	slices.SortFunc(all, func(a, b Placed) int { return compareNames(a.File, b.File) })
	return all
}

// A stick is the folder that is prepared. Nothing is written through a symbolic link that leads out of it.
type stick struct {
	dir    string
	root   *os.Root
	name   string   // of the folder for artifacts, as the stick spells it
	folder *os.Root // it; nil as long as there is none
}

func open(dir string) (*stick, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &stick{dir: dir, root: root, name: folderName}
	if err := s.findFolder(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// findFolder opens the folder for artifacts if it is there, in whatever spelling.
func (s *stick) findFolder() error {
	names, err := namesIn(s.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if compareNames(name, folderName) == 0 {
			s.name = name
			return s.openFolder()
		}
	}
	return nil
}

func (s *stick) openFolder() error {
	st, err := s.root.Lstat(s.name)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("%s: %w: want a folder", s.name, ErrClash)
	}
	s.folder, err = s.root.OpenRoot(s.name)
	return err
}

// makeFolder makes the folder for artifacts if it is not there, and clears it of what an earlier call could not: one that was killed.
func (s *stick) makeFolder() error {
	if s.folder != nil {
		return s.sweep()
	}
	if err := s.root.Mkdir(s.name, 0o755); err != nil {
		return err
	}
	return s.openFolder()
}

// sync returns when the file system has everything on its medium.
func (s *stick) sync() error {
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close() // only flushed
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("flush the stick: %w", err)
	}
	return nil
}

func (s *stick) close() {
	if s.folder != nil {
		s.folder.Close() // only looked names up in
	}
	s.root.Close()
}
