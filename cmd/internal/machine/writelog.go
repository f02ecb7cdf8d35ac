package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// sectorSize is the unit in which a log is written here.
const sectorSize = 512

// logMagic begins a log: the format of Linux's dm-log-writes, of version 1.
const logMagic = 0x6a736677736872

// flags of an entry
const (
	logFlush = 1 << iota
	logFUA
	logDiscard
	logMark
)

// A Write is one request of the guest, in the order in which the disk got them.
type Write struct {
	Offset, Size int64 // bytes; a flush alone has none
	Flush        bool  // what was written before is on the medium
	FUA          bool  // this one is on the medium when it is done
	Discard      bool  // no content, and that of the disk is lost

	log io.ReaderAt
	at  int64
}

// Data reads what was written from the log; for a discard it is empty.
func (w Write) Data() ([]byte, error) {
	if w.Discard {
		return nil, nil
	}
	b := make([]byte, w.Size)
	if _, err := io.ReadFull(io.NewSectionReader(w.log, w.at, w.Size), b); err != nil {
		return nil, fmt.Errorf("write log: data of %d bytes for offset %d: %w", w.Size, w.Offset, err)
	}
	return b, nil
}

// Apply repeats the write on another disk: the state at a cut is what the disk
// was before, with some of the log applied. It leaves a discarded range alone.
func (w Write) Apply(disk io.WriterAt) error {
	b, err := w.Data()
	if err != nil || len(b) == 0 {
		return err
	}
	_, err = disk.WriteAt(b, w.Offset)
	return err
}

// ReadLog reads the log of a [Disk] that the machine has left. Only what is
// about the writes is read; the log stays in use as long as their data is
// wanted. The last write of a machine whose power was cut may be missing.
func ReadLog(log io.ReaderAt) ([]Write, error) {
	var super struct {
		Magic, Version, Entries uint64
		SectorSize              uint32
	}
	if err := read(log, 0, &super); err != nil {
		return nil, fmt.Errorf("write log: %w", err)
	}
	sector := int64(super.SectorSize)
	switch {
	case super.Magic != logMagic || super.Version != 1:
		return nil, fmt.Errorf("write log: no log: magic %#x, version %d", super.Magic, super.Version)
	case sector < sectorSize || sector > 64<<10 || sector&(sector-1) != 0:
		return nil, fmt.Errorf("write log: sectors of %d bytes", sector)
	}
	var writes []Write
	at := sector
	for i := range super.Entries {
		var e struct{ Sector, Sectors, Flags, Extra uint64 }
		if err := read(log, at, &e); err != nil {
			return nil, fmt.Errorf("write log: entry %d of %d: %w", i, super.Entries, err)
		}
		const most = 1 << 40 // a petabyte and more of a disk, in sectors
		if e.Sector > most || e.Sectors > most || e.Extra > most {
			return nil, fmt.Errorf("write log: entry %d of %d: %+v", i, super.Entries, e)
		}
		at += sector
		w := Write{
			Offset: int64(e.Sector) * sector, Size: int64(e.Sectors) * sector,
			Flush: e.Flags&logFlush != 0, FUA: e.Flags&logFUA != 0, Discard: e.Flags&logDiscard != 0,
			log: log, at: at,
		}
		switch {
		case e.Flags&logMark != 0: // a text, in the rest of its sector
			at += (int64(e.Extra) + sector - 1) / sector * sector
			continue
		case !w.Discard:
			at += w.Size
		}
		writes = append(writes, w)
	}
	return writes, nil
}

func read(r io.ReaderAt, at int64, into any) error {
	err := binary.Read(io.NewSectionReader(r, at, int64(binary.Size(into))), binary.LittleEndian, into)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
