// Package scan finds the artifacts on a stick, or in any other folder that a stranger filled, and says what each of them is.
//
// Nothing on a stick is trusted, least of all its structure. An artifact lies in the root of the stick or in its folder plimsoll, is a
// regular file that is not empty, and its name ends in .mender; upper and lower case are one. Nothing deeper is looked at, and no name
// from the stick is ever more than a name: files are opened one folder down at most, in folders that are open, without following
// symbolic links and without waiting for anybody. What is shown to people of a name went through [Printable].
//
// What a stick can make us do has an end: so many entries are read, so many artifacts and oddities are kept, so many bytes of a header
// are remembered. A tree that is larger is read in part, and [Result].Truncated says so.
//
// Every byte of an artifact is read once. [Look] reads the header, has it verified, and keeps the bytes it read; [Candidate.Source]
// hands out these and goes on where Look stopped. What was judged is what will be installed: a stick that answers a second read
// differently is never asked again.
//
//	s, err := scan.Open("/run/plimsoll/stick")
//	tree, err := s.Tree()
//	for _, f := range tree.Files {
//		c, err := s.Look(f, keyring) // nil error: c.Header is trusted
//		install(c.Source())
//		c.Close()
//	}
//
// When something went wrong nothing more is at stake, and [Explain] reads again, to find out for a technician which of two things it
// was: a file that is damaged, or a copy that was never finished, because somebody pulled the stick out of a computer without ejecting
// it.
package scan
