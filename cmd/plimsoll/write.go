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

// A writeKind is a kind of payload to write, by the name of its command.
type writeKind string

const (
	rootfsImage       writeKind = "rootfs-image"
	moduleImage       writeKind = "module-image"
	bootstrapArtifact writeKind = "bootstrap-artifact"
)

// writeOptions are the flags of artifact write. They are those of
// mender-artifact 4.x, so that scripts carry over.
type writeOptions struct {
	kind            writeKind
	header          artifact.Header
	software        artifact.Software
	files, names    []string // names in the artifact: none, or one for each file
	metaData        string   // a file
	output          string
	deviceTypes     []string // -t, the older name of -c
	updateVersion   string
	provides        []string
	overruled       int // how many of provides stand before the last flag about the software
	depends         []string
	clears          []string
	scripts         []string
	signer          signerFlags
	compression     string
	maxSize         byteSize
	warnSize        byteSize
	tmp             string
	ssh             sshOptions
	formatVersion   int
	sourceDateEpoch string // of the environment
}

func newWriteOptions(kind writeKind) writeOptions {
	return writeOptions{
		kind: kind, sourceDateEpoch: os.Getenv("SOURCE_DATE_EPOCH"),
		ssh: sshOptions{connect: 2 * time.Minute, stall: 2 * time.Minute},
	}
}

// flags adds the flags that all kinds have.
func (o *writeOptions) flags(cmd *cobra.Command) {
	o.signer.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.output, "output-path", "o", "artifact.mender", "where the artifact goes; - is standard output")
	f.StringVarP(&o.header.Name, "artifact-name", "n", "", "name of the artifact")
	f.StringArrayVarP(&o.header.DeviceTypes, "compatible-types", "c", nil, "device type that it is for; may be given several times")
	f.StringArrayVarP(&o.deviceTypes, "device-type", "t", nil, "the same, by its older name")
	f.StringArrayVarP(&o.header.DependsNames, "artifact-name-depends", "N", nil, "artifact that must be installed; of several, one")
	f.StringVarP(&o.header.Group, "provides-group", "g", "", "group that the artifact provides")
	f.StringArrayVarP(&o.header.DependsGroups, "depends-groups", "G", nil, "group that the device must be in; of several, one")
	f.StringArrayVarP(&o.provides, "provides", "p", nil, "KEY:VALUE that the artifact provides")
	f.StringArrayVarP(&o.depends, "depends", "d", nil, "KEY:VALUE that the device must provide; of several values for a key, one")
	f.StringArrayVar(&o.clears, "clears-provides", nil, "glob of keys that the artifact clears")
	f.StringVar(&o.updateVersion, "update-version", "", "version number by which devices tell newer from older (provides plimsoll.version)")
	f.StringVar(&o.compression, "compression", string(artifact.Zstd), "none, gzip, lzma, zstd, zstd_fastest, zstd_fast, zstd_better or zstd_best")
	f.Var(&o.maxSize, "max-artifact-size", "write nothing if the artifact is larger, such as 5MB or 1.5GB")
	f.Var(&o.warnSize, "warn-artifact-size", "warn if the artifact is larger")
	f.StringVar(&o.tmp, "tmp", "", "folder for temporary files, as large as image and artifact (default: that of the artifact)")
	f.IntVarP(&o.formatVersion, "version", "v", 3, "version of the artifact format: 3")
	noProgress(cmd)
	require(cmd, "artifact-name")
	cmd.MarkFlagsOneRequired("compatible-types", "device-type")
	cmd.MarkFlagsMutuallyExclusive("compatible-types", "device-type")
}

// payloadFlags adds those of a payload that has content.
func (o *writeOptions) payloadFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&o.names, "file-name", nil, "name of the file within the artifact (default: its own); one for each --file, in their order")
	f.StringArrayVarP(&o.scripts, "script", "s", nil, "state script, or a folder of them")
	f.Var(softwareFlag{&o.software.Filesystem, o}, "software-filesystem", "file system of the version key (default rootfs-image)")
	f.Var(softwareFlag{&o.software.Name, o}, "software-name", "name within the version key")
	f.Var(softwareFlag{&o.software.Version, o}, "software-version", "version (default: the artifact's name)")
	f.BoolVar(&o.software.NoVersion, "no-default-software-version", false, "provide no version, and clear nothing, by default")
	f.BoolVar(&o.software.NoClears, "no-default-clears-provides", false, "clear nothing by default")
}

// A softwareFlag remembers where it stood: of a flag about the software and
// --provides for the same key, the later one counts.
type softwareFlag struct {
	to *string
	o  *writeOptions
}

func (s softwareFlag) String() string { return "" }
func (s softwareFlag) Type() string   { return "string" }

func (s softwareFlag) Set(v string) error {
	*s.to, s.o.overruled = v, len(s.o.provides)
	return nil
}

// runWrite writes an artifact of any kind.
func (a *app) runWrite(ctx context.Context, o writeOptions) error {
	if a.out.json && o.output == "-" {
		return errors.New("--json: standard output is for the artifact")
	}
	h, opts, err := o.artifact()
	if err != nil {
		return err
	}
	if o.signer.given() {
		key, err := a.signer(ctx, o.signer)
		if err != nil {
			return err
		}
		opts.Signer = key
	}
	var size int64
	err = a.create(o.output, 0o644, func(w io.Writer) error {
		size, err = a.writeArtifact(ctx, w, h, opts, o)
		return err
	})
	if errors.Is(err, artifact.ErrFormat) || errors.Is(err, artifact.ErrLimit) {
		return fmt.Errorf("write %s: %v", o.output, err) // what was asked for is wrong; no artifact is refused
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", o.output, err)
	}
	if o.warnSize > 0 && size > int64(o.warnSize) {
		a.out.say("warning: %s has %d bytes, more than the %d of --warn-artifact-size", o.output, size, o.warnSize)
	}
	if o.output != "-" {
		a.out.result("written", fields{"file": o.output, "artifact": h.Name, "signed": opts.Signer != nil, "size": size},
			"%s is written", o.output)
	}
	return nil
}

// artifact turns the flags into what the package artifact wants.
func (o *writeOptions) artifact() (h artifact.Header, opts artifact.Options, err error) {
	if err := o.check(); err != nil {
		return h, opts, err
	}
	h = o.header
	h.DeviceTypes = append(h.DeviceTypes, o.deviceTypes...)
	h.Clears, h.HasClears = o.clears, len(o.clears) > 0
	if h.Provides, err = o.provided(); err != nil {
		return h, opts, err
	}
	if h.Depends, err = o.depended(); err != nil {
		return h, opts, err
	}
	if h.MetaData, err = readMetaData(o.metaData); err != nil {
		return h, opts, err
	}
	switch o.kind {
	case rootfsImage:
		h.Type, opts.Rootfs = artifact.RootFS, &o.software
	case moduleImage:
		h.ModuleDefaults(o.software)
	}
	opts.MaxSize = int64(o.maxSize)
	if opts.TempDir = o.tmp; o.tmp == "" && o.output != "-" {
		opts.TempDir = filepath.Dir(o.output)
	}
	if opts.Compression, err = artifact.ParseCompression(o.compression); err != nil {
		return h, opts, err
	}
	opts.ModTime, err = o.modTime()
	return h, opts, err
}

// check finds what can be refused before anything is read.
func (o *writeOptions) check() error {
	if o.kind != moduleImage && strings.ContainsAny(o.header.Name, " \t\n\r") {
		return errors.New("whitespace is not allowed in the artifact-name")
	}
	if o.formatVersion != 3 {
		return fmt.Errorf("artifact version %d is not supported: 3 is", o.formatVersion)
	}
	if o.kind == rootfsImage && len(o.files) != 1 {
		return fmt.Errorf("--file: %d files, a root file system has one", len(o.files))
	}
	if t := o.header.Type; o.kind == moduleImage && (t == "" || t == "." || t == ".." || strings.Contains(t, "/")) {
		return fmt.Errorf("--type %q: want the name of an update module", t)
	}
	if len(o.names) > 0 && len(o.names) != len(o.files) {
		return fmt.Errorf("--file-name: %d names for %d files: want one for each, in their order", len(o.names), len(o.files))
	}
	return nil
}

// provided returns the keys of --provides but for those that a later flag about
// the software is for.
func (o *writeOptions) provided() (map[string]string, error) {
	all, version := map[string]string{}, ""
	switch o.kind {
	case rootfsImage:
		version = o.software.VersionKey("")
	case moduleImage:
		version = o.software.VersionKey(o.header.Type)
	}
	for i, p := range o.provides {
		k, v, ok := strings.Cut(p, ":")
		if !ok {
			return nil, fmt.Errorf("--provides %s: want KEY:VALUE", p)
		}
		if k != version || i >= o.overruled {
			all[k] = v
		}
	}
	return all, o.setVersion(all)
}

func (o *writeOptions) depended() (map[string][]string, error) {
	all := map[string][]string{}
	for _, d := range o.depends {
		k, v, ok := strings.Cut(d, ":")
		if !ok {
			return nil, fmt.Errorf("--depends %s: want KEY:VALUE", d)
		}
		all[k] = append(all[k], v)
	}
	return all, nil
}

func (o *writeOptions) modTime() (time.Time, error) {
	if o.sourceDateEpoch == "" {
		return time.Time{}, nil
	}
	sec, err := strconv.ParseInt(o.sourceDateEpoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(sec, 0).UTC(), nil
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
