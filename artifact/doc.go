// Package artifact reads and writes Mender Artifact format v3.
//
// An artifact is a tar archive, never compressed as a whole, whose members stand in one order:
//
//	version            {"format":"mender","version":3}
//	manifest           lines of "<sha256>  <name>": of version, of header.tar*, of each payload file
//	manifest.sig       signature of exactly the bytes of manifest, in base64; absent if unsigned
//	header.tar*        header-info, scripts/*, headers/0000/type-info, headers/0000/meta-data
//	data/0000.tar*     the payload: plain files, for a root file system exactly one
//
// The * is nothing, .gz, .xz or .zst and says how that member is compressed. Trust runs in a chain: the signature covers the
// manifest, the manifest has the sums of version, of the compressed header, and of the content of every payload file. An
// augmented artifact also has manifest-augment and header-augment.tar*, which no signature covers: [Inspect] shows it, [Open]
// refuses it.
//
// Trust has a type here. [Open] reads up to the header and returns a [Reader] only if its [Verifier] said yes to the manifest
// and every sum up to there was right; nothing is parsed before. [Inspect] reads everything and returns an [Info], from which
// no payload can be had. Nobody has to remember to check.
//
//	r, err := artifact.Open(src, keyring)   // nil error: r.Header() is trusted
//	for {
//		p, err := r.Next()              // io.EOF: all that was promised was there, and nothing else
//		io.Copy(slot, p)                // bytes are tentative until Read returned io.EOF
//	}
//
// Payload bytes are handed out while they are hashed, because an image does not fit in memory: a wrong sum replaces io.EOF by
// [ErrChecksum]. Only io.EOF from Next says that the artifact is whole: what follows the last file is checked there.
//
// Where readers in the field differ, this one sides with the strictest, and it refuses what all of them accept by mistake:
// names are compared exactly, everything is listed exactly once, nothing is unlisted, only regular files are members, padding
// is zero, archives and compressed streams end where they say they end, and nothing but zero bytes follows. Two things that
// real tools wrote are let through: an empty "type" in the type-info of a root file system, and a missing payload member where
// the payload type is null. Everything that is read before it is trusted has a limit. The source is read once, front to back.
//
// [Create] writes what every reader in the field accepts, and the same bytes for the same input on any machine and as any user:
// sorted scripts, fixed times and owners, compressed blocks of a fixed size. [Sign] adds a signature to an artifact that it
// checks in the same pass, and [Rewrite] gives one another header; neither touches the payload.
package artifact
