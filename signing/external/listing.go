package external

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What pkcs11-tool lists are blocks: a line that begins one, and lines with a
// blank in front of "name : value".

// A slot is a token and where it is.
type slot struct {
	id                                 string // as --slot takes it
	label, manufacturer, model, serial string
	login                              bool // the token wants a PIN
	pad                                bool // and has keys of its own to type it on
}

// An object is a key or a certificate.
type object struct{ label, id string }

// block calls begin with each line that begins a block, and field with each
// that follows.
func block(listing []byte, begin func(line string), field func(name, value string)) {
	for line := range strings.Lines(string(listing)) {
		if !strings.HasPrefix(line, " ") {
			begin(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if ok {
			field(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
}

// parseSlots reads what --list-token-slots prints.
func parseSlots(listing []byte) []slot {
	var all []slot
	block(listing, func(line string) {
		// Slot 0 (0x1c31e2e): SoftHSM slot ID 0x1c31e2e
		rest, ok := strings.CutPrefix(line, "Slot ")
		_, rest, found := strings.Cut(rest, "(")
		id, _, closed := strings.Cut(rest, "):")
		if _, err := strconv.ParseUint(id, 0, 64); ok && found && closed && err == nil {
			all = append(all, slot{id: id})
		}
	}, func(name, value string) {
		if len(all) == 0 {
			return
		}
		switch s := &all[len(all)-1]; name {
		case "token label":
			s.label = value
		case "token manufacturer":
			s.manufacturer = value
		case "token model":
			s.model = value
		case "serial num":
			s.serial = value
		case "token flags":
			flags := strings.Split(value, ", ")
			s.login, s.pad = slices.Contains(flags, "login required"), slices.Contains(flags, "PIN pad present")
		}
	})
	return slices.DeleteFunc(all, func(s slot) bool { return s.label == "" && s.serial == "" })
}

// parseObjects reads what --list-objects prints. An ID that goes on over lines
// is put together by nobody: such keys have none here.
func parseObjects(listing []byte) []object {
	var all []object
	block(listing, func(string) {
		all = append(all, object{})
	}, func(name, value string) {
		if len(all) == 0 {
			return
		}
		switch o := &all[len(all)-1]; name {
		case "label":
			o.label = value
		case "ID":
			o.id = value
		}
	})
	return all
}

// choose returns the one token that the URI means. The tool would compare only
// the beginning of a label.
func (u *uri) choose(all []slot) (slot, error) {
	var chosen []slot
	var labels []string
	for _, s := range all {
		labels = append(labels, strconv.Quote(s.label))
		if u.means("token", s.label) && u.means("manufacturer", s.manufacturer) && u.means("model", s.model) &&
			u.means("serial", s.serial) && u.meansSlot(s.id) {
			chosen = append(chosen, s)
		}
	}
	switch {
	case len(chosen) == 1:
		return chosen[0], nil
	case len(all) == 0:
		return slot{}, errors.New("there is no token")
	case len(chosen) == 0:
		return slot{}, fmt.Errorf("no token is the one that the URI means; there are %s", strings.Join(labels, ", "))
	}
	return slot{}, fmt.Errorf("%d tokens are what the URI means, of %s: name one by token= and serial=", len(chosen), strings.Join(labels, ", "))
}

func (u *uri) means(attribute, value string) bool {
	want, ok := u.path[attribute]
	return !ok || want == value
}

// meansSlot compares numbers, which the URI has in decimal and the tool in
// hexadecimal.
func (u *uri) meansSlot(id string) bool {
	want, ok := u.path["slot-id"]
	if !ok {
		return true
	}
	a, err := strconv.ParseUint(want, 0, 64)
	b, err2 := strconv.ParseUint(id, 0, 64)
	return err == nil && err2 == nil && a == b
}

// match returns the IDs of the keys that the URI means, each once.
func (u *uri) match(all []object) []string {
	var ids []string
	for _, o := range all {
		id, byID := u.path["id"]
		if _, err := hex.DecodeString(o.id); o.id == "" || err != nil || !u.means("object", o.label) || byID && hexID(id) != o.id {
			continue
		}
		if !slices.Contains(ids, o.id) {
			ids = append(ids, o.id)
		}
	}
	slices.Sort(ids)
	return ids
}
