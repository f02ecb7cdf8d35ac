package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes the image at path, and its block map beside it. What is there is
// replaced, also the map of an image that has none now. Until both are on the
// medium everything is as it was, and after an error nothing else is left.
func (d *Disk) Write(ctx context.Context, path string) error {
	if err := d.write(ctx, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (d *Disk) write(ctx context.Context, path string) error {
	if err := d.Check(); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer removeAll(work)
	w := writer{Disk: d, work: work}
	if w.f, err = os.OpenFile(filepath.Join(work, "disk"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
		return err
	}
	defer w.f.Close()
	if err := w.all(ctx); err != nil {
		return err
	}
	if d.Bmap {
		text, err := bmap(ctx, w.f, d.Size, w.used)
		if err != nil {
			return err
		}
		if err := durable(filepath.Join(work, "bmap"), text); err != nil {
			return err
		}
	}
	if err := errors.Join(w.f.Sync(), w.f.Close()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return w.appear(path)
}

// A writer is an image in the making.
type writer struct {
	*Disk
	work        string
	f           *os.File
	used        []span // must be on the medium, zero or not
	done, total int64
}

func (w *writer) all(ctx context.Context) error {
	if err := w.f.Truncate(w.Size); err != nil {
		return err
	}
	w.used = append(w.used, span{0, cleared})
	if w.Table == GPT {
		w.used = append(w.used, span{w.Size - gptBack, w.Size})
	}
	for _, p := range w.Partitions {
		w.total += p.Size
	}
	for i, p := range w.Partitions {
		if err := w.partition(ctx, i+1, p); err != nil {
			return fmt.Errorf("partition %d (%s): %w", i+1, p.Name, err)
		}
	}
	for _, a := range w.Areas {
		if _, err := w.f.WriteAt(a.Data, a.Offset); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
		w.used = append(w.used, span{a.Offset, a.Offset + int64(len(a.Data))})
	}
	return w.writeTable(w.f)
}

// partition fills one.
func (w *writer) partition(ctx context.Context, n int, p Partition) error {
	img := p.Image
	switch {
	case p.FAT != nil:
		img = filepath.Join(w.work, fmt.Sprintf("fat-%d", n))
		f := fat{files: p.FAT, start: p.Start, size: p.Size, label: p.Label, id: w.partID(n), time: w.Time}
		if err := f.make(ctx, img); err != nil {
			return err
		}
	case img == "":
		w.used = append(w.used, span{p.Start, p.Start + min(p.Size, cleared)})
		w.through(p.Size)
		return context.Cause(ctx)
	}
	src, err := os.Open(img)
	if err != nil {
		return err
	}
	defer src.Close()
	size, err := src.Seek(0, 2)
	if err != nil {
		return err
	}
	if size > p.Size {
		return fmt.Errorf("%s has %d bytes, the partition %d: %w", img, size, p.Size, ErrSize)
	}
	if err := (copier{ctx, w.f, p.Start, w.through}).copy(src, size); err != nil {
		return err
	}
	w.through(p.Size - size)
	return w.use(ctx, p, src)
}

// use notes what of a file system must be on the medium.
func (w *writer) use(ctx context.Context, p Partition, src *os.File) error {
	if !w.Bmap {
		return nil
	}
	spans := []span{{0, min(p.Size, cleared)}}
	if p.FAT != nil {
		s, err := fatUsed(src)
		if err != nil {
			return err
		}
		spans = append(spans, s)
	} else if _, err := ext4Size(src); err == nil {
		u, err := readUsage(ctx, src.Name())
		if err != nil {
			return err
		}
		spans = append(spans, u.bytes...)
	}
	for _, s := range spans {
		w.used = append(w.used, span{p.Start + s.start, p.Start + min(s.end, p.Size)})
	}
	return nil
}

func (w *writer) through(n int64) {
	w.done += n
	if w.Report != nil {
		w.Report(w.done, w.total)
	}
}

// appear gives image and map their names. A map of an earlier image goes first:
// there is no moment at which it stands beside the new one.
func (w *writer) appear(path string) error {
	beside := path + ".bmap"
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(filepath.Join(w.work, "disk"), path); err != nil {
		return err
	}
	if w.Bmap {
		if err := os.Rename(filepath.Join(w.work, "bmap"), beside); err != nil {
			return err
		}
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// durable writes a small file.
func durable(path string, text []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
