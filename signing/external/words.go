package external

import (
	"errors"
	"strings"
)

// Words splits a command into its program and arguments, as a shell does with
// a line that has nothing but words and quotes: words are separated by blanks,
// '…' and "…" hold together what is between them, and a backslash takes the next
// character as it is, but not in '…'. Nothing else is special: no variables, no
// wildcards, no pipes. Who wants these writes sh -c '…'.
func Words(command string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune // that is open, or 0
	in, escaped := false, false
	for _, r := range command {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			in, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			in, quote = true, r
		case strings.ContainsRune(" \t\r\n", r):
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteRune(r)
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("a quote is not closed")
	case escaped:
		return nil, errors.New("a backslash with nothing behind it")
	}
	if in {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("it names no program")
	}
	return words, nil
}
