package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// bmap writes the block map of an image, format 2.0 of bmaptool: what is in
// used, and every block that is not zero.
func bmap(ctx context.Context, f *os.File, size int64, used []span) ([]byte, error) {
	blocks := make([]bool, (size+block-1)/block)
	for _, s := range used {
		for n := s.start / block; n < (s.end+block-1)/block; n++ {
			blocks[n] = true
		}
	}
	if err := markData(ctx, f, size, blocks); err != nil {
		return nil, err
	}
	var list strings.Builder
	mapped := 0
	for n := 0; n < len(blocks); {
		if !blocks[n] {
			n++
			continue
		}
		first := n
		for n < len(blocks) && blocks[n] {
			n++
		}
		mapped += n - first
		sum, err := sumRange(ctx, f, int64(first)*block, min(int64(n)*block, size))
		if err != nil {
			return nil, err
		}
		numbers := fmt.Sprint(first)
		if n-1 > first {
			numbers = fmt.Sprintf("%d-%d", first, n-1)
		}
		fmt.Fprintf(&list, "        <Range chksum=\"%x\"> %s </Range>\n", sum, numbers)
	}
	text := fmt.Sprintf(`<?xml version="1.0" ?>
<!-- The blocks of a disk image that must be written: bmaptool copy IMAGE DEVICE.
     Blocks that are zero and not listed may hold anything. -->
<bmap version="2.0">
    <ImageSize> %d </ImageSize>
    <BlockSize> %d </BlockSize>
    <BlocksCount> %d </BlocksCount>
    <MappedBlocksCount> %d </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> %s </BmapFileChecksum>
    <BlockMap>
%s    </BlockMap>
</bmap>
`, size, block, len(blocks), mapped, noSum, list.String())
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	return []byte(strings.Replace(text, noSum, sum, 1)), nil // it is the sum of the file with zeros in its place
}

var noSum = strings.Repeat("0", 64)

// markData marks the blocks that are not zero.
func markData(ctx context.Context, f *os.File, size int64, blocks []bool) error {
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		data, end, err := nextData(f, at, size)
		if err != nil {
			return err
		}
		for at = data / block * block; at < end; at += int64(len(buf)) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
			if err != nil && err != io.EOF {
				return err
			}
			i := at / block
			for c := range slices.Chunk(buf[:n], block) {
				blocks[i] = blocks[i] || !bytes.Equal(c, zeros[:len(c)])
				i++
			}
		}
		at = max(at, end)
	}
	return nil
}

func sumRange(ctx context.Context, f *os.File, start, end int64) ([]byte, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for at := start; at < end; {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
		if n == 0 && err != nil {
			return nil, err
		}
		h.Write(buf[:n])
		at += int64(n)
	}
	return h.Sum(nil), nil
}
