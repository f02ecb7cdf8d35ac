package data

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Extended attributes that go with a file, beside the user's. What is not here
// belongs to a file system or to one inode (trusted.*, security.evm).
const (
	attrCapability = "security.capability"
	attrACL        = "system.posix_acl_access"
	attrDefaultACL = "system.posix_acl_default"
)

// labels are given by a policy of the system, which may not know a label of
// another.
func isLabel(attr string) bool {
	return attr == "security.selinux" || strings.HasPrefix(attr, "security.SMACK64")
}

func isKept(attr string) bool {
	return attr == attrCapability || attr == attrACL || attr == attrDefaultACL ||
		strings.HasPrefix(attr, "user.") || isLabel(attr)
}

// errNoAttrs are what file systems say that have no such attributes.
func isUnsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

// A handle is how a thing's attributes are reached: a file or folder by what is
// open, a link by its name in a folder that is.
type handle struct {
	f    *os.File
	name string // "" for f itself
}

// path leads to the thing through a descriptor, so that nobody can put another
// in its way. The last step is not followed by the l… calls.
func (h handle) path() string { return fmt.Sprintf("/proc/self/fd/%d/%s", h.f.Fd(), h.name) }

func (h handle) list(b []byte) (n int, err error) {
	if h.name == "" {
		return unix.Flistxattr(int(h.f.Fd()), b)
	}
	return unix.Llistxattr(h.path(), b)
}

func (h handle) get(attr string, b []byte) (n int, err error) {
	if h.name == "" {
		return unix.Fgetxattr(int(h.f.Fd()), attr, b)
	}
	return unix.Lgetxattr(h.path(), attr, b)
}

func (h handle) set(attr string, v []byte) error {
	if h.name == "" {
		return unix.Fsetxattr(int(h.f.Fd()), attr, v, 0)
	}
	return unix.Lsetxattr(h.path(), attr, v, 0)
}

func (h handle) remove(attr string) error {
	if h.name == "" {
		return unix.Fremovexattr(int(h.f.Fd()), attr)
	}
	return unix.Lremovexattr(h.path(), attr)
}

// roomy calls f, which fills a buffer, with one that is large enough.
func roomy(f func([]byte) (int, error)) ([]byte, error) {
	b := make([]byte, 256)
	for {
		n, err := f(b)
		if errors.Is(err, unix.ERANGE) && len(b) < 64<<10 { // XATTR_LIST_MAX, XATTR_SIZE_MAX
			b = make([]byte, 64<<10)
			continue
		}
		return b[:max(n, 0)], err
	}
}

// attrs returns the extended attributes that go with a thing.
func (h handle) attrs() (map[text][]byte, error) {
	list, err := roomy(h.list)
	if isUnsupported(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list attributes: %w", err)
	}
	var all map[text][]byte
	for name := range bytes.SplitSeq(list, []byte{0}) {
		attr := string(name)
		if !isKept(attr) {
			continue
		}
		v, err := roomy(func(b []byte) (int, error) { return h.get(attr, b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read attribute %s: %w", attr, err)
		}
		if all == nil {
			all = map[text][]byte{}
		}
		all[text(attr)] = bytes.Clone(v)
	}
	return all, nil
}

// setAttrs makes the extended attributes what they should be. A label that the
// system refuses is returned, and is no error.
func (h handle) setAttrs(want map[text][]byte) (refused string, err error) {
	have, err := h.attrs()
	if err != nil {
		return "", err
	}
	for name := range have {
		if _, ok := want[name]; !ok && !isLabel(string(name)) {
			if err := h.remove(string(name)); err != nil {
				return "", fmt.Errorf("remove attribute %s: %w", name, err)
			}
		}
	}
	for name, v := range want {
		if old, ok := have[name]; ok && bytes.Equal(old, v) {
			continue
		}
		err := h.set(string(name), v)
		if err != nil && isLabel(string(name)) {
			refused = fmt.Sprintf("%s %q: %v", name, v, err)
			continue
		}
		if err != nil {
			return "", fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return refused, nil
}

// sameAttrs compares attributes, those without that were refused.
func sameAttrs(have, want map[text][]byte, refused bool) bool {
	covered := 0
	for name, v := range want {
		if refused && isLabel(string(name)) {
			continue
		}
		if old, ok := have[name]; !ok || !bytes.Equal(old, v) {
			return false
		}
		covered++
	}
	for name := range have {
		if isLabel(string(name)) {
			if _, ok := want[name]; !ok || refused {
				covered++ // the system gave it
			}
		}
	}
	return covered == len(have)
}

const modeBits = 0o7777

// describe fills in the metadata of an entry.
func (e *entry) describe(st *unix.Statx_t, h handle) (err error) {
	e.Mode, e.UID, e.GID = st.Mode&modeBits, st.Uid, st.Gid
	e.Sec, e.Nsec = st.Mtime.Sec, st.Mtime.Nsec
	if e.Kind == kindLink {
		e.Mode = 0
	}
	e.Attrs, err = h.attrs()
	return err
}

// dress gives a file or folder that is open its owner, attributes and mode. In
// this order: a change of owner takes capabilities and set-id bits away, and an
// ACL is part of the mode.
func (e *entry) dress(f *os.File) (refused string, err error) {
	st, err := lookInto(f)
	if err != nil {
		return "", err
	}
	if st.Uid != e.UID || st.Gid != e.GID {
		if err := again(func() error { return unix.Fchown(int(f.Fd()), int(e.UID), int(e.GID)) }); err != nil {
			return "", fmt.Errorf("set owner: %w", err)
		}
	}
	if refused, err = (handle{f: f}).setAttrs(e.Attrs); err != nil {
		return "", err
	}
	if err := again(func() error { return unix.Fchmod(int(f.Fd()), uint32(e.Mode)) }); err != nil {
		return "", fmt.Errorf("set mode: %w", err)
	}
	return refused, nil
}

// dressLink is dress for a symbolic link, which has no mode.
func (e *entry) dressLink(dir *os.File, name string) (refused string, err error) {
	const flags = unix.AT_SYMLINK_NOFOLLOW
	err = again(func() error { return unix.Fchownat(int(dir.Fd()), name, int(e.UID), int(e.GID), flags) })
	if err != nil {
		return "", fmt.Errorf("set owner: %w", err)
	}
	return handle{f: dir, name: name}.setAttrs(e.Attrs)
}

// date sets when a thing was changed last. What no file system or system can
// say (a year beyond 2038 on 32 bits) is left.
func (e *entry) date(dir *os.File, name string) error {
	when, err := unix.TimeToTimespec(time.Unix(e.Sec, int64(e.Nsec)))
	if err != nil {
		return nil
	}
	ts := []unix.Timespec{when, when}
	err = again(func() error { return unix.UtimesNanoAt(int(dir.Fd()), name, ts, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}

// sameMeta reports whether owner, mode and attributes are as they should be.
// The time is not asked: it may be less exact on another file system.
func (e *entry) sameMeta(st *unix.Statx_t, h handle, refused bool) (bool, error) {
	if st.Uid != e.UID || st.Gid != e.GID || e.Kind != kindLink && st.Mode&modeBits != e.Mode {
		return false, nil
	}
	have, err := h.attrs()
	return err == nil && sameAttrs(have, e.Attrs, refused), err
}
