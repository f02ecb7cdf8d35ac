package artifact

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"unicode"
	"unicode/utf8"
)

// encoding/json lets through what decides over an installation in two ways: keys in another case, keys that stand twice, null for
// anything, bytes after the value. The functions here do not. A signed header means one thing to every reader, or it is refused.

// An object is a JSON object, key by key.
type object map[string]json.RawMessage

// parseObject parses b, which is one JSON object and nothing else, with no key twice. If keys are given there may be no others.
func parseObject(b []byte, keys ...string) (object, error) {
	if !utf8.Valid(b) {
		return nil, malformed("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed("want a JSON object, have %.20q", b)
	}
	o := object{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, malformed("%w", err)
		}
		key := t.(string) // anything else the decoder refuses here
		if o[key] != nil {
			return nil, malformed("key %.80q stands twice", key)
		}
		if len(keys) > 0 && !slices.Contains(keys, key) {
			return nil, malformed("unknown key %.80q", key)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, malformed("%.80q: %w", key, err)
		}
		o[key] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed("%w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, malformed("bytes after the JSON object")
	}
	return o, nil
}

// object returns the object at key; nil if there is none.
func (o object) object(key string, keys ...string) (object, error) {
	if o[key] == nil {
		return nil, nil
	}
	v, err := parseObject(o[key], keys...)
	if err != nil {
		return nil, malformed("%s: %w", key, err)
	}
	return v, nil
}

// list returns the elements of the array at key; nil if there is none.
func (o object) list(key string) ([]json.RawMessage, error) {
	if o[key] == nil {
		return nil, nil
	}
	list := []json.RawMessage{}
	if o[key][0] != '[' || json.Unmarshal(o[key], &list) != nil {
		return nil, malformed("%.80q: want an array", key)
	}
	return list, nil
}

// string returns the string at key; "" if there is none.
func (o object) string(key string) (string, error) {
	if o[key] == nil {
		return "", nil
	}
	s, err := parseString(o[key])
	if err != nil {
		return "", malformed("%.80q: %w", key, err)
	}
	return s, nil
}

// strings returns the array of strings at key; nil if there is none.
func (o object) strings(key string) ([]string, error) {
	list, err := o.list(key)
	if list == nil || err != nil {
		return nil, err
	}
	all := []string{}
	for _, v := range list {
		s, err := parseString(v)
		if err != nil {
			return nil, malformed("%.80q: %w", key, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseString(b json.RawMessage) (s string, err error) {
	if b[0] != '"' || json.Unmarshal(b, &s) != nil {
		return "", malformed("want a string, have %.40s", b)
	}
	return s, nil
}

// printable refuses what cannot be shown to a person or compared by one: control characters, all blanks but the space, the empty
// string, and more than 256 bytes. The format asks it of names; here it holds for every string that decides something.
func printable(what string, all ...string) error {
	for _, s := range all {
		if s == "" || len(s) > 256 {
			return malformed("%s of %d bytes: want 1 to 256", what, len(s))
		}
		for _, r := range s {
			if !unicode.IsPrint(r) || r == utf8.RuneError {
				return malformed("%s %.80q: %q is not printable", what, s, r)
			}
		}
	}
	return nil
}
