package artifact

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"time"
)

// Sign copies the artifact src to dst with a signature by s. All other bytes are copied as they are: no member is compressed or encoded
// anew. A signed artifact is refused with ErrSigned, unless force is set; its signature is then replaced, unread.
//
// src is read once, front to back, and checked like Inspect does while it is copied. After an error there is nothing useful in dst.
func Sign(dst io.Writer, src io.Reader, s Signer, force bool) error {
	a := newArchive(src)
	if err := a.sign(dst, s, force); err != nil {
		return fmt.Errorf("sign artifact: %w", err)
	}
	return nil
}

func (a *archive) sign(dst io.Writer, s Signer, force bool) error {
	var ahead bytes.Buffer // what the walk read to find out where it stands
	a.m.src.tee = dst
	if err := a.readTop(&ahead); err != nil {
		return err
	}
	signed := a.at("manifest.sig")
	if signed && !force {
		return ErrSigned // before s is asked: it may be a person, or cost money
	}
	sig, err := sign(s, a.manifest)
	if err != nil {
		return err
	}
	if signed {
		if err := a.dropSignature(&ahead); err != nil {
			return err
		}
	}
	if err := putSignature(dst, sig); err != nil {
		return err
	}
	if _, err := dst.Write(ahead.Bytes()); err != nil {
		return err
	}
	a.m.src.tee = dst
	_, err = a.inspectRest()
	return err
}

// readTop reads version and manifest, which go where tee points, and the header of the member that follows, which stays in ahead.
func (a *archive) readTop(ahead *bytes.Buffer) (err error) {
	if err := a.advance(); err != nil {
		return err
	}
	if a.version, err = a.take("version", maxVersion); err != nil {
		return err
	}
	if err := a.advance(); err != nil {
		return err
	}
	if a.manifest, err = a.take("manifest", maxManifest); err != nil {
		return err
	}
	return a.peek(ahead)
}

// peek advances. The rest of the member before, its padding, goes where it would have gone; the header that follows goes into ahead.
func (a *archive) peek(ahead *bytes.Buffer) error {
	dst, padding := a.m.src.tee, a.m.src.padEnd-a.m.src.n
	a.m.src.tee = ahead
	if err := a.advance(); err != nil {
		return err
	}
	_, err := dst.Write(ahead.Next(int(padding)))
	return err
}

// dropSignature passes over manifest.sig, so that ahead has the header of what follows.
func (a *archive) dropSignature(ahead *bytes.Buffer) error {
	a.m.src.tee = io.Discard
	if _, err := a.take("manifest.sig", maxSignature); err != nil {
		return err
	}
	ahead.Reset()
	return a.peek(ahead)
}

// putSignature writes a member, and nothing of an archive's end.
func putSignature(dst io.Writer, sig []byte) error {
	t := tar.NewWriter(dst)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "manifest.sig", Size: int64(len(sig)), Mode: 0o600, ModTime: time.Unix(0, 0)}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if _, err := t.Write(sig); err != nil {
		return err
	}
	return t.Flush()
}
