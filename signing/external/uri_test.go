package external

import (
	"strings"
	"testing"
)

func TestParseToken(t *testing.T) {
	tests := []struct{ uri, want string }{ // want is what the error says, "" for none
		{"pkcs11:token=office;object=release", ""},
		{"pkcs11:object=release", ""},
		{"pkcs11:id=%01%ab", ""},
		{"pkcs11:token=The%20Office;id=%01;type=private?module-path=/x.so&pin-source=file:/pin", ""},
		{"pkcs11:", "names no key"},
		{"pkcs11:token=office", "names no key"},
		{"pkcs11:token=office;id=", "names no key"},
		{"release.pem", "does not begin"},
		{"PKCS11:object=release", "does not begin"},
		{"pkcs11:object", "no NAME=VALUE"},
		{"pkcs11:object=a;object=b", "twice"},
		{"pkcs11:object=%zz", "attribute object"},
		{"pkcs11:object=a;library-manufacturer=x", "library-manufacturer is not supported"},
		{"pkcs11:object=a;type=secret-key", "nothing to sign with"},
		{"pkcs11:object=a?module-name=softhsm2", "module-name is not supported"},
		{"pkcs11:object=a?pin-value=1&pin-source=/x", "two sources"},
		{"pkcs11:object=a?pin-value=1&pin-value=2", "twice"},
	}
	for _, tt := range tests {
		k, err := ParseToken(tt.uri)
		if (err == nil) != (tt.want == "") || (k == nil) != (err != nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.uri, err, tt.want)
		}
	}
}

func TestReadPIN(t *testing.T) {
	for _, source := range []string{"|cat", "pin", "https://pin", "|/bin/cat"} {
		u := &uri{source: source}
		if pin, err := u.readPIN(); err == nil || pin != "" {
			t.Errorf("%s: got %q, %v", source, pin, err)
		}
	}
}

// FuzzParseToken: what parses names a key.
func FuzzParseToken(f *testing.F) {
	f.Add("pkcs11:token=office;object=release?module-path=/x.so&pin-source=file:/pin")
	f.Add("pkcs11:id=%01%ab;type=private")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseToken(s)
		if err == nil && k.uri.path["object"] == "" && k.uri.path["id"] == "" {
			t.Fatal("no key is named")
		}
	})
}
