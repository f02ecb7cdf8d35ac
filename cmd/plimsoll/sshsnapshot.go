package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// sshOptions say how a device is reached.
type sshOptions struct {
	args    []string
	connect time.Duration // until the far end speaks
	stall   time.Duration // without a byte
}

func (o *sshOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&o.args, "ssh-args", "S", nil, `option for ssh, such as "-p 2222" or "-i key"; may be given several times`)
}

func isSSH(path string) bool { return strings.HasPrefix(path, "ssh://") }

// A snapshot is the image of a running device, and what that provides.
type snapshot struct {
	payload
	provides map[string]string
}

// fetchSnapshot gets the image of the device at address into a file without a
// name in the folder tmp. It is whole: the far end said so by its exit code,
// which a connection that broke does not have, and the file system is as large as
// it says.
func (a *app) fetchSnapshot(ctx context.Context, address string, o sshOptions, tmp string) (*snapshot, error) {
	args, err := o.command(address)
	if err != nil {
		return nil, err
	}
	f, err := unnamed(tmp)
	if err != nil {
		return nil, err
	}
	s := &snapshot{payload: payload{ReadCloser: f}}
	if s.provides, s.size, err = a.receive(ctx, args, o, f); err == nil {
		err = a.checkImage(ctx, f, s.size)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot of %s: %w", address, err), f.Close())
	}
	return s, nil
}

// command returns the arguments of ssh.
func (o *sshOptions) command(address string) ([]string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if _, secret := u.User.Password(); u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || secret {
		return nil, fmt.Errorf("%s: want ssh://USER@HOST or ssh://USER@HOST:PORT", address)
	}
	args := []string{"-T"}
	port := u.Port()
	for _, arg := range o.args {
		// "-p 22" is a flag and its value, as Mender's tool has it.
		flag, value, ok := strings.Cut(arg, " ")
		if args = append(args, flag); ok && strings.HasPrefix(flag, "-") {
			args = append(args, strings.TrimSpace(value))
		} else if ok {
			args[len(args)-1] = arg
		}
		if strings.HasPrefix(flag, "-p") {
			port = ""
		}
	}
	// The first of two values counts for ssh: what was asked for stands before.
	args = append(args, "-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=1")
	if port != "" {
		args = append(args, "-p", port)
	}
	host := u.Hostname()
	if u.User != nil {
		host = u.User.Username() + "@" + host
	}
	return append(args, "--", host, farEnd()), nil
}

// takeOver adds what the device provides of its root file system. What is given
// on the command line, or has a default, counts; a checksum is of the image that
// was once installed, and not of this one.
func (o *writeOptions) takeOver(h *artifact.Header, provides map[string]string) {
	own := []string{"rootfs-image.checksum", o.software.VersionKey("")}
	for _, key := range slices.Sorted(maps.Keys(provides)) {
		if _, given := h.Provides[key]; !given && strings.HasPrefix(key, "rootfs-image.") && !slices.Contains(own, key) {
			h.Provides[key] = provides[key]
		}
	}
}
