package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/install"
)

// writeOptions are the flags of artifact write. They are those of
// mender-artifact 4.x, so that scripts carry over.
type writeOptions struct {
	header          artifact.Header
	software        artifact.Software
	file, output    string
	deviceTypes     []string // -t, the older name of -c
	updateVersion   string
	provides        []string
	depends         []string
	clears          []string
	scripts         []string
	signer          signerFlags
	compression     string
	formatVersion   int
	sourceDateEpoch string // of the environment
}

func (a *app) writeRootfsCommand() *cobra.Command {
	o := writeOptions{sourceDateEpoch: os.Getenv("SOURCE_DATE_EPOCH")}
	cmd := &cobra.Command{
		Use:   "rootfs-image",
		Short: "Build an artifact from a root file system image",
		Long: `Build an artifact from the image of a root file system.

The image is read once. The same input gives the same bytes, on any machine and
as any user; SOURCE_DATE_EPOCH sets the times inside. When anything fails
nothing is left at the output path that was not there before.

zstd is the default. Clients and tools before 2023 know only none, gzip and
lzma: use --compression gzip for them. Where size is what counts, zstd_best is
smaller than lzma, and takes much less time to write and to read.

What 1 GiB of Debian takes on two processors:

  compression     size     processor time   memory
  none          1074 MB              2 s    15 MiB
  gzip           161 MB              5 s    35 MiB
  zstd_fastest   151 MB              3 s    35 MiB
  zstd           141 MB              3 s    35 MiB
  zstd_better    134 MB              5 s    40 MiB
  zstd_best      127 MB             30 s   500 MiB
  lzma           128 MB            135 s   300 MiB

gzip, zstd_best and lzma use up to eight processors; each beyond the second
costs the last two up to 100 MiB more. The others use two.`,
		Example: `  plimsoll artifact write rootfs-image -f rootfs.ext4 -n release-8 -c raspberrypi3 \
      --software-version 8.0.0 -k private.pem -o release-8.mender`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ []string) error { return a.runWriteRootfs(ctx, o) }),
	}
	o.flags(cmd)
	require(cmd, "file", "artifact-name")
	cmd.MarkFlagsOneRequired("compatible-types", "device-type")
	cmd.MarkFlagsMutuallyExclusive("compatible-types", "device-type")
	return cmd
}

func (o *writeOptions) flags(cmd *cobra.Command) {
	o.signer.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.file, "file", "f", "", "the image")
	f.StringVarP(&o.output, "output-path", "o", "artifact.mender", "where the artifact goes; - is standard output")
	f.StringVarP(&o.header.Name, "artifact-name", "n", "", "name of the artifact")
	f.StringArrayVarP(&o.header.DeviceTypes, "compatible-types", "c", nil, "device type that it is for; may be given several times")
	f.StringArrayVarP(&o.deviceTypes, "device-type", "t", nil, "the same, by its older name")
	f.StringArrayVarP(&o.header.DependsNames, "artifact-name-depends", "N", nil, "artifact that must be installed; of several, one")
	f.StringVarP(&o.header.Group, "provides-group", "g", "", "group that the artifact provides")
	f.StringArrayVarP(&o.header.DependsGroups, "depends-groups", "G", nil, "group that the device must be in; of several, one")
	f.StringArrayVarP(&o.provides, "provides", "p", nil, "KEY:VALUE that the artifact provides")
	f.StringArrayVarP(&o.depends, "depends", "d", nil, "KEY:VALUE that the device must provide")
	f.StringArrayVar(&o.clears, "clears-provides", nil, "glob of keys that the artifact clears")
	f.BoolVar(&o.software.NoClears, "no-default-clears-provides", false, "clear nothing by default")
	f.StringVar(&o.software.Filesystem, "software-filesystem", "", "file system of the version key (default rootfs-image)")
	f.StringVar(&o.software.Name, "software-name", "", "name within the version key")
	f.StringVar(&o.software.Version, "software-version", "", "version (default: the artifact's name)")
	f.StringVar(&o.updateVersion, "update-version", "", "version number by which devices tell newer from older (provides plimsoll.version)")
	f.BoolVar(&o.software.NoVersion, "no-default-software-version", false, "provide no version")
	f.BoolVar(&o.software.NoChecksum, "no-checksum-provide", false, "provide no checksum of the image")
	f.BoolVar(&o.software.LegacyChecksum, "legacy-rootfs-image-checksum", false, "provide the checksum by its older key")
	f.StringArrayVarP(&o.scripts, "script", "s", nil, "state script, or a folder of them")
	f.StringVar(&o.compression, "compression", string(artifact.Zstd), "none, gzip, lzma, zstd, zstd_fastest, zstd_fast, zstd_better or zstd_best")
	f.IntVarP(&o.formatVersion, "version", "v", 3, "version of the artifact format: 3")
	noProgress(cmd)
}

func (a *app) runWriteRootfs(ctx context.Context, o writeOptions) error {
	h, opts, err := o.artifact()
	if err != nil {
		return err
	}
	h.Type = artifact.RootFS
	opts.Rootfs = &o.software
	if o.signer.given() {
		key, err := a.signer(ctx, o.signer)
		if err != nil {
			return err
		}
		opts.Signer = key
	}
	if o.output != "-" {
		opts.TempDir = filepath.Dir(o.output)
	}
	err = a.create(o.output, 0o644, func(w io.Writer) error { return a.writeArtifact(ctx, w, h, opts, o) })
	if errors.Is(err, artifact.ErrFormat) || errors.Is(err, artifact.ErrLimit) {
		return fmt.Errorf("write %s: %v", o.output, err) // what was asked for is wrong; no artifact is refused
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", o.output, err)
	}
	if o.output != "-" {
		a.out.result("written", fields{"file": o.output, "artifact": h.Name, "signed": opts.Signer != nil},
			"%s is written", o.output)
	}
	return nil
}

// artifact turns the flags into what the package artifact wants.
func (o *writeOptions) artifact() (h artifact.Header, opts artifact.Options, err error) {
	h = o.header
	h.DeviceTypes = append(h.DeviceTypes, o.deviceTypes...)
	if strings.ContainsAny(h.Name, " \t\n\r") {
		return h, opts, errors.New("whitespace is not allowed in the artifact-name")
	}
	if o.formatVersion != 3 {
		return h, opts, fmt.Errorf("artifact version %d is not supported: 3 is", o.formatVersion)
	}
	h.Clears, h.HasClears = o.clears, len(o.clears) > 0
	h.Provides, h.Depends = map[string]string{}, map[string][]string{}
	for _, p := range o.provides {
		k, v, ok := strings.Cut(p, ":")
		if !ok {
			return h, opts, fmt.Errorf("--provides %s: want KEY:VALUE", p)
		}
		h.Provides[k] = v
	}
	if err := o.setVersion(h.Provides); err != nil {
		return h, opts, err
	}
	for _, d := range o.depends {
		k, v, ok := strings.Cut(d, ":")
		if !ok {
			return h, opts, fmt.Errorf("--depends %s: want KEY:VALUE", d)
		}
		h.Depends[k] = append(h.Depends[k], v)
	}
	if opts.Compression, err = artifact.ParseCompression(o.compression); err != nil {
		return h, opts, err
	}
	if o.sourceDateEpoch != "" {
		sec, err := strconv.ParseInt(o.sourceDateEpoch, 10, 64)
		if err != nil {
			return h, opts, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		opts.ModTime = time.Unix(sec, 0).UTC()
	}
	return h, opts, nil
}

// keyVersion is what a device compares first when it decides what is newer.
const keyVersion = "plimsoll.version"

// setVersion sets the version that was asked for.
func (o *writeOptions) setVersion(provides map[string]string) error {
	if o.updateVersion == "" {
		return nil
	}
	if !isVersion(o.updateVersion) {
		return fmt.Errorf("--update-version %s: want a version number, such as 2.1.0 or 2.1.0-rc.1", o.updateVersion)
	}
	if have, ok := provides[keyVersion]; ok && have != o.updateVersion {
		return fmt.Errorf("--update-version %s: --provides has %s:%s", o.updateVersion, keyVersion, have)
	}
	provides[keyVersion] = o.updateVersion
	return nil
}

// isVersion reports whether devices can compare s.
func isVersion(s string) bool {
	h := &artifact.Header{Provides: map[string]string{keyVersion: s}}
	_, ok := install.CompareVersions(h, h)
	return ok
}

func (a *app) writeArtifact(ctx context.Context, dst io.Writer, h artifact.Header, opts artifact.Options, o writeOptions) error {
	image, size, err := openRegular(o.file)
	if err != nil {
		return err
	}
	defer image.Close() // only read
	w := artifact.Create(dst, h, opts)
	defer w.Abort()
	if err := addScripts(w, o.scripts); err != nil {
		return err
	}
	src := &counted{r: untilDone{ctx, image}, report: func(n int64) { a.out.count("build", n, size) }}
	if err := w.Add(filepath.Base(o.file), size, src); err != nil {
		return err
	}
	return w.Close()
}

// openRegular opens a file whose size is known before it is read. A pipe has
// none, and would have to be read twice.
func openRegular(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file: its size must be known before it is read", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

// addScripts adds state scripts: files, and the files of folders.
func addScripts(w *artifact.Writer, paths []string) error {
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		files := []string{path}
		if st.IsDir() {
			entries, err := os.ReadDir(path)
			if err != nil {
				return err
			}
			files = files[:0]
			for _, e := range entries {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
		for _, file := range files {
			if err := addScript(w, file); err != nil {
				return err
			}
		}
	}
	return nil
}

func addScript(w *artifact.Writer, path string) error {
	f, size, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	return w.AddScript(filepath.Base(path), size, f)
}

// counted is a reader that reports how far it is.
type counted struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.report(c.n)
	return n, err
}
