//go:build linux && (amd64 || arm64)

package install_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plimsoll-ota/plimsoll/install/internal/cuts"
)

// A lifeScene is a verb, the life that it finds, and how that goes on.
type lifeScene struct {
	name  string
	kind  payloadKind
	verb  []string
	found func(*life) // brings the device there
	asks  []string    // what the device is asked to do, see life
	every bool        // in a sample, cut at every state that no scene before was cut at
}

// back reports whether the update cannot stay.
func (s lifeScene) back() bool {
	return slices.Contains(s.asks, "sick") || strings.Contains(strings.Join(s.asks, " "), "fails/")
}

var lifeInstall, lifeResume = []string{"install", "new.mender"}, []string{"resume"}

var lifeScenes = []lifeScene{
	{name: "image", kind: anImage, verb: lifeInstall, every: true},
	{name: "image on trial", kind: anImage, verb: lifeResume, found: booted, every: true},
	{name: "image, sick", kind: anImage, verb: lifeResume, found: booted, asks: []string{"sick"}},
	{name: "image that goes back", kind: anImage, verb: lifeResume, found: wentBack, asks: []string{"sick"}, every: true},
	{name: "image, not booted", kind: anImage, verb: []string{"rollback"}, found: taken},
	{name: "image whose ArtifactInstall fails", kind: anImage, verb: lifeInstall, asks: []string{"fails/ArtifactInstall_Leave"}},
	{name: "image whose ArtifactCommit fails", kind: anImage, verb: lifeResume, found: booted, asks: []string{"fails/ArtifactCommit_Enter"}},
	{name: "module", kind: twoWay, verb: lifeInstall, every: true},
	{name: "module, commit", kind: twoWay, verb: []string{"commit"}, found: taken, every: true},
	{name: "module, rollback", kind: twoWay, verb: []string{"rollback"}, found: taken, every: true},
	{name: "module, sick", kind: twoWay, verb: lifeResume, found: taken, asks: []string{"sick"}},
	{name: "module with a reboot", kind: twoWay, asks: []string{"reboots"}, verb: lifeResume, found: booted},
	{name: "module whose Download fails", kind: twoWay, verb: lifeInstall, asks: []string{"fails/Download"}},
	{name: "module whose ArtifactInstall fails", kind: twoWay, verb: lifeInstall, asks: []string{"fails/ArtifactInstall"}},
	{name: "module whose ArtifactCommit fails", kind: twoWay, verb: []string{"commit"}, found: taken, asks: []string{"fails/ArtifactCommit"}},
	{name: "module that cannot go back", kind: oneWay, verb: lifeInstall},
	{name: "module that cannot go back and fails", kind: oneWay, verb: lifeInstall, asks: []string{"fails/ArtifactInstall"}},
}

func taken(l *life) { l.verb(lifeInstall...) }

func booted(l *life) {
	l.verb(lifeInstall...)
	l.start()
}

func wentBack(l *life) {
	booted(l)
	l.asked("sick")
	l.verb("resume")
	l.start()
}

// also are the outcomes beside the two: what cannot go back and did not go
// through says so.
func (s lifeScene) also(l *life) []release {
	if s.kind == oneWay {
		return inconsistent(l)
	}
	return nil
}

// TestKillStates kills every verb before each of its writes, at every state of an
// update, as a power cut does and as somebody who kills the process. Whatever is
// left, the device ends as it was or as it was to be, and what is run around it
// is run in order.
func TestKillStates(t *testing.T) {
	eachKind(t, lifeScenes, func(l *life, s lifeScene) {
		if !soak && !s.every && l.rnd.IntN(6) > 0 {
			return
		}
		l.asked(s.asks...)
		if s.found != nil {
			s.found(l)
		}
		s.cutEverywhere(l)
	})
}

// eachKind gives each scene a life that has not seen an update.
func eachKind(t *testing.T, scenes []lifeScene, play func(*life, lifeScene)) {
	for _, kind := range []payloadKind{anImage, twoWay, oneWay} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			l := newLife(t, kind)
			l.rnd, l.cutAt = seeded(t), map[string]bool{}
			fresh := l.keep()
			for _, s := range scenes {
				if s.kind == kind {
					t.Run(s.name, func(t *testing.T) {
						l.T = t
						l.putBack(fresh)
						play(l, s)
					})
				}
			}
		})
	}
}

func (s lifeScene) cutEverywhere(l *life) {
	l.Helper()
	found := l.keep()
	// cut runs the verb, and judges. A power cut starts the device; who kills a
	// process does not.
	cut := func(power bool, decide func(cuts.Call) cuts.Fate) (killed bool) {
		l.putBack(found)
		l.asked(s.asks...)
		r := l.trace(s.verb, decide)
		if !r.Killed {
			return false
		}
		defer func() {
			if l.Failed() {
				l.Logf("power: %v, cut before %v", power, r.Calls[len(r.Calls)-1])
			}
		}()
		if power {
			l.start()
		}
		l.judged(s.back(), s.also(l)...)
		return true
	}
	states, calls, kills := map[string]int{}, 0, 0 // how many calls each state has
	l.asked(s.asks...)
	l.trace(s.verb, func(cuts.Call) cuts.Fate {
		states[l.at()]++
		calls++
		return cuts.Go
	})
	for k := 1; soak && cut(k%2 == 0, cuts.At(k, cuts.Kill())); k++ {
		kills++
	}
	for _, at := range slices.Sorted(maps.Keys(states)) {
		if soak || l.cutAt[at] || !s.every && l.rnd.IntN(len(states)) > 0 {
			continue
		}
		l.cutAt[at] = true
		nth := l.rnd.IntN(states[at])
		if !cut(l.rnd.IntN(2) == 0, func(cuts.Call) cuts.Fate {
			if l.at() == at {
				nth--
			}
			if nth < 0 {
				return cuts.Kill()
			}
			return cuts.Go
		}) {
			l.Errorf("not cut: %s", at)
		}
		kills++
	}
	l.Logf("%d calls in %d states; killed %d times", calls, len(states), kills)
}

// at says at which state a device is, by its record and by what was run last.
func (l *life) at() string {
	var s struct{ Trial struct{ Phase, Owed string } }
	if b, err := os.ReadFile(l.path("state/state.json")); err == nil {
		l.must(json.Unmarshal(b, &s))
	}
	log := append([]string{""}, l.log()...)
	state, _, _ := strings.Cut(log[len(log)-1], "_")
	return s.Trial.Phase + " " + s.Trial.Owed + " " + state
}

// trace runs a verb under the tracer.
func (l *life) trace(verb []string, decide func(cuts.Call) cuts.Fate) cuts.Result {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	out, err := os.Create(l.path("said"))
	l.must(err)
	defer out.Close()
	cmd := l.command(verb...)
	cmd.Stdout, cmd.Stderr = out, out
	r, err := cuts.Run(ctx, cmd, decide)
	if text := string(l.read("said")); err != nil || crashed(text) || r.Code < 0 && !r.Killed {
		l.Fatalf("%v under the tracer: %v, %+v\n%s", verb, err, r, text)
	}
	if r.Killed {
		l.wasCut()
	}
	return r
}

// dyingScenes reach each moment that is run for a kind of payload.
var dyingScenes = []lifeScene{
	{name: "image that is kept", kind: anImage},
	{name: "image whose Download fails", kind: anImage, asks: []string{"fails/Download_Leave"}},
	{name: "image whose ArtifactInstall fails", kind: anImage, asks: []string{"fails/ArtifactInstall_Leave"}},
	{name: "image whose ArtifactCommit fails", kind: anImage, asks: []string{"fails/ArtifactCommit_Enter"}},
	{name: "image, sick", kind: anImage, asks: []string{"sick"}},
	{name: "module that is kept", kind: twoWay},
	{name: "module with a reboot", kind: twoWay, asks: []string{"reboots"}},
	{name: "module whose Download fails", kind: twoWay, asks: []string{"fails/Download"}},
	{name: "module whose ArtifactInstall fails", kind: twoWay, asks: []string{"fails/ArtifactInstall"}},
	{name: "module whose ArtifactCommit fails", kind: twoWay, asks: []string{"fails/ArtifactCommit"}},
	{name: "module, sick", kind: twoWay, asks: []string{"sick"}},
	{name: "module that cannot go back", kind: oneWay},
	{name: "module that cannot go back and fails", kind: oneWay, asks: []string{"fails/ArtifactInstall"}},
}

// TestKillMoments: a script, or a module, takes the device down while it runs,
// once or each time: at its begin, and when its work is done.
func TestKillMoments(t *testing.T) {
	eachKind(t, dyingScenes, func(l *life, s lifeScene) {
		fresh := l.keep()
		run := func(also []release, ask ...string) {
			l.putBack(fresh)
			l.asked(append(ask, s.asks...)...)
			if _, killed := l.verb(lifeInstall...); killed {
				l.start()
			}
			l.judged(s.back(), append(also, s.also(l)...)...)
		}
		run(nil)
		died := 0
		for _, moment := range momentsOf(l.ran) {
			for i, when := range []string{".begin", ".end", ".begin", ".end"} {
				var also []release
				ask := []string{"dies/" + moment + when}
				if i >= 2 {
					ask, also = append(ask, "dies/always"), s.givenUp(l, moment)
				}
				if !soak && l.rnd.IntN(40) > 0 {
					continue
				}
				run(also, ask...)
				if !slices.Contains(l.ran, "cut") {
					l.Errorf("%s did not die", moment)
				}
				died++
			}
		}
		l.Logf("died %d times", died)
	})
}

// givenUp are the outcomes if a module was asked too often to go back.
func (s lifeScene) givenUp(l *life, moment string) []release {
	if s.kind == anImage || !strings.HasPrefix(moment, "ArtifactRollback") && moment != "SupportsRollback" {
		return nil
	}
	return inconsistent(l)
}

// inconsistent are the names for what failed and could not be taken back.
func inconsistent(l *life) (all []release) {
	for _, content := range []string{l.old.Content, l.new.Content} {
		r := l.new
		r.Artifact, r.Content = r.Artifact+"_INCONSISTENT", content
		all = append(all, r)
	}
	return all
}

// momentsOf are those of a log, each once.
func momentsOf(log []string) []string {
	set := map[string]bool{}
	for _, line := range log {
		if _, moment, ok := strings.Cut(line, " "); ok {
			set[moment] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}
