package artifact

import (
	"crypto/sha256"
	"fmt"
	"io"
	"time"
)

// Info is what an artifact says, whoever wrote it. No payload can be had from it.
type Info struct {
	Header      Header
	Manifest    []byte // the bytes that the signature is of
	Signature   []byte // raw; nil if there is none
	ManifestSum Sum
	Members     []Member   // of the outer archive, in order
	Files       []FileInfo // of the payload, in order

	// Augmented artifacts have a second header and maybe more files, which no signature covers. Signed and unsigned are kept apart:
	// Augment is the second header alone, nil if there is none.
	Augmented bool
	Augment   *Header
}

// A Member is one of the outer archive.
type Member struct {
	Name    string
	Size    int64 // as it stands there, compressed
	Offset  int64 // of its content
	ModTime time.Time
}

// A FileInfo describes a payload file. A Writer's Options hand it out as well.
type FileInfo struct {
	Name      string
	Size      int64
	Sum       Sum
	ModTime   time.Time
	Augmented bool // listed only in manifest-augment
}

// Inspect reads all of src, by the same rules as Open and Next, and verifies all but the signature: nil says that the artifact is whole
// and well-formed, and nothing about who made it. Unlike Open it reads augmented artifacts.
func Inspect(src io.Reader) (*Info, error) {
	a := newArchive(src)
	info, err := a.inspect()
	if err != nil {
		return nil, fmt.Errorf("inspect artifact: %w", err)
	}
	return info, nil
}

// Verify asks v about the signature, or the lack of it, as Open does.
func (i *Info) Verify(v Verifier) error {
	if v == nil {
		panic("artifact: nil Verifier")
	}
	return trust(v, i.Manifest, i.Signature)
}

func (a *archive) inspect() (*Info, error) {
	if err := a.readSigned(); err != nil {
		return nil, err
	}
	return a.inspectRest()
}

// inspectRest goes on after the signature.
func (a *archive) inspectRest() (*Info, error) {
	if err := a.parseSigned(); err != nil {
		return nil, err
	}
	if err := a.readHeaders(); err != nil {
		return nil, err
	}
	files, err := a.readFiles()
	if err != nil {
		return nil, err
	}
	info := &Info{
		Header: *a.header, Manifest: a.manifest, Signature: a.sig, ManifestSum: sha256.Sum256(a.manifest),
		Members: a.walked, Files: files, Augmented: a.augmented != nil, Augment: a.augment,
	}
	return info, nil
}

// readHeaders reads the header, and the second one if there is a manifest of it.
func (a *archive) readHeaders() (err error) {
	if a.at("manifest-augment") {
		if err := a.readAugment(); err != nil {
			return fmt.Errorf("manifest-augment: %w", err)
		}
	}
	if a.header, err = a.readHeader(a.listed); err != nil {
		return err
	}
	if a.augmented != nil {
		if a.augment, err = a.readHeader(a.augmented); err != nil {
			return err
		}
		if a.augment.Type == "" {
			return malformed("%s: an augmented payload has a type", a.augmented.header)
		}
	}
	return a.checkFiles()
}

func (a *archive) readAugment() error {
	b, err := a.take("manifest-augment", maxManifest)
	if err != nil {
		return err
	}
	if a.augmented, err = parseManifest(b, "header-augment.tar", false); err != nil {
		return err
	}
	for _, e := range a.augmented.entries {
		if a.listed.find(e.name) != nil {
			return malformed("%s is listed in both manifests", e.name)
		}
	}
	if a.augmented.header != "header-augment"+a.listed.header[len("header"):] {
		return malformed("%s beside %s: want the same compression", a.augmented.header, a.listed.header)
	}
	return a.advance()
}

// readFiles reads the payload to its end.
func (a *archive) readFiles() ([]FileInfo, error) {
	var files []FileInfo
	for r := (&Reader{a: a}); ; {
		p, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		f := FileInfo{Name: p.Name, Size: p.Size, Sum: p.Sum, ModTime: p.ModTime}
		f.Augmented = a.listed.find(dataPrefix+p.Name) == nil
		files = append(files, f)
	}
}
