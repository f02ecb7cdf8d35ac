package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// dumpOptions are the flags of artifact dump, which are those of
// mender-artifact 4.x.
type dumpOptions struct {
	files, metaData, scripts string // folders; "" leaves out
	print, print0            bool
	keys                     []string
}

func (a *app) dumpCommand() *cobra.Command {
	var o dumpOptions
	cmd := &cobra.Command{
		Use:   "dump ARTIFACT",
		Short: "Take an artifact apart, and say how it is written again",
		Long: `Dump writes the files, the meta-data and the state scripts of an artifact (- is
standard input) into folders, and prints the command that writes it again, for
plimsoll artifact.

All of the artifact is read and its checksums are verified, and all that was asked
for is written, or nothing; what is there already is never replaced. The signature
is verified only with -k; the command does not sign.

Where plimsoll wrote the artifact the command makes the same manifest, to the last
byte, if SOURCE_DATE_EPOCH is what it was then: dump says so.`,
		Example: `  plimsoll artifact dump --files files --scripts scripts --meta-data meta \
      --print0-cmdline release-8.mender | xargs -0 plimsoll artifact`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, args []string) error { return a.runDump(ctx, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.files, "files", "", "folder for the files of the payload")
	f.StringVar(&o.metaData, "meta-data", "", "folder for the meta-data, as 0000.meta-data")
	f.StringVar(&o.scripts, "scripts", "", "folder for the state scripts")
	f.BoolVar(&o.print, "print-cmdline", false, "print the command that writes the artifact, its words with a blank between them")
	f.BoolVar(&o.print0, "print0-cmdline", false, "print it with a zero byte behind each word, as xargs -0 takes it")
	f.StringArrayVarP(&o.keys, "key", "k", nil, "public key that must have signed it; may be given several times")
	noProgress(cmd)
	cmd.MarkFlagsMutuallyExclusive("print-cmdline", "print0-cmdline")
	return cmd
}

func (a *app) runDump(ctx context.Context, o dumpOptions, path string) error {
	ring, err := signing.LoadKeyring(o.keys...)
	if err != nil {
		return err
	}
	ring.AllowUnsigned = len(o.keys) == 0
	src, name, err := a.open(ctx, path)
	if err != nil {
		return err
	}
	defer src.Close() // only read
	signed := false
	r, err := artifact.Open(src, verifier(func(manifest, sig []byte) error {
		signed = sig != nil
		return ring.Verify(manifest, sig)
	}))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var p placing
	d, err := o.take(r, &p)
	if err == nil {
		err = p.commit()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("dump %s: %w", name, err), p.abort())
	}
	if signed && len(o.keys) == 0 {
		a.out.say("the artifact is signed, and its signature was not verified: name the public key with -k")
	}
	return a.reportDump(r.Header().Name, o, d)
}

// A dump is what was taken out of an artifact.
type dump struct {
	files  []string // their paths
	words  []string // the command that writes it again
	recipe artifact.Recipe
}

// take writes what was asked for, and finds the command, before anything is in
// its place.
func (o dumpOptions) take(r *artifact.Reader, p *placing) (d dump, err error) {
	var inputs []string // flags, and the files they name
	add := func(flag, dir, name string, mode fs.FileMode, content io.Reader) error {
		path := filepath.Join(dir, name)
		if strings.HasPrefix(path, "-") {
			path = "./" + path // a name, and neither a flag nor standard input
		}
		d.files, inputs = append(d.files, path), append(inputs, flag, path)
		return p.add(path, mode, content)
	}
	if o.scripts != "" {
		err = p.folder(o.scripts)
		if err == nil {
			err = r.Scripts(func(s artifact.Script, text io.Reader) error { return add("--script", o.scripts, s.Name, 0o755, text) })
		}
	}
	if o.metaData != "" && err == nil {
		err = p.folder(o.metaData)
		if meta := r.Header().MetaData; err == nil && len(meta) > 0 && string(meta) != "{}" {
			err = add("--meta-data", o.metaData, "0000.meta-data", 0o644, io.MultiReader(bytes.NewReader(meta), strings.NewReader("\n")))
		}
	}
	if o.files != "" && err == nil {
		err = p.folder(o.files)
	}
	for err == nil {
		var f *artifact.Payload
		if f, err = r.Next(); err == nil && o.files != "" {
			err = add("--file", o.files, f.Name, 0o644, f)
		}
	}
	if err != io.EOF {
		return d, err
	}
	if o.print || o.print0 {
		d.recipe = r.Recipe()
		d.words, err = writeCommand(r.Header(), d.recipe.Compression, inputs)
		if err == nil && o.print {
			err = oneLine(d.words)
		}
		return d, err
	}
	return d, nil
}

// reportDump prints the command, and what there is to say of it.
func (a *app) reportDump(name string, o dumpOptions, d dump) error {
	f := fields{"artifact": name, "files": d.files}
	if d.words == nil {
		a.out.event("dumped", f)
		return nil
	}
	f["command"], f["exact"], f["source_date_epoch"] = d.words, d.recipe.Exact, d.recipe.ModTime.Unix()
	if a.out.event("dumped", f); a.out.json {
		return nil
	}
	if d.recipe.Exact {
		a.out.say("with SOURCE_DATE_EPOCH=%d the command makes the same manifest", d.recipe.ModTime.Unix())
	} else {
		a.out.say("another tool wrote the artifact: the command makes one that says the same, in other bytes")
	}
	text := strings.Join(d.words, " ") + "\n"
	if o.print0 {
		text = strings.Join(d.words, "\x00") + "\x00"
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}
