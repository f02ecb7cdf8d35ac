package artifact

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/big"
	"slices"
	"strings"
)

// oldToolVectors are what readers in the field were seen to stumble over: names that only begin with the right one, a type that is
// missing, dialects of tar, and signatures that are nearly right.
func oldToolVectors() []vector {
	member := func(name, about, expect, says string, spoil func([]file) []file) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{members: spoil}.build()}
	}
	module := func(name, about, expect, says, info, typeInfo string) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{info: info, typeInfo: typeInfo}.build()}
	}
	payload := func(name string) (info, typeInfo string) {
		return replace(`"files"`, name)(moduleInfo), replace(`"files"`, name)(moduleType)
	}
	upInfo, upType := payload(`"../../bin/sh"`)
	scripts := []file{{name: "header-info", body: nullInfo}, {name: "scripts/ArtifactInstall_Enter_00", body: "#!/bin/sh\n"}, {name: "headers/0000/type-info", body: nullType}}
	return append([]vector{
		member("c-manifest-prefix", "a second member whose name only begins with manifest", "format", `want manifest, have "manifestX"`, func(all []file) []file { all[1].name = "manifestX"; return all }),
		member("c-header-prefix", "a third member whose name only begins with header.tar", "format", `want header.tar, have "header.tarX"`, func(all []file) []file { all[2].name = "header.tarX"; return all }),
		{name: "c-signature-prefix", about: "a member whose name only begins with manifest.sig", expect: "unsigned", inspect: "format", says: "", key: "rsa2048",
			data: parts{sign: testKey("rsa2048").base64, members: func(all []file) []file { all[2].name = "manifest.sigX"; return all }}.build()},
		member("c-gnu-long-name", "the payload's name in a member of its own, as GNU tar writes long ones", "ok", "", insert(3, file{name: "././@LongLink", kind: 'L', body: "data/0000.tar\x00", spoil: gnu})),
		member("c-old-tar", "headers without a magic, as before POSIX", "ok", "", func(all []file) []file {
			for i := range all {
				all[i].spoil = func(h []byte) { clear(h[257:]) }
			}
			return all
		}),
		member("c-base256-size", "a small size in base 256", "ok", "", func(all []file) []file {
			all[3].spoil = func(h []byte) {
				gnu(h)
				clear(h[124:136])
				h[124] = 0x80
				binary.BigEndian.PutUint64(h[128:], uint64(len(all[3].body)))
			}
			return all
		}),
		module("j-type-missing-module", "no type in the type-info of a module's payload, which crashed a reader", "format", "type is missing", moduleInfo, `{}`),
		module("j-payload-type-path", "a payload type that leads to a program outside of the modules", "ok", "", upInfo, upType),
		{name: "h12-null-scripts", about: "a null payload with a script", expect: "ok", data: parts{header: scripts, data: []file{}}.build()},
	}, nearlySigned()...)
}

// gnu makes a header one of GNU tar's.
func gnu(h []byte) { copy(h[257:], "ustar  \x00") }

// nearlySigned are signatures by the right key in the wrong manner, and in the right one that is easily got wrong.
func nearlySigned() []vector {
	signed := func(name, about, expect, says, key string, info string, sign func(string) []byte) vector {
		v := vector{name: name, about: about, expect: expect, says: says, key: key}
		if expect == "untrusted" {
			v.inspect = "ok"
		}
		v.data = parts{info: info, sign: func(m string) string { return base64.StdEncoding.EncodeToString(sign(m)) }}.build()
		return v
	}
	rs := func(manifest string) []byte {
		b, err := testKey("p256").Sign([]byte(manifest))
		if err != nil {
			panic(err)
		}
		return b
	}
	const no = "verify manifest: signature is not trusted"
	return []vector{
		signed("s-rsa-pss", "RSA with the padding of PSS", "untrusted", no, "rsa2048", "", signPSS),
		signed("s-rsa-sha1", "RSA with SHA-1", "untrusted", no, "rsa2048", "", func(m string) []byte { sum := sha1.Sum([]byte(m)); return signHash(crypto.SHA1, sum[:]) }),
		signed("s-rsa-sha512", "RSA with SHA-512", "untrusted", no, "rsa2048", "", func(m string) []byte { sum := sha512.Sum512([]byte(m)); return signHash(crypto.SHA512, sum[:]) }),
		signed("s-p256-leading-zero", "ECDSA whose r begins with a byte of zero", "ok", "", "p256", infoOfShortR(rs), rs),
		signed("s-p256-cut-zero", "ECDSA whose r begins with a byte of zero that was left out", "untrusted", no, "p256", infoOfShortR(rs), func(m string) []byte { return rs(m)[1:] }),
		signed("s-p256-der", "ECDSA in DER, as tokens write it", "ok", "", "p256", "", func(m string) []byte { return inDER(rs(m)) }),
		signed("s-p256-der-behind", "ECDSA in DER, and a byte after it", "untrusted", no, "p256", "", func(m string) []byte { return append(inDER(rs(m)), 0) }),
		signed("s-p256-zero", "ECDSA of nothing but zeros", "untrusted", no, "p256", "", func(string) []byte { return make([]byte, 64) }),
		signed("s-p256-little-endian", "ECDSA with the bytes of r and s turned round", "untrusted", no, "p256", "", func(m string) []byte {
			b := rs(m)
			slices.Reverse(b[:32])
			slices.Reverse(b[32:])
			return b
		}),
	}
}

func signHash(h crypto.Hash, sum []byte) []byte {
	b, err := rsa.SignPKCS1v15(nil, rsaKey(), h, sum)
	if err != nil {
		panic(err)
	}
	return b
}

func rsaKey() *rsa.PrivateKey {
	key, err := x509.ParsePKCS1PrivateKey(keyFile("rsa2048"))
	if err != nil {
		panic(err)
	}
	return key
}

// signPSS is RSASSA-PSS without salt (RFC 8017, 9.1.1): crypto/rsa takes a random one, and a vector is the same whenever it is built.
func signPSS(manifest string) []byte {
	key, sum := rsaKey(), sha256.Sum256([]byte(manifest))
	h := sha256.Sum256(append(make([]byte, 8), sum[:]...))
	db := make([]byte, key.Size()-len(h)-1)
	db[len(db)-1] = 1
	var mask []byte
	for i := byte(0); len(mask) < len(db); i++ {
		m := sha256.Sum256(append(h[:], 0, 0, 0, i))
		mask = append(mask, m[:]...)
	}
	for i := range db {
		db[i] ^= mask[i]
	}
	db[0] &= 0x7f
	m := new(big.Int).SetBytes(slices.Concat(db, h[:], []byte{0xbc}))
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

// infoOfShortR returns a header-info with which r begins with a zero: one name in 256 has it.
func infoOfShortR(sign func(string) []byte) string {
	for i := 0; ; i++ {
		info, short := replace("rel-1", fmt.Sprint("rel-", i))(goodInfo), false
		parts{info: info, sign: func(m string) string { short = sign(m)[0] == 0; return "" }}.build()
		if short {
			return info
		}
	}
}

func inDER(rs []byte) []byte {
	b, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(rs[:32]), new(big.Int).SetBytes(rs[32:])})
	if err != nil {
		panic(err)
	}
	return b
}

// bombVectors are small and want much: of memory before anything is trusted, or of time.
func bombVectors() []vector {
	const zeros, deep = 256 << 20, 200_000
	header := ustar(goodHeader()...) + end
	inHeader := func(name, about, says, meta, info string) vector {
		h := []file{{name: "header-info", body: info}, {name: "headers/0000/type-info", body: moduleType}, {name: "headers/0000/meta-data", body: meta}}
		return vector{name: name, about: about, expect: "format", says: says, data: parts{header: h, headerName: "header.tar.zst", packHeader: packedRuns}.build()}
	}
	image := file{name: "rootfs.ext4", size: fmt.Sprintf("%011o", zeros)}
	return []vector{
		inHeader("j-deep", "arrays in arrays, 200000 deep", "header-info: malformed artifact", "{}", `{"payloads":`+strings.Repeat("[", deep)+strings.Repeat("]", deep)+"}"),
		inHeader("j-meta-deep", "meta-data of arrays in arrays, 200000 deep", "headers/0000/meta-data: malformed artifact", `{"a":`+strings.Repeat("[", deep)+strings.Repeat("]", deep)+"}", moduleInfo),
		{name: "z-gzip-bomb-header", about: "a header of 16 MiB and more in 115 KiB of gzip", expect: "limit", says: "header.tar.gz: limit exceeded",
			data: parts{headerName: "header.tar.gz", packHeader: func(string) string { return gzipZeros(header, 16<<20) }}.build()},
		{name: "z-zstd-bomb-header", about: "a header of 256 MiB in 8 KiB of zstd", expect: "limit", says: "header.tar.zst: limit exceeded",
			data: parts{headerName: "header.tar.zst", packHeader: func(string) string { return frame(rawBlock(header), zeroBlocks(zeros), lastBlock) }}.build()},
		{name: "z-zstd-bomb-image", about: "an image of 256 MiB in 8 KiB of zstd, whose sum is another", expect: "checksum", says: "rootfs.ext4: checksum",
			data: parts{data: []file{image}, dataName: "data/0000.tar.zst", packData: func(s string) string {
				return frame(rawBlock(s[:block]), zeroBlocks(zeros), rawBlock(end), lastBlock)
			}}.build()},
		{name: "c-pax-bomb", about: "a PAX header with a record of 200 KiB", expect: "limit", says: "limit exceeded",
			data: parts{members: insert(3, paxHeader("comment="+strings.Repeat("x", 200<<10)))}.build()},
	}
}

// A frame of zstd with a window of 8 MiB, whose blocks are as they are, or a byte and how often it stands there.

const (
	lastBlock = "\x01\x00\x00"
	mostBlock = 128 << 10
)

func frame(blocks ...string) string {
	return "\x28\xb5\x2f\xfd\x00\x68" + strings.Join(blocks, "")
}

func blockHeader(n, kind int) string {
	h := n<<3 | kind<<1
	return string([]byte{byte(h), byte(h >> 8), byte(h >> 16)})
}

func rawBlock(s string) string { return blockHeader(len(s), 0) + s }

func runBlock(c byte, n int) string { return blockHeader(n, 1) + string([]byte{c}) }

func zeroBlocks(n int) string { return strings.Repeat(runBlock(0, mostBlock), n/mostBlock) }

// packedRuns is s in zstd: what repeats one byte often is packed.
func packedRuns(s string) string {
	var blocks []string
	for s != "" {
		n := 1
		for n < min(len(s), mostBlock) && s[n] == s[0] {
			n++
		}
		if n >= 64 {
			blocks, s = append(blocks, runBlock(s[0], n)), s[n:]
			continue
		}
		for n = 1; n < min(len(s), mostBlock) && !strings.HasPrefix(s[n:], strings.Repeat(s[n:n+1], 64)); n++ {
		}
		blocks, s = append(blocks, rawBlock(s[:n])), s[n:]
	}
	return frame(append(blocks, lastBlock)...)
}

// gzipZeros is s and then zeros in gzip: one block that is not compressed, and one of matches of 258 bytes, one byte back (RFC 1951,
// 3.2.6), each 13 bits.
func gzipZeros(s string, zeros int) string {
	const match = 258
	zeros -= zeros % match
	b := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	b = binary.LittleEndian.AppendUint16(b, ^uint16(len(s)))
	b = append(b, s...)
	var acc, n uint64
	put := func(bits, width uint64) {
		acc |= bits << n
		for n += width; n >= 8; n -= 8 {
			b, acc = append(b, byte(acc)), acc>>8
		}
	}
	put(1|1<<1, 3) // the last block, with fixed codes
	for range zeros / match {
		put(0b10100011, 8) // length 258 is code 285, 11000101 from the other end
		put(0, 5)          // distance 1
	}
	put(0, 7+7) // the end of the block, and of the byte
	sum := crc32.NewIEEE()
	sum.Write([]byte(s))
	sum.Write(make([]byte, zeros))
	b = binary.LittleEndian.AppendUint32(b, sum.Sum32())
	return string(binary.LittleEndian.AppendUint32(b, uint32(len(s)+zeros)))
}
