package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// runSignExport writes what is to be signed, and tells whoever signs what it is.
func (a *app) runSignExport(ctx context.Context, o signOptions, path string) error {
	if o.signer.given() {
		return usage{errors.New("--export signs nothing: the key is asked for by --import")}
	}
	if o.export == "-" && a.out.json {
		return usage{errors.New("--json and --export - both want standard output")}
	}
	info, err := a.inspect(ctx, path)
	if err != nil {
		return err
	}
	if info.Signature != nil && !o.force {
		return fmt.Errorf("export %s: %w", path, artifact.ErrSigned)
	}
	if err := a.createBytes(o.export, info.Manifest); err != nil {
		return err
	}
	h := info.Header
	tell := a.out.result
	if o.export == "-" {
		tell = func(_ string, _ fields, format string, args ...any) { a.out.say(format, args...) }
	}
	tell("manifest", fields{
		"file": o.export, "sha256": info.ManifestSum, "artifact": h.Name, "version": h.Provides[keyVersion],
		"type": h.Type, "device_types": h.DeviceTypes,
	}, "%s", exported(o.export, path, info))
	return nil
}

// exported is what a person reads before signing.
func exported(to, path string, info *artifact.Info) string {
	h := info.Header
	var b strings.Builder
	fmt.Fprintf(&b, "%s is what is to be signed of %s\n", to, path)
	fmt.Fprintf(&b, "  sha256:        %s\n", info.ManifestSum)
	fmt.Fprintf(&b, "  artifact:      %s\n", h.Name)
	if v := h.Provides[keyVersion]; v != "" {
		fmt.Fprintf(&b, "  version:       %s\n", v)
	}
	fmt.Fprintf(&b, "  device types:  %s\n", strings.Join(h.DeviceTypes, ", "))
	fmt.Fprintf(&b, "  type:          %s", h.Type)
	for _, f := range info.Files {
		fmt.Fprintf(&b, "\n  file:          %s, %s, sha256 %s", f.Name, size(f.Size), f.Sum)
	}
	return b.String()
}

// signerOrImport returns who signs: a key, or somebody who did so already.
func (a *app) signerOrImport(ctx context.Context, o signOptions) (*signer, error) {
	if o.give == "" {
		return a.signer(ctx, o.signer)
	}
	s := o.signer
	if s.public == "" {
		return nil, usage{errors.New("--import needs --public-key: a signature that nobody verified is not written")}
	}
	s.public = ""
	if s.given() {
		return nil, usage{errors.New("too many signing keys given: --import has the signature")}
	}
	public, err := a.publicKey(ctx, o.signer.public)
	if err != nil {
		return nil, fmt.Errorf("--public-key: %w", err)
	}
	answer, err := a.readSignature(ctx, o.give)
	if err != nil {
		return nil, fmt.Errorf("--import: %w", err)
	}
	return a.warned(&signer{public, func(manifest []byte) ([]byte, error) { return public.Accept(manifest, answer) }}), nil
}

// maxSignatureFile is more than any form of a signature has.
const maxSignatureFile = 64 << 10

func (a *app) readSignature(ctx context.Context, path string) ([]byte, error) {
	src, name, err := a.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer src.Close() // only read
	b, err := io.ReadAll(io.LimitReader(src, maxSignatureFile+1))
	if err == nil && len(b) > maxSignatureFile {
		err = errors.New("more than a signature has")
	}
	if err != nil && !errors.As(err, new(*os.PathError)) {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return b, err
}
