package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/plimsoll-ota/plimsoll/partition/files"
	"github.com/plimsoll-ota/plimsoll/signing"
)

// deviceFiles are what modify changes in a root file system; what is empty stays.
type deviceFiles struct {
	name                        string // of the artifact
	serverURI, tenantToken      string
	serverCert, verificationKey string // files

	cert, key []byte // what is in them
}

func (d deviceFiles) any() bool {
	return d.name != "" || d.serverURI != "" || d.tenantToken != "" || d.serverCert != "" || d.verificationKey != ""
}

// onlyName: an artifact is renamed whatever its payload is.
func (d deviceFiles) onlyName() bool {
	d.name = ""
	return !d.any()
}

// load reads the files that are given, before anything is unpacked.
func (d *deviceFiles) load() (err error) {
	const limit = 1 << 20
	if d.serverCert != "" {
		if d.cert, err = readBounded(d.serverCert, limit); err != nil {
			return err
		}
		if !bytes.Contains(d.cert, []byte("-----BEGIN CERTIFICATE-----")) {
			return fmt.Errorf("--server-cert %s: there is no certificate (PEM) in it", d.serverCert)
		}
	}
	if d.verificationKey != "" {
		if _, err := signing.LoadKeyring(d.verificationKey); err != nil {
			return fmt.Errorf("--verification-key: %w", err)
		}
		if d.key, err = readBounded(d.verificationKey, limit); err != nil {
			return err
		}
	}
	return nil
}

const (
	menderFolder = "/etc/mender"
	keysFolder   = "/etc/plimsoll/keys"
	keyName      = "artifact-verify-key.pem"
)

// deviceFiles changes the files in each root file system.
func (a *app) deviceFiles(ctx context.Context, v *vessel, d deviceFiles) error {
	roots, err := v.places("/")
	if err != nil {
		return err
	}
	for _, at := range roots {
		e := deviceEdit{a, ctx, v, at.System}
		if err := e.all(d); err != nil {
			return err
		}
	}
	return nil
}

// A deviceEdit is one root file system.
type deviceEdit struct {
	*app
	ctx context.Context
	v   *vessel
	s   *files.System
}

func (e deviceEdit) all(d deviceFiles) error {
	if d.name != "" {
		if err := e.artifactInfo(d.name); err != nil {
			return err
		}
	}
	if d.serverURI != "" || d.tenantToken != "" {
		if err := e.menderConf(d); err != nil {
			return err
		}
	}
	if d.cert != nil {
		if err := e.put(menderFolder+"/server.crt", d.cert); err != nil {
			return err
		}
	}
	if d.key != nil {
		return e.verificationKey(d.key)
	}
	return nil
}

// maxConfig is how much of a configuration file is read.
const maxConfig = 1 << 20

// get returns a file; nil if there is none.
func (e deviceEdit) get(name string) ([]byte, error) {
	i, err := e.s.Stat(e.ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && i.Size > maxConfig {
		err = fmt.Errorf("%s: %d bytes, at most %d", name, i.Size, maxConfig)
	}
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer([]byte{})
	err = e.s.Read(e.ctx, name, b)
	return b.Bytes(), err
}

// put writes a file, if it says anything else.
func (e deviceEdit) put(name string, b []byte) error {
	have, err := e.get(name)
	if err != nil || have != nil && bytes.Equal(have, b) {
		return err
	}
	f, err := spoolFile(os.TempDir())
	if err != nil {
		return err
	}
	defer f.Close() // it is gone with that
	if _, err := f.Write(b); err != nil {
		return err
	}
	e.v.changed[e.s] = true
	return e.s.Put(e.ctx, name, f, files.Attr{Mode: 0o644})
}

func (e deviceEdit) hasFolder(name string) (bool, error) {
	i, err := e.s.Stat(e.ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && i.Mode.IsDir(), err
}

// artifactInfo is what a device goes by that never had an update. Where there is
// no such folder no client reads it.
func (e deviceEdit) artifactInfo(name string) error {
	const path, key = menderFolder + "/artifact_info", "artifact_name="
	if has, err := e.hasFolder(menderFolder); err != nil || !has {
		if err == nil {
			e.out.say("there is no %s in the image: its files stay as they are", menderFolder)
		}
		return err
	}
	old, err := e.get(path)
	if err != nil {
		return err
	}
	var b strings.Builder
	done := false
	for line := range strings.Lines(string(old)) {
		if strings.HasPrefix(strings.TrimSpace(line), key) {
			if done {
				continue
			}
			line, done = key+name+"\n", true
		}
		b.WriteString(line)
	}
	if !done {
		if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n") {
			b.WriteString("\n")
		}
		b.WriteString(key + name + "\n")
	}
	return e.put(path, []byte(b.String()))
}

func (e deviceEdit) menderConf(d deviceFiles) error {
	const path = menderFolder + "/mender.conf"
	b, err := e.get(path)
	if err != nil {
		return err
	}
	if b == nil {
		return fmt.Errorf("%s: %w in the image", path, fs.ErrNotExist)
	}
	for _, set := range [][2]string{{"ServerURL", d.serverURI}, {"TenantToken", d.tenantToken}} {
		if set[1] == "" {
			continue
		}
		if b, err = setJSON(b, set[0], set[1]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return e.put(path, b)
}

// verificationKey goes where the clients that are there look for it.
func (e deviceEdit) verificationKey(key []byte) error {
	put := 0
	for _, folder := range []string{menderFolder, keysFolder} {
		has, err := e.hasFolder(folder)
		if err != nil {
			return err
		}
		if !has {
			continue
		}
		put++
		if err := e.put(folder+"/"+keyName, key); err != nil {
			return err
		}
	}
	if put == 0 {
		return fmt.Errorf("neither %s nor %s: %w in the image", menderFolder, keysFolder, fs.ErrNotExist)
	}
	return nil
}

// setJSON gives a key of an object another value, and leaves all else in its
// order. Mender's client takes keys in any case.
func setJSON(b []byte, key, value string) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var all []string
	done := false
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string) // anything else the decoder refuses here
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		if strings.EqualFold(name, key) {
			v, done = text, true
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		all = append(all, string(quoted)+":"+string(v))
	}
	if !done {
		all = append(all, `"`+key+`":`+string(text))
	}
	var out bytes.Buffer
	if err := json.Indent(&out, []byte("{"+strings.Join(all, ",")+"}"), "", "  "); err != nil {
		return nil, err
	}
	out.WriteString("\n")
	return out.Bytes(), nil
}
