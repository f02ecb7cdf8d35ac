package signing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoKeys is a keyring without keys, which trusts nobody.
var ErrNoKeys = errors.New("no key is trusted")

// errUnsigned is not exported: whoever calls Verify knows that it passed nil.
var errUnsigned = errors.New("it has no signature")

// A Keyring is whom a device trusts. It is an artifact.Verifier. Its zero
// value trusts nobody.
type Keyring struct {
	Keys []PublicKey // any of them is enough

	// AllowUnsigned lets through what has no signature, and without keys also
	// what has one. With keys, a signature that is there must still match.
	AllowUnsigned bool
}

// Verify returns nil if manifest may be trusted. sig is its raw signature, nil
// if it has none.
//
// Without keys the answer is ErrNoKeys, and with a signature by none of them it
// is ErrMismatch.
func (r *Keyring) Verify(manifest, sig []byte) error {
	switch {
	case len(r.Keys) == 0 && r.AllowUnsigned:
		return nil
	case len(r.Keys) == 0:
		return ErrNoKeys
	case sig == nil && r.AllowUnsigned:
		return nil
	case sig == nil:
		return errUnsigned
	}
	_, err := r.Signer(manifest, sig)
	return err
}

// Signer returns which of the keys made sig, and ErrMismatch if none did.
func (r *Keyring) Signer(manifest, sig []byte) (PublicKey, error) {
	for _, k := range r.Keys {
		if k.Verify(manifest, sig) == nil {
			return k, nil
		}
	}
	if len(r.Keys) == 1 {
		return PublicKey{}, fmt.Errorf("%w the trusted key", ErrMismatch)
	}
	return PublicKey{}, fmt.Errorf("%w any of the %d trusted keys", ErrMismatch, len(r.Keys))
}

// LoadKeyring reads the keys of all files that the patterns name, and every
// key in each of them. A pattern is the path of a file, or one whose last
// element has the wildcards of filepath.Match; like a shell's, they do not match
// a leading dot.
//
// A file that cannot be read, or holds anything but public keys, is an error,
// and so is a pattern without wildcards whose file is missing. Wildcards that
// match nothing, and no patterns, give a keyring that refuses everything.
func LoadKeyring(patterns ...string) (*Keyring, error) {
	r := &Keyring{}
	for _, pattern := range patterns {
		paths, err := expand(pattern)
		if err != nil {
			return nil, fmt.Errorf("read public keys %q: %w", pattern, err)
		}
		for _, path := range paths {
			b, err := readKeyFile(path)
			if err != nil {
				return nil, fmt.Errorf("read public key: %w", err)
			}
			keys, err := ParsePublicKeys(b)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			for i := range keys {
				keys[i].path = path
			}
			r.Keys = append(r.Keys, keys...)
		}
	}
	return r, nil
}

const wildcards = `*?[\`

// expand does the work of filepath.Glob, which takes a folder that it cannot
// read for an empty one.
func expand(pattern string) ([]string, error) {
	if _, err := os.Lstat(pattern); err == nil || !strings.ContainsAny(pattern, wildcards) {
		return []string{pattern}, nil // a name that exists may have brackets
	}
	dir, name := filepath.Split(pattern)
	if strings.ContainsAny(dir, wildcards) {
		return nil, errors.New("wildcards are for the last element of a path only")
	}
	if _, err := filepath.Match(name, ""); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(name, ".")
		if ok, _ := filepath.Match(name, e.Name()); ok && !hidden {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, nil
}
