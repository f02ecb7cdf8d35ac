package partition

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What sfdisk writes is read: both tables, logical partitions, swap; and a
// partition that the file is too short for is not there.
func TestExtents(t *testing.T) {
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		script string
		size   int64
		want   []Extent
	}{
		"mbr": {"label: dos\n2048,4096,c\n8192,8192,83\n16384,2048,82\n", 32 * mib, []Extent{{1, mib, 2 * mib, false}, {2, 4 * mib, 4 * mib, false}, {3, 8 * mib, mib, true}}},
		"gpt": {"label: gpt\n2048,4096,U\n8192,8192,L\n16384,2048,S\n", 32 * mib, []Extent{{1, mib, 2 * mib, false}, {2, 4 * mib, 4 * mib, false}, {3, 8 * mib, mib, true}}},
		"logical": {"label: dos\nunit: sectors\n1 : start=2048,size=2048,type=c\n2 : start=4096,size=30000,type=5\n5 : start=6144,size=2048,type=83\n6 : start=10240,size=4096,type=83\n",
			32 * mib, []Extent{{1, mib, mib, false}, {5, 3 * mib, mib, false}, {6, 5 * mib, 2 * mib, false}}},
		"nothing": {"", mib, nil},
	} {
		p := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(p, tt.size); err != nil {
			t.Fatal(err)
		}
		if tt.script != "" {
			c := exec.Command("sfdisk", "-q", p)
			c.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
			if c.Path == "sfdisk" || c.Err != nil {
				c.Path, c.Err = "/usr/sbin/sfdisk", nil
			}
			c.Stdin = strings.NewReader(tt.script)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
		}
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		have, err := Extents(f)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, have); diff != "" && len(tt.want)+len(have) > 0 {
			t.Errorf("%s (-want +have)\n%s", name, diff)
		}
		if tt.want == nil {
			continue
		}
		last := tt.want[len(tt.want)-1]
		if err := os.Truncate(p, last.Start+last.Size-1); err != nil {
			t.Fatal(err)
		}
		if have, err = Extents(f); err != nil || len(have) != len(tt.want)-1 {
			t.Errorf("%s, cut short: %v, %v", name, have, err)
		}
	}
}
