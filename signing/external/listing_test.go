package external

import (
	"slices"
	"testing"
)

const slotListing = `Available slots:
Slot 0 (0x1c31e2e): SoftHSM slot ID 0x1c31e2e
  token label        : office: the second
  token manufacturer : SoftHSM project
  token model        : SoftHSM v2
  token flags        : login required, rng, token initialized, PIN initialized, other flags=0x20
  serial num         : efc89db301c31e2e
  pin min/max        : 4/255
Slot 1 (0x11): a reader (with brackets)
  token label        : pad
  token flags        : login required, PIN pad present
  serial num         : 1
Slot 2 (0x2): SoftHSM slot ID 0x2
  token state:   uninitialized
Slot 3 (0x3): empty
  (empty)
`

func TestParseSlots(t *testing.T) {
	want := []slot{
		{id: "0x1c31e2e", label: "office: the second", manufacturer: "SoftHSM project", model: "SoftHSM v2", serial: "efc89db301c31e2e", login: true},
		{id: "0x11", label: "pad", serial: "1", login: true, pad: true},
	}
	if got := parseSlots([]byte(slotListing)); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

const objectListing = `Public Key Object; EC  EC_POINT 256 bits
  EC_POINT:   04410490dc05032da257cfccb3cf118bf09c6d
  label:      release
  ID:         01
  Usage:      encrypt, verify, wrap
Public Key Object; RSA 2048 bits
  label:      without an ID
Certificate Object; type = X.509 cert
  label:      release
  subject:    DN: CN=x
  ID:         0a0b
`

func TestParseObjects(t *testing.T) {
	want := []object{{"release", "01"}, {"without an ID", ""}, {"release", "0a0b"}}
	if got := parseObjects([]byte(objectListing)); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	u, err := parseURI("pkcs11:object=release;id=%0A%0b")
	if err != nil {
		t.Fatal(err)
	}
	if got := u.match(want); !slices.Equal(got, []string{"0a0b"}) {
		t.Errorf("got %q", got)
	}
}

// FuzzSlots: whatever a module says of itself, a slot that is chosen has a
// number that --slot takes for one argument.
func FuzzSlots(f *testing.F) {
	f.Add([]byte(slotListing))
	f.Fuzz(func(t *testing.T, listing []byte) {
		for _, s := range parseSlots(listing) {
			if s.id == "" {
				t.Fatal("a slot without a number")
			}
		}
	})
}

// FuzzObjects: what is matched has an ID.
func FuzzObjects(f *testing.F) {
	f.Add([]byte(objectListing))
	u := &uri{path: map[string]string{"object": "release"}}
	f.Fuzz(func(t *testing.T, listing []byte) {
		if slices.Contains(u.match(parseObjects(listing)), "") {
			t.Fatal("a key without an ID")
		}
	})
}
