package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

func (a *app) artifactCommand() *cobra.Command {
	return group("artifact", "Build, inspect, verify and sign artifacts",
		group("write", "Build an artifact", a.writeRootfsCommand()),
		a.readCommand(), a.verifyCommand(), a.signCommand())
}

// A replacement is a file that comes into being whole or not at all: written
// under a temporary name in the same folder, synced, and renamed.
type replacement struct {
	*os.File
	path string
}

// replace begins a replacement of path. A symbolic link is followed, so that
// what it points to is replaced.
func replace(path string, mode fs.FileMode) (*replacement, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	r := &replacement{f, path}
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, r.abort())
	}
	return r, nil
}

// commit makes the file appear.
func (r *replacement) commit() error {
	err := errors.Join(r.Sync(), r.Close())
	if err == nil {
		err = os.Rename(r.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(r.Name()))
	}
	dir, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// abort leaves nothing behind.
func (r *replacement) abort() error {
	return errors.Join(r.Close(), os.Remove(r.Name()))
}

// create calls body with a writer to path, or to standard output for "-". When
// body fails, or the file cannot be made durable, nothing is left at path that
// was not there before.
func (a *app) create(path string, mode fs.FileMode, body func(io.Writer) error) error {
	if path == "-" {
		return body(a.stdout)
	}
	r, err := replace(path, mode)
	if err != nil {
		return err
	}
	if err := body(r); err != nil {
		return errors.Join(err, r.abort())
	}
	return r.commit()
}

func (a *app) readCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "read ARTIFACT",
		Short: "Say what is in an artifact; all of it is read and its checksums are verified",
		Long: `Read says what is in an artifact (- is standard input). All of it is read and
its checksums are verified. A signature that does not verify is reported, and
does not change the exit code: use verify for that.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runRead(ctx, keys, args[0]) }),
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key to verify the signature with; may be given several times")
	noProgress(cmd)
	return cmd
}

// noProgress accepts the flag of Mender's tool; ours shows none there.
func noProgress(cmd *cobra.Command) {
	cmd.Flags().Bool("no-progress", false, "accepted for scripts; see --quiet")
}

func (a *app) runRead(ctx context.Context, keys []string, path string) error {
	info, err := a.inspect(ctx, path)
	if err != nil {
		return err
	}
	signature, err := describeSignature(info, keys)
	if err != nil {
		return err
	}
	a.out.result("artifact", infoFields(info, signature), "%s", describe(info, signature))
	return nil
}

// inspect reads the artifact at path to its end.
func (a *app) inspect(ctx context.Context, path string) (*artifact.Info, error) {
	src, name, err := a.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer src.Close() // only read
	info, err := artifact.Inspect(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return info, nil
}

// open opens path for reading, or standard input for "-". Reading ends when
// ctx does.
func (a *app) open(ctx context.Context, path string) (src io.ReadCloser, name string, err error) {
	if path == "-" {
		return interruptible(ctx, a.stdin), "standard input", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, path, err
	}
	return struct {
		io.Reader
		io.Closer
	}{untilDone{ctx, f}, f}, path, nil
}

// interruptible returns a reader of r that fails as soon as ctx is done, even
// while r has nothing to give: a pipe whose other end is silent. Close it.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{pw}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		stop()
		pw.CloseWithError(err)
	}()
	return pr
}

// untilDone is a reader that fails once its context is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(b)
}

// The words of the signature line are those that scripts know from Mender's
// tool.
const (
	signedNot     = "no signature"
	signedUnknown = "signed but no key for verification provided; please use `-k` option for providing verification key"
	signedRight   = "signed and verified correctly"
	signedWrong   = "signed; verification using provided key failed"
)

func describeSignature(info *artifact.Info, keys []string) (string, error) {
	switch {
	case info.Signature == nil:
		return signedNot, nil
	case len(keys) == 0:
		return signedUnknown, nil
	}
	ring, err := signing.LoadKeyring(keys...)
	if err != nil {
		return "", err
	}
	if info.Verify(ring) != nil {
		return signedWrong, nil
	}
	return signedRight, nil
}

func (a *app) verifyCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:     "verify ARTIFACT",
		Aliases: []string{"validate"},
		Short:   "Verify an artifact: structure, every checksum, and the signature",
		Long: `Verify reads all of an artifact (- is standard input) and verifies its
structure, every checksum and, with -k, the signature. With several keys one of
them must have signed it. A signed artifact needs a key; an unsigned one passes
only without.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runVerify(ctx, keys, args[0]) }),
	}
	cmd.Flags().StringArrayVarP(&keys, "key", "k", nil, "public key; may be given several times")
	noProgress(cmd)
	return cmd
}

func (a *app) runVerify(ctx context.Context, keys []string, path string) error {
	ring, err := signing.LoadKeyring(keys...)
	if err != nil {
		return err
	}
	info, err := a.inspect(ctx, path)
	if err != nil {
		return err
	}
	ring.AllowUnsigned = len(keys) == 0 && info.Signature == nil
	if err := info.Verify(ring); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	a.out.result("verified", fields{"file": path, "artifact": info.Header.Name, "signed": info.Signature != nil, "manifest": info.ManifestSum},
		"Artifact file '%s' validated successfully", path)
	return nil
}

type signOptions struct {
	key    string
	output string
	force  bool
}

func (a *app) signCommand() *cobra.Command {
	var o signOptions
	cmd := &cobra.Command{
		Use:   "sign ARTIFACT",
		Short: "Sign an artifact",
		Long: `Sign adds a signature to an artifact, in its place or with -o beside it. All of
the artifact is verified on the way: a damaged one is not signed. Everything but
the signature stays as it was, byte for byte.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runSign(ctx, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVarP(&o.key, "key", "k", "", "private key (PEM)")
	f.StringVarP(&o.output, "output-path", "o", "", "where the signed artifact goes (default: in place; - is standard output)")
	f.BoolVarP(&o.force, "force", "f", false, "replace a signature that is there")
	require(cmd, "key")
	return cmd
}

func (a *app) runSign(ctx context.Context, o signOptions, path string) error {
	key, err := a.signer(o.key)
	if err != nil {
		return err
	}
	src, name, err := a.open(ctx, path)
	if err != nil {
		return err
	}
	defer src.Close() // only read
	out := o.output
	if out == "" {
		out = path
	}
	mode := fs.FileMode(0o644)
	if st, err := os.Stat(path); err == nil && path != "-" {
		mode = st.Mode().Perm()
	}
	err = a.create(out, mode, func(w io.Writer) error { return artifact.Sign(w, src, key, o.force) })
	if err != nil {
		return fmt.Errorf("sign %s: %w", name, err)
	}
	if out != "-" {
		a.out.result("signed", fields{"file": out, "algorithm": key.Algorithm()}, "%s is signed (%s)", out, key.Algorithm())
	}
	return nil
}

// signer loads a private key, and says what others will make of it.
func (a *app) signer(path string) (*signing.PrivateKey, error) {
	key, err := signing.LoadPrivateKey(path)
	if err != nil {
		return nil, err
	}
	if !key.Interoperable() {
		a.out.say("warning: Mender's clients and tools do not accept %s signatures; plimsoll does", key.Algorithm())
	}
	return key, nil
}

// require marks flags without which a command makes no sense.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("plimsoll: " + err.Error())
		}
	}
}

// createBytes is create for what is in memory already.
func (a *app) createBytes(path string, b []byte) error {
	return a.create(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}
