package scan

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	folderName = "plimsoll"
	suffix     = ".mender"

	// What Printable shows of a name: the beginning, and the end, where its kind is.
	shownHead, shownTail = 64, 16
)

// Printable returns name as it may be shown to a person and written to a log: of at most 81 printable characters, in UTF-8, in one line.
// What cannot be shown becomes a question mark: control characters, line breaks, characters that turn the direction of a text or have no
// width, bytes that are no UTF-8. It serves for all text that comes from a stick.
func Printable(name string) string {
	// No more than this is looked at, however much there is.
	const most = (shownHead + shownTail + 1) * utf8.UTFMax
	cut := false
	if len(name) > 2*most {
		name, cut = name[:most]+name[len(name)-most:], true
	}
	runes := make([]rune, 0, len(name))
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		runes = append(runes, r)
	}
	if len(runes) > shownHead+shownTail || cut {
		return string(runes[:shownHead]) + "…" + string(runes[len(runes)-shownTail:])
	}
	return string(runes)
}

// isCandidate reports whether an artifact may have this name. Names that begin with a dot are those of a Mac's shadows (._x.mender, of
// 4 KiB, beside each x.mender), of rubbish bins, and of files that are still being written.
func isCandidate(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(lower(name), suffix) && len(name) > len(suffix)
}

// Endings that follow .mender where something went wrong on the way to the stick.
var (
	packed     = []string{"zip", "gz", "7z", "rar", "txt", "html", "htm"}
	downloads  = []string{"crdownload", "part", "partial", "filepart", "download", "opdownload", "tmp"}
	endingWhys = []struct {
		endings []string
		why     Why
	}{{packed, Renamed}, {downloads, Download}}
)

// strange says what is wrong with a name that is nearly that of an artifact; "" if it is not.
func strange(name string) Why {
	if strings.HasPrefix(name, ".") {
		return ""
	}
	stem, ending, ok := cutLast(lower(name), '.')
	if !ok || !strings.HasSuffix(stem, suffix) {
		return ""
	}
	for _, e := range endingWhys {
		if slices.Contains(e.endings, ending) {
			return e.why
		}
	}
	return ""
}

func isFolder(name string) bool { return lower(name) == folderName }

// cutLast cuts s around the last sep.
func cutLast(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// lower is for ASCII alone: no other letter becomes one of ours.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
