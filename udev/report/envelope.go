package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// fileSize is that of every .json and .txt on a stick, in bytes: two clusters
// of a FAT at most, and enough for a summary.
const fileSize = 8 << 10

// maxJSON bounds the object report. What remains of fileSize is enough for the
// signature of an RSA key of 4096 bits.
const maxJSON = 7 << 10

// maxSignature bounds a signature before it is encoded.
const maxSignature = 512

// ErrTorn is a file whose writing was cut, or that was changed since.
var ErrTorn = errors.New("not whole")

// A Signer signs the exact bytes of a report; signing.PrivateKey is one.
type Signer interface {
	Sign(message []byte) (sig []byte, err error)
}

// A Verifier says whether sig is a trusted signature of message. signing.Keyring
// is one.
type Verifier interface {
	Verify(message, sig []byte) error
}

// Encode returns r in its envelope, signed if signer is not nil: at most 8 KiB.
// Where r is too large for that, phases from its middle and problems are left
// out, and it says so.
func Encode(r Report, signer Signer) ([]byte, error) {
	object, err := encodeReport(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(object)
	b := fmt.Appendf(nil, "{\"report\":%s,\n\"sha256\":\"%x\"", object, sum)
	if signer != nil {
		sig, err := signer.Sign(object)
		if err == nil && (len(sig) == 0 || len(sig) > maxSignature) {
			err = fmt.Errorf("a signature of %d bytes, want at most %d", len(sig), maxSignature)
		}
		if err != nil {
			return nil, fmt.Errorf("sign report %d: %w", r.Sequence, err)
		}
		b = fmt.Appendf(b, ",\n\"signature\":\"%s\"", base64.StdEncoding.EncodeToString(sig))
	}
	return append(b, "}\n"...), nil
}

// encodeReport returns the bytes that are signed.
func encodeReport(r Report) ([]byte, error) {
	r.Schema = Schema
	r.clean()
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("write report %d: %w", r.Sequence, err)
	}
	for {
		b, err := marshal(r)
		if err != nil {
			return nil, fmt.Errorf("write report %d: %w", r.Sequence, err)
		}
		if len(b) <= maxJSON {
			return b, nil
		}
		if !r.shorten() {
			panic("report: a report without phases and problems is too large")
		}
	}
}

// shorten leaves one thing out, and reports whether there was one: a phase from
// the middle, for how it began and how it ended say most, else a problem.
func (r *Report) shorten() bool {
	r.Shortened = true
	if n := len(r.Phases); n > 4 || n > 0 && (r.Health == nil || len(r.Health.Problems) == 0) {
		r.Phases = append(append([]Phase(nil), r.Phases[:n/2]...), r.Phases[n/2+1:]...)
		return true
	}
	if r.Health == nil || len(r.Health.Problems) == 0 {
		return false
	}
	n := len(r.Health.Problems) - 1
	r.Health = &Health{r.Health.Healthy, r.Health.Problems[:n], r.Health.More + 1}
	return true
}

// marshal keeps < and > as they are: the file is for people too.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// A Signed is a report as it was read, and what was signed of it.
type Signed struct {
	Report
	Message   []byte // the exact bytes of the object report
	Signature []byte // raw; nil: it has none
}

// Parse reads an envelope. What surrounds it may only be blank. ErrTorn is one
// that is not whole, and ErrReport one that no device could have written. What
// it returns is not trusted yet, and clean.
func Parse(b []byte) (*Signed, error) {
	var e struct {
		Report    json.RawMessage `json:"report"`
		SHA256    string          `json:"sha256"`
		Signature *string         `json:"signature"`
	}
	if err := json.Unmarshal(bytes.Trim(b, " \r\n"), &e); err != nil {
		return nil, fmt.Errorf("read report: %w: %s", ErrTorn, line(err.Error(), maxProblem))
	}
	sum := sha256.Sum256(e.Report)
	if e.SHA256 != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("read report: %w: its checksum differs", ErrTorn)
	}
	s := &Signed{Message: e.Report}
	if err := json.Unmarshal(e.Report, &s.Report); err != nil {
		return nil, fmt.Errorf("read report: %w: %s", ErrReport, line(err.Error(), maxProblem))
	}
	if e.Signature != nil {
		sig, err := base64.StdEncoding.DecodeString(*e.Signature)
		if err != nil || len(sig) == 0 || len(sig) > maxSignature {
			return nil, fmt.Errorf("read report: %w: its signature is not one", ErrReport)
		}
		s.Signature = sig
	}
	s.clean()
	return s, s.check()
}
