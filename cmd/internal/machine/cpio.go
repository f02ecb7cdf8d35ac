package machine

import (
	"fmt"
	"io"
	"io/fs"
)

// A cpioWriter writes an archive in the "newc" format, which the kernel
// unpacks at its start. Everything in it is root's and from 1970, so that equal
// input makes equal output.
type cpioWriter struct {
	w    io.Writer
	next int // inode
	at   int64
	err  error
}

// types of file, as in st_mode
const (
	cpioDir  = 0o040000
	cpioFile = 0o100000
	cpioLink = 0o120000
)

func (c *cpioWriter) dir(name string)          { c.add(name, cpioDir|0o755, nil) }
func (c *cpioWriter) link(name, target string) { c.add(name, cpioLink|0o777, []byte(target)) }
func (c *cpioWriter) file(name string, perm fs.FileMode, data []byte) {
	c.add(name, cpioFile|uint32(perm.Perm()), data)
}

func (c *cpioWriter) add(name string, mode uint32, data []byte) {
	c.next++
	c.entry(c.next, name, mode, data)
}

// Close writes the trailer and returns the first error of all writes. It does
// not close the writer beneath.
func (c *cpioWriter) Close() error {
	c.entry(0, "TRAILER!!!", 0, nil)
	return c.err
}

// entry writes header, name and content; the latter two each begin and end at
// a multiple of four.
func (c *cpioWriter) entry(inode int, name string, mode uint32, data []byte) {
	links := 1
	if mode&cpioDir == cpioDir {
		links = 2
	}
	// inode, mode, uid, gid, links, mtime, size, device and its own device (major and minor), name, checksum
	c.write(fmt.Appendf(nil, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name)+1, 0))
	c.write([]byte(name + "\x00"))
	c.pad()
	c.write(data)
	c.pad()
}

func (c *cpioWriter) write(b []byte) {
	if c.err != nil {
		return
	}
	n, err := c.w.Write(b)
	c.at, c.err = c.at+int64(n), err
}

func (c *cpioWriter) pad() { c.write(make([]byte, (4-c.at%4)%4)) }
