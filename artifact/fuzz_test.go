package artifact

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzManifest: what parses encodes to the same bytes.
func FuzzManifest(f *testing.F) {
	for _, v := range manifestVectors() {
		if info, err := Inspect(bytes.NewReader(v.data)); err == nil {
			f.Add(info.Manifest)
		}
	}
	f.Add([]byte(sumOf("") + "  header.tar.zst\n" + sumOf("x") + "  version\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b, "header.tar", true)
		if err != nil {
			if !isOurs(err) {
				t.Errorf("%v is none of the sentinels", err)
			}
			return
		}
		if !bytes.Equal(m.encode(), b) {
			t.Errorf("%q parses and encodes to %q", b, m.encode())
		}
	})
}

// FuzzHeader: what parses encodes to something that parses to the same.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(goodInfo), []byte(goodTypeInfo), []byte(nil))
	f.Add([]byte(nullInfo), []byte(nullType), []byte(nil))
	f.Add([]byte(moduleInfo), []byte(`{"type":"files","artifact_depends":{"a":["b","c"],"d":"e"},"clears_artifact_provides":[]}`), []byte(`{"a":[1]}`))
	f.Fuzz(func(t *testing.T, info, typeInfo, meta []byte) {
		var h Header
		for _, err := range []error{h.parseInfo(info, false), h.parseTypeInfo(typeInfo), h.parseMeta(meta)} {
			if err != nil {
				if !isOurs(err) {
					t.Errorf("%v is none of the sentinels", err)
				}
				return
			}
		}
		var again Header
		infoAgain, err := h.encodeInfo()
		if err != nil {
			t.Fatalf("%+v parses and does not encode: %v", h, err)
		}
		typeAgain, err := h.encodeTypeInfo()
		if err != nil {
			t.Fatalf("%+v parses and does not encode: %v", h, err)
		}
		if err := again.parseInfo(infoAgain, false); err != nil {
			t.Fatal(err)
		}
		if err := again.parseTypeInfo(typeAgain); err != nil {
			t.Fatal(err)
		}
		again.MetaData = h.MetaData
		if diff := cmp.Diff(normal(h), normal(again)); diff != "" {
			t.Errorf("another header (-first +second):\n%s", diff)
		}
	})
}

// parseMeta is parseMetaData where a null payload may have the nothing that it must have.
func (h *Header) parseMeta(b []byte) error {
	if h.Type == "" && len(b) == 0 {
		return nil
	}
	return h.parseMetaData(b)
}

// normal makes no difference between an empty list and none, where there is none.
func normal(h Header) string {
	for _, l := range []*[]string{&h.DependsNames, &h.DependsGroups, &h.Clears} {
		if len(*l) == 0 {
			*l = nil
		}
	}
	b, err := json.Marshal(h)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// FuzzOpen fuzzes beneath the sums: the fuzzer says what is in the archives, and the sums are made right. What is let through is let
// through by Sign as well, and the same.
func FuzzOpen(f *testing.F) {
	good := ustar(goodHeader()...) + end
	f.Add([]byte(versionMember), []byte(good), []byte(ustar(file{name: "rootfs.ext4", body: goodImage})+end), []byte(end), uint8(0))
	f.Add([]byte(versionMember), []byte(storedGzip(good)), []byte(storedGzip(ustar(file{name: "rootfs.ext4"})+end)), []byte(end), uint8(1))
	f.Add([]byte(versionMember), []byte(rawXZ(good, 4)), []byte(rawXZ(ustar(file{name: "rootfs.ext4"})+end, 4)), []byte(end), uint8(2))
	f.Add([]byte(versionMember), []byte(rawZstd(good, 0, 0x20)), []byte(rawZstd(ustar(file{name: "rootfs.ext4"})+end, 0, 0x20)), []byte(end), uint8(3))
	f.Fuzz(func(t *testing.T, version, header, data, tail []byte, suffix uint8) {
		ext := []string{"", ".gz", ".xz", ".zst"}[suffix%4]
		name, image := "header.tar"+ext, imageIn(ext, data)
		manifest := sumOf(image) + "  data/0000/rootfs.ext4\n" + sumOf(string(header)) + "  " + name + "\n" + sumOf(string(version)) + "  version\n"
		a := []byte(ustar(file{name: "version", body: string(version)}, file{name: "manifest", body: manifest},
			file{name: name, body: string(header)}, file{name: "data/0000.tar" + ext, body: string(data)}) + string(tail))
		have, err := readAll(bytes.NewReader(a), anybody{})
		_, inspected := Inspect(bytes.NewReader(a))
		if (err == nil) != (inspected == nil) {
			t.Errorf("Open: %v, Inspect: %v", err, inspected)
		}
		if err != nil {
			return
		}
		if string(have) != image {
			t.Errorf("an image of %d bytes that no sum is of", len(have))
		}
		var signed bytes.Buffer
		if err := Sign(&signed, bytes.NewReader(a), testKey("p256"), true); err != nil {
			t.Fatal(err)
		}
		if again, err := readAll(&signed, testKey("p256")); err != nil || !bytes.Equal(again, have) {
			t.Errorf("signed: %v", err)
		}
	})
}

// imageIn returns the first file in the payload, which may be anything.
func imageIn(ext string, data []byte) string {
	d, err := newDecoder("data/0000.tar"+ext, bytes.NewReader(data), classify)
	if err != nil {
		return ""
	}
	m := newMembers(&limitReader{r: d, left: maxHeader})
	if _, err := m.next(); err != nil {
		return ""
	}
	b, err := io.ReadAll(m)
	if err != nil {
		return ""
	}
	return string(b)
}

// FuzzCodecs: whatever is compressed comes back, in each of them; whatever else is decompressed ends, and fails as one of ours.
func FuzzCodecs(f *testing.F) {
	for i := range allCompressions {
		f.Add(image[:500], uint8(i))
	}
	for _, s := range []string{storedGzip("x"), rawXZ("x", 4), rawZstd("x", 0, 0x20)} {
		f.Add([]byte(s), uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		c := allCompressions[int(which)%len(allCompressions)]
		suffix, err := c.suffix()
		if err != nil {
			t.Fatal(err)
		}
		var z bytes.Buffer
		w, err := c.writer(&z)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if have, err := decode(suffix, z.Bytes()); err != nil || !bytes.Equal(have, b) {
			t.Errorf("%s: %d bytes, %v, want %d", c, len(have), err, len(b))
		}
		if _, err := decode(suffix, b); err != nil && !isOurs(err) {
			t.Errorf("%s: %v is none of the sentinels", c, err)
		}
	})
}

func decode(suffix string, b []byte) ([]byte, error) {
	d, err := newDecoder("x.tar"+suffix, bytes.NewReader(b), classify)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(&limitReader{r: d, left: maxHeader})
}
