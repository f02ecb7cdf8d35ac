package artifact

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Bad artifacts are built here byte by byte, with neither archive/tar nor the writer, so that each breaks one rule and no other.

// A file is a member of a tar archive.
type file struct {
	name, body string
	kind       byte           // '0' if zero
	link       string         // for links
	size       string         // octal digits to write in place of the true size
	dirty      bool           // a byte of the padding is not zero
	spoil      func(h []byte) // changes the header before its checksum is made
}

// ustar returns the archive without its end.
func ustar(files ...file) string {
	var b bytes.Buffer
	for _, f := range files {
		h := make([]byte, block)
		size := fmt.Sprintf("%011o", len(f.body))
		if f.size != "" {
			size = f.size
		}
		copy(h, f.name)
		copy(h[100:], "0000600\x000000000\x000000000\x00")
		copy(h[124:], size)
		copy(h[136:], "00000000000\x00")
		h[156] = max(f.kind, '0')
		copy(h[157:], f.link)
		copy(h[257:], "ustar\x0000")
		copy(h[329:], "0000000\x000000000\x00")
		if f.spoil != nil {
			f.spoil(h)
		}
		copy(h[148:], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		pad := make([]byte, -len(f.body)&(block-1))
		if f.dirty {
			pad[len(pad)-1] = 1
		}
		b.Write(h)
		b.WriteString(f.body)
		b.Write(pad)
	}
	return b.String()
}

// end is what an archive ends with.
var end = strings.Repeat("\x00", 2*block)

// parts are an artifact in pieces, each of which a vector can spoil. What is left empty is made right.
type parts struct {
	version              string
	info, typeInfo       string
	header               []file // in place of header-info, type-info and meta-data
	data                 []file // the payload
	noData               bool   // no payload member
	headerName, dataName string
	headerEnd, dataEnd   string // in place of end
	packHeader, packData func(string) string
	manifest             func(string) string // spoils the manifest
	sign                 func(manifest string) string
	members              func([]file) []file // spoils the outer archive
	end                  string
	cut                  int // bytes to cut off at the end
}

func or(s, t string) string {
	if s == "" {
		return t
	}
	return s
}

func sumOf(s string) string { return Sum(sha256.Sum256([]byte(s))).String() }

const (
	goodInfo     = `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`
	goodTypeInfo = `{"type":"rootfs-image","artifact_provides":{"rootfs-image.version":"rel-1"},"clears_artifact_provides":["rootfs-image.*"]}`
	moduleInfo   = `{"payloads":[{"type":"files"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`
	moduleType   = `{"type":"files"}`
	nullInfo     = `{"payloads":[{"type":null}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`
	nullType     = `{"type":null}`
	goodImage    = "a root file system, in a manner of speaking\n"
)

func goodHeader() []file {
	return []file{{name: "header-info", body: goodInfo}, {name: "headers/0000/type-info", body: goodTypeInfo}, {name: "headers/0000/meta-data"}}
}

// build returns the artifact.
func (p parts) build() []byte {
	if p.header == nil {
		p.header = goodHeader()
		p.header[0].body = or(p.info, goodInfo)
		p.header[1].body = or(p.typeInfo, goodTypeInfo)
		if p.info == nullInfo {
			p.header = p.header[:2]
		}
	}
	if p.data == nil {
		p.data = []file{{name: "rootfs.ext4", body: goodImage}}
	}
	header, data := ustar(p.header...)+or(p.headerEnd, end), ustar(p.data...)+or(p.dataEnd, end)
	if p.packHeader != nil {
		header = p.packHeader(header)
	}
	if p.packData != nil {
		data = p.packData(data)
	}
	version, headerName := or(p.version, versionMember), or(p.headerName, "header.tar")
	var lines string
	for _, f := range p.data {
		if line := sumOf(f.body) + "  data/0000/" + f.name + "\n"; !strings.Contains(lines, "  data/0000/"+f.name+"\n") {
			lines += line
		}
	}
	lines += sumOf(header) + "  " + headerName + "\n" + sumOf(version) + "  version\n"
	if p.manifest != nil {
		lines = p.manifest(lines)
	}
	all := []file{{name: "version", body: version}, {name: "manifest", body: lines}}
	if p.sign != nil {
		all = append(all, file{name: "manifest.sig", body: p.sign(lines)})
	}
	all = append(all, file{name: headerName, body: header})
	if !p.noData {
		all = append(all, file{name: or(p.dataName, "data/0000.tar"), body: data})
	}
	if p.members != nil {
		all = p.members(all)
	}
	b := ustar(all...) + or(p.end, end)
	return []byte(b[:len(b)-p.cut])
}

// replace spoils a manifest by putting new for the first old.
func replace(old, new string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("nothing to replace: " + old)
		}
		return strings.Replace(s, old, new, 1)
	}
}

// insert puts files in at index i; negative counts from the end, -1 is the end.
func insert(i int, files ...file) func([]file) []file {
	return func(all []file) []file {
		if i < 0 {
			i += len(all) + 1
		}
		return append(append(append([]file{}, all[:i]...), files...), all[i:]...)
	}
}

func gz(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

func keyFile(name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "testdata", "keys", name+".pem"))
	if err != nil {
		panic(err)
	}
	p, _ := pem.Decode(b)
	return p.Bytes
}

// A testKey signs and verifies with one of the keys in testdata.
type testKey string

func (k testKey) Sign(manifest []byte) ([]byte, error) {
	sum := sha256.Sum256(manifest)
	if k == "p256" {
		key, err := x509.ParseECPrivateKey(keyFile(string(k)))
		if err != nil {
			return nil, err
		}
		der, err := key.Sign(nil, sum[:], crypto.SHA256) // without a source of randomness it signs deterministically
		if err != nil {
			return nil, err
		}
		var sig struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			return nil, err
		}
		b := make([]byte, 64)
		sig.R.FillBytes(b[:32])
		sig.S.FillBytes(b[32:])
		return b, nil
	}
	key, err := x509.ParsePKCS1PrivateKey(keyFile(string(k)))
	if err != nil {
		return nil, err
	}
	return rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
}

func (k testKey) Verify(manifest, sig []byte) error {
	pub, err := x509.ParsePKIXPublicKey(keyFile(string(k) + ".pub"))
	if err != nil {
		panic(err)
	}
	if sig == nil {
		return errors.New("no signature")
	}
	sum := sha256.Sum256(manifest)
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], sig)
	case *ecdsa.PublicKey:
		if len(sig) != 64 && ecdsa.VerifyASN1(pub, sum[:], sig) {
			return nil
		}
		if len(sig) == 64 && ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			return nil
		}
	}
	return errors.New("wrong signature")
}

// base64Of returns manifest.sig by k.
func (k testKey) base64(manifest string) string {
	sig, err := k.Sign([]byte(manifest))
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// anybody trusts everything.
type anybody struct{}

func (anybody) Verify(manifest, sig []byte) error { return nil }

// TestBuild shows that what the vectors spoil is good to begin with.
func TestBuild(t *testing.T) {
	if _, err := Inspect(bytes.NewReader(parts{}.build())); err != nil {
		t.Fatal(err)
	}
}
