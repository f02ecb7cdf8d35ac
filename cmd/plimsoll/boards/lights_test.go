package boards

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// lightModules are what an integrator loads for a light that blinks by itself,
// and what makes one to look at.
var lightModules = []string{"drivers/input/misc/uinput.ko", "drivers/leds/trigger/ledtrig-timer.ko", "drivers/leds/trigger/ledtrig-pattern.ko"}

// roomyVirt has room for a program of tests beside plimsoll.
var roomyVirt = kind{board: "qemu-arm64", args: []string{"--slot-size", "96MiB", "--data-size", "32MiB"}}

// TestLights runs the tests of udev/tell that need the kernel's own lights: one
// without the triggers, one with them.
func TestLights(t *testing.T) {
	w := workshopOf(t)
	test := filepath.Join(t.TempDir(), "lights.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "lights", "-ldflags", "-s -w", "-o", test, "github.com/plimsoll-ota/plimsoll/udev/tell")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := map[string]string{"/lights/lights.test": contentOf(t, test)}
	for _, m := range lightModules {
		files["/lights/"+filepath.Base(m)] = contentOf(t, w.debian.File("linux-image", "lib/modules/"+w.debian.KernelRelease()+"/kernel/"+m))
	}
	k := roomyVirt
	k.patience = 4 * time.Minute
	b := newBoard(t, k, release{name: "lights", files: files})
	b.on()
	b.do("cp /lights/lights.test /run/ && chmod 755 /run/lights.test && insmod /lights/uinput.ko")
	b.Log(b.do("TMPDIR=/run /run/lights.test -test.v -test.run TestLightsBySoftware"))
	b.do("insmod /lights/ledtrig-timer.ko && insmod /lights/ledtrig-pattern.ko")
	b.Log(b.do("TMPDIR=/run /run/lights.test -test.v -test.run TestLightsOfTheKernel"))
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
