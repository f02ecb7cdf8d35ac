package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder makes four vectors and a key, and returns the flags that name their folders.
func folder(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a-good.txt": "about: one\nrule: r: w\nexpect: ok\n", "b-old.txt": "about: two\nrule: r: w\nexpect: ok\nmay: refuse\n",
		"c-bad.txt": "about: three\nrule: r: w\nexpect: format\nkey: k\n", "d-taste.txt": "about: four | of <five>\nrule: r: w\nexpect: limit\nmay: accept\n",
		"a-good.mender": "", "b-old.mender": "", "c-bad.mender": "", "d-taste.mender": "", "k.pub.pem": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"-dir", dir, "-keys", dir}
}

func start(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(args, &o, &e)
	return code, o.String(), e.String()
}

// Each verdict comes of a reader that earns it. The vectors are good, good for some, bad, and bad for some.
func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		want         [4]string
		wrong        int
	}{
		{"right", `case {file} in */a-*|*/b-*) ;; *) exit 3;; esac`, [4]string{agrees, agrees, agrees, agrees}, 0},
		{"refuses all", `exit 1`, [4]string{stricter, stricter, agrees, agrees}, 1},
		{"accepts all", `exit 0`, [4]string{agrees, agrees, laxer, laxer}, 1},
		{"is killed", `kill -SEGV $$`, [4]string{crashes, crashes, crashes, crashes}, 4},
		{"panics", `echo panic: oh >&2; exit 2`, [4]string{crashes, crashes, crashes, crashes}, 4},
		{"takes its time, and has a child", `sleep 60 & wait`, [4]string{hangs, hangs, hangs, hangs}, 4},
		{"holds much", `x=$(head -c 200000000 /dev/zero | tr '\0' x); sleep 60`, [4]string{hangs, hangs, hangs, hangs}, 4},
		{"has a child that holds much", `sh -c "x=\$(head -c 200000000 /dev/zero | tr '\\0' x)"; exit 3`, [4]string{hangs, hangs, hangs, hangs}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			limits := []string{"-json", "-timeout", "20s", "-memory", "64", "-jobs", "4"}
			if strings.HasPrefix(tt.name, "takes") {
				limits[2] = "300ms"
			}
			code, stdout, stderr := start(t, append(append(folder(t), limits...), "--", "sh", "-c", tt.script)...)
			if want := min(tt.wrong, 1); code != want || stderr != "" {
				t.Errorf("exit %d, want %d: %s", code, want, stderr)
			}
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			for i, want := range tt.want {
				var r result
				if err := json.Unmarshal([]byte(lines[i]), &r); err != nil || r.Verdict != want {
					t.Errorf("%s: %q, want %q (%v)", r.Vector, r.Verdict, want, err)
				}
				if permitted := (i == 1 && want == stricter) || (i == 3 && want == laxer); r.Permitted != permitted {
					t.Errorf("%s: permitted is %v", r.Vector, r.Permitted)
				}
			}
			var s summary
			if err := json.Unmarshal([]byte(lines[4]), &s); err != nil || s.Wrong != tt.wrong || s.Vectors != 4 {
				t.Errorf("summary %+v, want %d wrong (%v)", s, tt.wrong, err)
			}
		})
	}
}

// Where no key is needed there is none, nor its flag; and no other flag goes with it.
func TestArguments(t *testing.T) {
	for _, tt := range []struct{ key, template, want string }{
		{"k", "v -k {key} {file}", "v -k k f"},
		{"", "v -k {key} {file}", "v f"},
		{"", "v --key={key} {file}", "v f"},
		{"", "v {file} {key}", "v f"},
		{"k", "v --key={key} x{file}y", "v --key=k xfy"},
		{"", "-v {key}", "-v"},
	} {
		if got := strings.Join(vector{file: "f", key: tt.key}.args(strings.Fields(tt.template)), " "); got != tt.want {
			t.Errorf("%q with key %q: %q, want %q", tt.template, tt.key, got, tt.want)
		}
	}
}

// What is no run is exit 2, and says why.
func TestNoRun(t *testing.T) {
	for _, tt := range []struct {
		says string
		args []string
	}{
		{"usage", nil},
		{"no vectors", []string{"-dir", t.TempDir(), "true"}},
		{"executable file not found", append(folder(t), "no-such-reader")},
		{"could not be run", append(folder(t), "--", "sh", "-c", "exit 125")},
		{"k.pub.pem", append(folder(t), "-keys", "nowhere", "true")},
		{"no results", []string{"-page"}},
		{"not the results of a whole run", []string{"-page", "/dev/null"}},
	} {
		if code, _, stderr := start(t, tt.args...); code != 2 || !strings.Contains(stderr, tt.says) {
			t.Errorf("%v: exit %d, %q; want 2 and %q", tt.args, code, stderr, tt.says)
		}
	}
}

// The page has the counts of all, and the vectors that somebody does not agree with.
func TestPage(t *testing.T) {
	flags := folder(t)
	var files []string
	for _, reader := range []string{"true", "false"} {
		_, stdout, _ := start(t, append(flags, "-json", reader)...)
		path := filepath.Join(t.TempDir(), reader)
		if err := os.WriteFile(path, []byte(stdout), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	code, page, _ := start(t, append([]string{"-page"}, files...)...)
	for _, want := range []string{
		"| true | 4 | 2 | 0 | 2 | 0 | 0 | 1 | 1 |\n", "| false | 4 | 2 | 2 | 0 | 0 | 0 | 1 | 1 |\n",
		"| a-good | ok | | **stricter** | one | r: w |\n", "| c-bad | format | **laxer** | | three | r: w |\n",
		"| d-taste | limit | laxer, permitted | | four \\| of &lt;five> | r: w |\n",
	} {
		if code != 0 || !strings.Contains(page, want) {
			t.Errorf("exit %d; no %q in\n%s", code, want, page)
		}
	}
	if code, _, _ := start(t, "-page", files[0], files[0]); code != 0 {
		t.Error("the same results twice are no page")
	}
	_, other, _ := start(t, append(flags, "-json", "-only", "a", "true")...)
	if err := os.WriteFile(files[1], []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := start(t, append([]string{"-page"}, files...)...); code != 2 || !strings.Contains(stderr, "other vectors") {
		t.Errorf("results of other vectors: exit %d, %s", code, stderr)
	}
}
