package prepare

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/plimsoll-ota/plimsoll/artifact"
	"github.com/plimsoll-ota/plimsoll/udev/scan"
)

// The files beside the artifacts.
const (
	IndexName     = "index.json"
	SignatureName = "index.json.sig"
	SerialsName   = "only-serials"
)

// An Index is what index.json holds. Members are added, never changed.
type Index struct {
	Schema    int     `json:"schema"` // 1
	Artifacts []Entry `json:"artifacts"`
}

// An Entry is one artifact of the index.
type Entry struct {
	File        string       `json:"file"` // in the folder plimsoll
	Artifact    string       `json:"artifact"`
	Version     string       `json:"version,omitempty"` // plimsoll.version, else rootfs-image.version
	DeviceTypes []string     `json:"device_types"`
	Size        int64        `json:"size"`
	SHA256      artifact.Sum `json:"sha256"` // of the whole file
}

func entryOf(name string, h *artifact.Header, size int64, sum artifact.Sum) Entry {
	return Entry{File: name, Artifact: h.Name, Version: scan.VersionOf(h), DeviceTypes: h.DeviceTypes, Size: size, SHA256: sum}
}

// encode returns the same bytes for the same artifacts.
func (i Index) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(i)
	return b.Bytes(), err
}

// writeLists writes all that is not an artifact. A signature of an index that is no more is removed first.
func (s *stick) writeLists(ctx context.Context, placed []Placed, o Options) error {
	index := Index{Schema: 1, Artifacts: []Entry{}}
	for _, p := range placed {
		index.Artifacts = append(index.Artifacts, p.Entry)
	}
	b, err := index.encode()
	if err != nil {
		return err
	}
	if err := s.folder.Remove(SignatureName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.placeBytes(ctx, IndexName, b); err != nil {
		return err
	}
	if o.Signer != nil {
		sig, err := o.Signer.Sign(b)
		if err != nil {
			return fmt.Errorf("sign %s: %w", IndexName, err)
		}
		if err := s.placeBytes(ctx, SignatureName, base64.StdEncoding.AppendEncode(nil, sig)); err != nil {
			return err
		}
	}
	if len(o.Serials) == 0 {
		return nil
	}
	return s.placeBytes(ctx, SerialsName, []byte(strings.Join(o.Serials, "\n")+"\n"))
}
