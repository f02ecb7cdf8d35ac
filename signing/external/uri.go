package external

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// pkcs11Scheme begins every URI of PKCS#11.
const pkcs11Scheme = "pkcs11:"

// IsURI reports whether s names a key in a token rather than a file.
func IsURI(s string) bool { return strings.HasPrefix(s, pkcs11Scheme) }

// A uri is what a PKCS#11 URI (RFC 7512) says: which module, token and key, and
// where the PIN is.
type uri struct {
	path   map[string]string // token, manufacturer, model, serial, slot-id, object, id …
	module string            // "" is p11-kit, which knows all modules of the machine
	pin    string            // where it comes from, as it stands there: pin-value
	source string            // a file that it is in: pin-source
}

// known are the attributes of a URI's path that choose, and what choosing by
// them means here.
var known = map[string]bool{
	"token": true, "manufacturer": true, "model": true, "serial": true, "slot-id": true,
	"object": true, "id": true, "type": true,
}

// parseURI refuses what it would not obey: an attribute that is passed over
// could be the one that tells two keys apart.
func parseURI(s string) (*uri, error) {
	rest, ok := strings.CutPrefix(s, pkcs11Scheme)
	if !ok {
		return nil, fmt.Errorf("it does not begin with %q", pkcs11Scheme)
	}
	path, query, _ := strings.Cut(rest, "?")
	u := &uri{}
	var err error
	if u.path, err = attributes(path, ";"); err != nil {
		return nil, err
	}
	for name := range u.path {
		if !known[name] {
			return nil, fmt.Errorf("the attribute %s is not supported", name)
		}
	}
	options, err := attributes(query, "&")
	if err != nil {
		return nil, err
	}
	for name, value := range options {
		switch name {
		case "module-path":
			u.module = value
		case "pin-value":
			u.pin = value
		case "pin-source":
			u.source = value
		default:
			return nil, fmt.Errorf("the attribute %s is not supported", name)
		}
	}
	return u, u.check()
}

// attributes takes NAME=VALUE apart, percent-encoded as RFC 7512 has it.
func attributes(s, separator string) (map[string]string, error) {
	all := map[string]string{}
	for part := range strings.SplitSeq(s, separator) {
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%q is no NAME=VALUE", part)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("the attribute %s is there twice", name)
		}
		decoded, err := url.PathUnescape(value)
		if err != nil {
			return nil, fmt.Errorf("the attribute %s: %w", name, err)
		}
		all[name] = decoded
	}
	return all, nil
}

func (u *uri) check() error {
	switch kind := u.path["type"]; kind {
	case "", "private", "public", "cert":
	default:
		return fmt.Errorf("type=%s is nothing to sign with", kind)
	}
	if u.path["object"] == "" && u.path["id"] == "" {
		return errors.New("it names no key: object=LABEL or id=%01 does")
	}
	if u.pin != "" && u.source != "" {
		return errors.New("pin-value and pin-source are two sources of one PIN")
	}
	return nil
}

// maxPIN is more than any token takes.
const maxPIN = 256

// readPIN returns the PIN that the URI has or points to; "" if it does neither.
func (u *uri) readPIN() (string, error) {
	if u.source == "" {
		return u.pin, nil
	}
	path, ok := strings.CutPrefix(u.source, "file:")
	if !ok && !strings.HasPrefix(path, "/") || strings.HasPrefix(u.source, "|") {
		return "", fmt.Errorf("pin-source=%s: want a file, file:/PATH", u.source)
	}
	path = "/" + strings.TrimLeft(path, "/") // file:///x and file:/x
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read PIN: %w", err)
	}
	pin := strings.TrimRight(string(b), "\r\n")
	if pin == "" || len(pin) > maxPIN || strings.ContainsAny(pin, "\r\n\x00") {
		return "", fmt.Errorf("read PIN: %s does not hold one line with a PIN", path)
	}
	return pin, nil
}
