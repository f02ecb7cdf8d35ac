// Package external signs with keys that cannot leave where they are: in a
// security module, a smart card, a service that keeps keys, or behind a program
// that somebody wrote for the purpose.
//
// Nothing of that is linked in. A [Command] is a program that gets the manifest
// on its standard input and gives the signature on its standard output; a
// [Token] is a key that PKCS#11 has, for which OpenSC's pkcs11-tool is run.
//
// Whoever asks another for a signature has to look at what comes back: both
// verify it with the public key, and only what that accepts is returned, in the
// form that artifacts have (signing.PublicKey.Accept). A program that says
// something else, too much, or nothing in time is an error.
package external
