// Package mender reads what a Mender client keeps on a device, so that a
// device can change over in place. It only reads: it writes no file, makes no
// lock file, and takes no lock.
//
// A client keeps these files:
//
//	/var/lib/mender/mender-store     LMDB: names, provides, an update in progress
//	/var/lib/mender/device_type      device_type=TYPE
//	/etc/mender/artifact_info        artifact_name=NAME, of the root file system
//	/var/lib/mender/bootstrap.mender artifact without payload, of the first start
//
// The store is LMDB's data version 1, as a file without a folder around it
// (MDB_NOSUBDIR). It is a sequence of pages, whose size is that of the machine
// that wrote it, and words are of that machine as well: read are 64-bit and
// 32-bit stores, both little endian, wherever this runs. Pages 0 and 1 are
// meta pages; the one with the larger transaction id counts. It names the root
// of a B-tree whose leaves hold keys and values; a value that does not fit has
// overflow pages of its own.
//
//	page   word number; u16 pad; u16 flags; u16 lower, u16 upper (or u32 pages);
//	       then an array of u16, the offsets of the nodes, up to lower
//	meta   u32 magic, u32 version; word address, mapsize; tree of the free
//	       pages; tree of the keys; word last page, word transaction
//	tree   u32 pad (of the first tree: the page size); u16 flags, u16 depth;
//	       word branch, leaf and overflow pages; word entries; word root
//	node   u16 low, u16 high, u16 flags, u16 key size; key; value
//	       low and high are the value's size; in a branch, with the flags above
//	       them, the number of the page below
//
// A transaction never writes over pages of the one before it. What was read is
// taken if no transaction ended meanwhile, and else is read again.
package mender
