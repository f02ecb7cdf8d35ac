package module

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// write makes a module of a shell script, with a tree.
func write(t *testing.T, body string) *Module {
	t.Helper()
	dir := t.TempDir()
	m := &Module{Path: filepath.Join(dir, "mod"), Tree: filepath.Join(dir, "work", "tree"), Timeout: time.Minute, Grace: 5 * time.Second}
	if err := os.WriteFile(m.Path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := CreateTree(m.Tree, Info{Name: "release-1", Type: "mod"}); err != nil {
		t.Fatal(err)
	}
	return m
}

// clean fails if a test leaves a process, an open file or a goroutine.
func clean(t *testing.T) {
	t.Helper()
	files, routines := openFiles(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		for _, child := range children(t, os.Getpid()) {
			t.Errorf("process %s is left", child)
		}
		if n := openFiles(t); n > files {
			t.Errorf("%d files are open, %d were", n, files)
		}
		for start := time.Now(); runtime.NumGoroutine() > routines; time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > 5*time.Second {
				b := make([]byte, 1<<16)
				t.Errorf("%d goroutines, there were %d:\n%s", runtime.NumGoroutine(), routines, b[:runtime.Stack(b, true)])
				break
			}
		}
	})
}

func openFiles(t *testing.T) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// children returns the descendants of a process, zombies too.
func children(t *testing.T, pid int) (all []string) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(lists) == 0 && pid == os.Getpid() {
		t.Fatalf("no children to be seen: %v", err)
	}
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, f := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
			all = append(all, fmt.Sprintf("%d (%s)", child, strings.TrimSpace(string(name))))
			all = append(all, children(t, child)...)
		}
	}
	return all
}

// end ends a process that a module was to leave, and waits until it is reaped.
func end(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("process %d: %v", pid, err)
	}
	for start := time.Now(); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("process %d is not reaped", pid)
		}
	}
}

// contents returns the files below a folder, and what is no file.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			all[name] = string(b)
			return err
		case name != ".":
			all[name] = d.Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readInt(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sorted(m map[string]string) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
