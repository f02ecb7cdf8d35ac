package machine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Disk is a raw image file that the machine has as a disk, card or stick.
// What the guest flushes is not flushed to the host's medium: the machine's
// power is cut, not the host's.
type Disk struct {
	Path     string
	ReadOnly bool
	// WriteLog is the file that records each write, see [ReadLog]; it is
	// replaced. Not for sticks.
	WriteLog string
	// Rate limits reading and writing together, in bytes each second; 0: none.
	Rate int64
	// WriteRate limits writing alone, in bytes each second; 0: none.
	WriteRate int64
}

// A node is a block device as QEMU describes it, in nested objects.
type node map[string]any

// nodes returns what the disk is made of: at first a throttle group, if there
// is one, then the node with the given name.
func (d Disk) nodes(name string) (group, top node) {
	top = node{
		"driver": "raw", "read-only": d.ReadOnly,
		"file": node{
			"driver": "file", "filename": d.Path, "read-only": d.ReadOnly, "discard": "unmap",
			"cache": node{"direct": false, "no-flush": true},
		},
	}
	if d.WriteLog != "" {
		top = node{
			"driver": "blklogwrites", "file": top, "log-sector-size": sectorSize, "log-super-update-interval": 1,
			"log": node{"driver": "file", "filename": d.WriteLog, "cache": node{"direct": false, "no-flush": true}},
		}
	}
	if limits := d.limits(); len(limits) > 0 {
		group = node{"qom-type": "throttle-group", "id": name + "-rate", "limits": limits}
		top = node{"driver": "throttle", "throttle-group": name + "-rate", "read-only": d.ReadOnly, "file": top}
	}
	top["node-name"] = name
	return group, top
}

func (d Disk) limits() node {
	limits := node{}
	if d.Rate > 0 {
		limits["bps-total"] = d.Rate
	}
	if d.WriteRate > 0 {
		limits["bps-write"] = d.WriteRate
	}
	return limits
}

// json is for -blockdev, -object and QMP.
func (n node) json() string {
	b, err := json.Marshal(n)
	if err != nil {
		panic("machine: " + err.Error()) // strings, numbers and objects only
	}
	return string(b)
}

// dotted is for -drive: a.b=value,… with commas of values doubled.
func (n node) dotted() string {
	var opts []string
	n.flatten("", func(key, value string) {
		opts = append(opts, key+"="+strings.ReplaceAll(value, ",", ",,"))
	})
	return strings.Join(opts, ",")
}

func (n node) flatten(prefix string, add func(key, value string)) {
	for _, key := range slices.Sorted(maps.Keys(n)) {
		switch v := n[key].(type) {
		case node:
			v.flatten(prefix+key+".", add)
		case bool:
			add(prefix+key, map[bool]string{true: "on", false: "off"}[v])
		default:
			add(prefix+key, fmt.Sprint(v))
		}
	}
}
