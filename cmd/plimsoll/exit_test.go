package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every exported sentinel of our packages must be in advice, found by reading the sources: a new one is seen here first.
func TestAdviceIsComplete(t *testing.T) {
	listed := sentinelsNamed(t, "exit.go")
	// The causes of bootloader.ErrNoCopy say what is wrong with each copy; they never come alone.
	exempt := map[string]bool{"bootloader.ErrChecksum": true}
	found := 0
	for _, pkg := range []string{"artifact", "signing", "signing/external", "partition", "partition/files", "bootloader", "install", "install/data", "udev", "udev/prepare", "udev/report", "udev/scan"} {
		for _, name := range exportedErrors(t, filepath.Join("../..", pkg)) {
			found++
			if full := filepath.Base(pkg) + "." + name; !listed[full] && !exempt[full] {
				t.Errorf("%s has no line in advice", full)
			}
		}
	}
	if found < 30 {
		t.Errorf("found only %d sentinels", found)
	}
}

// exportedErrors returns the package variables of dir that are named Err….
func exportedErrors(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources in %s (%v)", dir, err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					for _, id := range spec.(*ast.ValueSpec).Names {
						if strings.HasPrefix(id.Name, "Err") {
							names = append(names, id.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// sentinelsNamed returns the pkg.Err… that stand in the variable advice.
func sentinelsNamed(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, decl := range f.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR || d.Specs[0].(*ast.ValueSpec).Names[0].Name != "advice" {
			continue
		}
		ast.Inspect(d, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				names[fmt.Sprintf("%s.%s", s.X, s.Sel.Name)] = true
			}
			return true
		})
	}
	return names
}

// What stands first in advice must not hide what follows: each sentinel, alone, gets its own line.
func TestAdviceIsReachable(t *testing.T) {
	for i, a := range advice {
		code, hint := explain(ran{fmt.Errorf("install x: %w", a.err)})
		if code != a.code || hint != a.hint {
			t.Errorf("line %d, %v: exit %d %q, want %d %q", i, a.err, code, hint, a.code, a.hint)
		}
		switch a.code {
		case exitFailed, exitNothing, exitRefused, exitAttention:
		default:
			t.Errorf("line %d, %v: exit %d is not for errors of verbs", i, a.err, a.code)
		}
	}
}

// An error that nobody foresaw is 1, and one of usage 64.
func TestExplainTheRest(t *testing.T) {
	if code, hint := explain(ran{os.ErrPermission}); code != exitFailed || hint != "" {
		t.Errorf("got %d %q", code, hint)
	}
	if code, _ := explain(os.ErrPermission); code != exitUsage {
		t.Errorf("got %d", code)
	}
}

// Interrupted is 130, wherever it was noticed, and the device is unchanged.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	path := order{name: "rel-1", image: picture(1800000, 9), key: "p256"}.write(t)
	unchanged := b.before(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("interrupted by a test"))
	config := b.path("plimsoll.toml")
	callIn(ctx, &env{}, "--config", config, "install", path).want(t, exitInterrupted, "interrupted by a test", "the device is unchanged")
	callIn(ctx, &env{}, "artifact", "verify", path).want(t, exitInterrupted)
	out := filepath.Join(t.TempDir(), "no.mender")
	callIn(ctx, &env{}, "artifact", "write", "rootfs-image", "-f", path, "-n", "x", "-c", "y", "-o", out).want(t, exitInterrupted)
	if _, err := os.Stat(out); err == nil {
		t.Error("an interrupted write left a file")
	}
	unchanged()

	// Half-way through the image: the slot is not armed.
	ctx, cancel = context.WithCancelCause(context.Background())
	src := &cancelAt{data: []byte(readFile(t, path)), at: 900000, cancel: func() { cancel(errors.New("unplugged")) }}
	callIn(ctx, &env{stdin: src}, "--config", config, "install", "-").want(t, exitInterrupted, "unplugged", "nothing was armed")
	b.hasEnv(t, "mender_boot_part", "2", "upgrade_available", "0")
	b.run("install", path).want(t, 0)
}

// cancelAt calls cancel once that many bytes were read.
type cancelAt struct {
	data   []byte
	n, at  int
	cancel func()
}

func (c *cancelAt) Read(p []byte) (int, error) {
	n := copy(p, c.data[c.n:min(len(c.data), c.n+4096)])
	if c.n += n; c.n >= c.at {
		c.cancel()
	}
	return n, nil
}
