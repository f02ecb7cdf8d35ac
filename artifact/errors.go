package artifact

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// What a caller decides by. Each refusal of this package is exactly one of them; a source that fails to read is none, its error is
// passed on as it is.
var (
	// ErrUnsigned: there is no signature, and the Verifier asks for one.
	ErrUnsigned = errors.New("artifact is not signed")
	// ErrUntrusted: there is a signature, and the Verifier does not trust it.
	ErrUntrusted = errors.New("signature is not trusted")
	// ErrChecksum: content is not what the manifest, or the compressed stream itself, says it is.
	ErrChecksum = errors.New("checksum does not match")
	// ErrFormat: a rule of the format is violated; the message names the member and the rule.
	ErrFormat = errors.New("malformed artifact")
	// ErrTruncated: the artifact, or something in it, ends too early.
	ErrTruncated = errors.New("artifact ends too early")
	// ErrLimit: something is larger than a reader may be asked to hold.
	ErrLimit = errors.New("limit exceeded")
	// ErrUnsupported: well-formed as far as can be seen, and of a kind that is not supported.
	ErrUnsupported = errors.New("not supported")
	// ErrSigned: Sign was asked to sign a signed artifact without force.
	ErrSigned = errors.New("artifact is already signed")
	// ErrStale: a signed artifact was to be changed without anybody to sign it, and its signature would not hold any more.
	ErrStale = errors.New("artifact is signed, and its signature would not hold")
	// ErrSize: a Writer was asked for an artifact that is larger than its Options allow.
	ErrSize = errors.New("artifact is larger than allowed")
)

var sentinels = []error{ErrUnsigned, ErrUntrusted, ErrChecksum, ErrFormat, ErrTruncated, ErrLimit, ErrUnsupported, ErrSigned, ErrStale, ErrSize}

// malformed returns an ErrFormat that names the rule.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
}

// classify makes one of the sentinels of whatever archive/tar or a decompressor complains about. It must not see errors of the
// source: those are nobody's fault here, and tally keeps them.
func classify(err error) error {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return err
		}
	}
	kind := ErrFormat
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, xz.ErrBuf):
		return ErrTruncated
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, xz.ErrData):
		kind = ErrChecksum
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, xz.ErrMemlimit):
		kind = ErrLimit
	case errors.Is(err, zstd.ErrUnknownDictionary), errors.Is(err, xz.ErrUnsupportedCheck), errors.Is(err, xz.ErrOptions):
		kind = ErrUnsupported
	}
	return fmt.Errorf("%w: %w", kind, err)
}
