package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// modifyOptions are the flags of artifact modify; what is empty stays as it is.
type modifyOptions struct {
	edit editOptions

	name                        string
	group                       *string // "" takes it away
	dependsNames, dependsGroups []string
	provides, depends           []string // KEY:VALUE
	replace                     bool     // they are all that there is, as Mender's tool takes them; else they are added
	clears, keeps               []string // globs that are added, and taken away
	metaData                    string   // a file
	scripts                     []string

	device deviceFiles
}

func (a *app) modifyCommand() *cobra.Command {
	o := modifyOptions{edit: newEditOptions()}
	var group string
	cmd := &cobra.Command{
		Use:   "modify IMAGE",
		Short: "Change what an artifact says of itself, and the device's files in it",
		Long: `Modify changes the header of an artifact, and files in its root file system that
every device has: with -n /etc/mender/artifact_info, with -u and -t
/etc/mender/mender.conf, with -c /etc/mender/server.crt, with -v the key that
artifacts are verified with. Of a disk image only these files are changed, in
both slots.

With -n, a version that the artifact provides and that was its old name becomes
the new one. -p and -d add a key or give it another value; with --replace they
are all that the artifact provides or depends on. The checksum of the image is
always the true one. -N and -G replace their lists.

Where only the header changes the payload is copied as it is, of whatever type,
in the time that reading takes. What nobody changes stays byte for byte.

` + editHelp + insideHelp,
		Example: `  plimsoll artifact modify -n release-8.1 -k private.pem release-8.mender
  plimsoll artifact modify -u https://updates.example.com -k private.pem release-8.mender
  plimsoll artifact modify -p site:harbour -s ArtifactInstall_Enter_10 -k private.pem release-8.mender`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("provides-group") {
				o.group = &group
			}
			return a.verb(func(ctx context.Context, args []string) error { return a.runModify(ctx, o, args[0]) })(cmd, args)
		},
	}
	o.edit.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.edit.output, "output-path", "o", "", "where the new image goes (default: in place; an artifact may go to standard output: -)")
	f.StringVarP(&o.name, "artifact-name", "n", "", "name of the artifact")
	f.StringVar(&o.name, "name", "", "the same, by its older name")
	f.StringArrayVarP(&o.dependsNames, "artifact-name-depends", "N", nil, "artifact that must be installed; of several, one")
	f.StringVarP(&group, "provides-group", "g", "", "group that the artifact provides; empty is none")
	f.StringArrayVarP(&o.dependsGroups, "depends-groups", "G", nil, "group that the device must be in; of several, one")
	f.StringArrayVarP(&o.provides, "provides", "p", nil, "KEY:VALUE that the artifact provides")
	f.StringArrayVarP(&o.depends, "depends", "d", nil, "KEY:VALUE that the device must provide")
	f.BoolVar(&o.replace, "replace", false, "-p and -d are all that there is, and not single keys")
	f.StringArrayVar(&o.clears, "clears-provides", nil, "glob of keys that the artifact clears, beside those that it does")
	f.StringArrayVar(&o.keeps, "delete-clears-provides", nil, "glob that the artifact no longer clears")
	f.StringVarP(&o.metaData, "meta-data", "m", "", "JSON file for the module that installs the payload")
	f.StringArrayVarP(&o.scripts, "script", "s", nil, "state script, or a folder of them; one of the same name is replaced")
	f.StringVarP(&o.device.serverURI, "server-uri", "u", "", "ServerURL in mender.conf")
	f.StringVarP(&o.device.tenantToken, "tenant-token", "t", "", "TenantToken in mender.conf: the token itself")
	f.StringVarP(&o.device.serverCert, "server-cert", "c", "", "certificate that becomes /etc/mender/server.crt")
	f.StringVarP(&o.device.verificationKey, "verification-key", "v", "", "public key that artifacts are verified with")
	noProgress(cmd)
	return cmd
}

// needsArtifact reports whether anything is to change that only an artifact has.
func (o modifyOptions) needsArtifact() bool {
	lists := [][]string{o.dependsNames, o.dependsGroups, o.provides, o.depends, o.clears, o.keeps, o.scripts}
	return o.group != nil || o.metaData != "" || o.replace || slices.ContainsFunc(lists, func(l []string) bool { return len(l) > 0 })
}

// errNoChange is a call of modify that asks for nothing.
var errNoChange = errors.New("nothing to change")

func (a *app) runModify(ctx context.Context, o modifyOptions, path string) error {
	o.device.name = o.name
	if !o.needsArtifact() && !o.device.any() && !o.edit.signer.given() && o.edit.compression == "" && o.edit.output == "" {
		return fmt.Errorf("modify %s: %w: no flag says what", path, errNoChange)
	}
	if strings.ContainsAny(o.name, " \t\n\r") {
		return errors.New("whitespace is not allowed in the artifact-name")
	}
	e := imageEdit{header: o.header, scripts: o.scripts, artifact: o.needsArtifact(), optional: o.device.onlyName(), mayStay: true}
	if o.device.any() {
		if err := o.device.load(); err != nil {
			return err
		}
		e.files = func(ctx context.Context, v *vessel) error { return a.deviceFiles(ctx, v, o.device) }
	}
	if err := a.edit(ctx, path, o.edit, e); err != nil {
		return err
	}
	out := o.edit.output
	if out == "" {
		out = path
	}
	if out != "-" {
		a.out.result("modified", fields{"file": out}, "%s is modified", out)
	}
	return nil
}

// header changes what an artifact says of itself.
func (o modifyOptions) header(h *artifact.Header) error {
	if o.name != "" && o.name != h.Name {
		h.Provides = maps.Clone(h.Provides)
		for key, v := range h.Provides {
			if v == h.Name && strings.HasSuffix(key, ".version") {
				h.Provides[key] = o.name
			}
		}
		h.Name = o.name
	}
	if o.group != nil {
		h.Group = *o.group
	}
	if o.dependsNames != nil {
		h.DependsNames = o.dependsNames
	}
	if o.dependsGroups != nil {
		h.DependsGroups = o.dependsGroups
	}
	if err := o.setProvides(h); err != nil {
		return err
	}
	if err := o.setDepends(h); err != nil {
		return err
	}
	if len(o.clears)+len(o.keeps) > 0 {
		all := slices.DeleteFunc(slices.Clone(h.Clears), func(s string) bool { return slices.Contains(o.keeps, s) })
		for _, s := range o.clears {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
		h.Clears, h.HasClears = all, true
	}
	return o.setMetaData(h)
}

// sums are what says which image it is. Nobody but the image decides over them.
var sums = []string{"rootfs-image.checksum", "rootfs_image_checksum"}

func (o modifyOptions) setProvides(h *artifact.Header) error {
	if len(o.provides) == 0 {
		return nil
	}
	all := map[string]string{}
	for k, v := range h.Provides {
		if !o.replace || slices.Contains(sums, k) {
			all[k] = v
		}
	}
	for _, p := range o.provides {
		k, v, ok := strings.Cut(p, ":")
		if !ok {
			return fmt.Errorf("--provides %s: want KEY:VALUE", p)
		}
		if slices.Contains(sums, k) {
			return fmt.Errorf("--provides %s: the checksum is that of the image, and nothing else", p)
		}
		all[k] = v
	}
	h.Provides = all
	return nil
}

// setDepends adds keys; one that is given several times is met by each value.
func (o modifyOptions) setDepends(h *artifact.Header) error {
	if len(o.depends) == 0 {
		return nil
	}
	all, given := map[string][]string{}, map[string][]string{}
	for _, d := range o.depends {
		k, v, ok := strings.Cut(d, ":")
		if !ok {
			return fmt.Errorf("--depends %s: want KEY:VALUE", d)
		}
		given[k] = append(given[k], v)
	}
	if !o.replace {
		maps.Copy(all, h.Depends)
	}
	maps.Copy(all, given)
	h.Depends = all
	return nil
}

// metaDataLimit is what a header has room for.
const metaDataLimit = 16 << 20

func (o modifyOptions) setMetaData(h *artifact.Header) error {
	if o.metaData == "" {
		return nil
	}
	if h.Type == artifact.RootFS {
		return errors.New("--meta-data: a root file system has none, it is for modules")
	}
	b, err := readBounded(o.metaData, metaDataLimit)
	if err != nil {
		return err
	}
	h.MetaData = b
	return nil
}

// readBounded reads a file that is no larger than it should be.
func readBounded(path string, limit int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > limit {
		err = fmt.Errorf("%s: %d bytes, at most %d", path, st.Size(), limit)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
