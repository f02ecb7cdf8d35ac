package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	web "net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// command holds if a program ends with 0.
func command(argv []string) Check {
	return Check{Name: "command " + strings.Join(argv, " "), Probe: func(ctx context.Context) error {
		said := &tail{limit: maxSaw} // its end is what counts
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = "/", said, said
		err := run(ctx, cmd)
		if err == nil || len(said.b) == 0 {
			return err
		}
		return fmt.Errorf("%w: %s", err, said.b)
	}}
}

// tcp holds if somebody accepts a connection.
func tcp(addr string) Check {
	return Check{Name: "tcp " + addr, Probe: func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return cause(err)
		}
		_ = c.Close() // that it was opened is all that is asked
		return nil
	}}
}

// cause leaves out what the check's name says already.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return op.Err
	}
	return err
}

const (
	maxHeader  = 64 << 10
	bodyInTime = time.Second // for the body of an answer that is not 2xx: it only explains
)

// http holds if a page answers with 2xx. There is no proxy, since the page is
// this device's, and no redirection: what it leads to is another page. The
// certificate is not looked at: on trial the clock may stand at 1970, and the
// question is whether somebody answers, not who.
func http(page string) Check {
	client := &web.Client{
		Transport: &web.Transport{
			DisableKeepAlives:      true, // a connection that was open before the fault proves nothing
			MaxResponseHeaderBytes: maxHeader,
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*web.Request, []*web.Request) error { return web.ErrUseLastResponse },
	}
	return Check{Name: page, Probe: func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		req, err := web.NewRequestWithContext(ctx, web.MethodGet, page, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return cause(err)
		}
		defer resp.Body.Close() // only read
		if resp.StatusCode/100 == 2 {
			return nil
		}
		return answer(resp, cancel)
	}}
}

// answer says what came instead of 2xx.
func answer(resp *web.Response, cancel context.CancelFunc) error {
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		return fmt.Errorf("answers %s, to %s", resp.Status, to)
	}
	defer time.AfterFunc(bodyInTime, cancel).Stop()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxSaw)) // what came of it will do
	if len(body) == 0 {
		return fmt.Errorf("answers %s", resp.Status)
	}
	return fmt.Errorf("answers %s: %s", resp.Status, body)
}

// file holds if a file is there.
func file(path string) Check {
	return Check{Name: "file " + path, Probe: func(context.Context) error {
		_, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return errors.New("is not there")
		case err != nil:
			return fmt.Errorf("cannot be looked at: %w", err)
		}
		return nil
	}}
}

// free holds if a file system has as many bytes for whoever is not root.
func free(path string, want int64) Check {
	return Check{Name: "free space on " + path, Probe: func(context.Context) error {
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil {
			return fmt.Errorf("cannot be looked at: %w", err)
		}
		unit := uint64(st.Frsize)
		if unit == 0 {
			unit = uint64(st.Bsize)
		}
		if st.Bavail < (uint64(want)+unit-1)/unit {
			return fmt.Errorf("%s are free, and %s are asked for", size(st.Bavail*unit), size(uint64(want)))
		}
		return nil
	}}
}

// size writes bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
