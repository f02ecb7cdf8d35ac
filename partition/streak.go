package partition

// A streak is how many units in a row had nothing in common with the slot. While
// it lasts it is not worth reading all of the slot only to learn that: a small
// part of a unit now and then is looked at, and as soon as a block in it is right
// the whole is compared again. A read costs the time of its way, however small it
// is: one for each unit takes as long as writing them all.
type streak int

const (
	longStreak = 8 // units
	probe      = 8 << 10
	probeEvery = 2 // units
)

// compared returns what the slot holds in place of b, a unit of the image or its
// end, or nil if that is taken to be something else throughout.
func (w *Writer) compared(off int64, b []byte) ([]byte, error) {
	if w.differs >= longStreak && len(b) == unit {
		if w.differs++; w.differs%probeEvery != 0 {
			return nil, nil
		}
		at := int(off/unit) * 5 % (unit / probe) * probe // in another place each time
		have, err := w.have(off+int64(at), probe)
		if err != nil || common(have, b[at:at+probe]) == 0 {
			return nil, err
		}
		w.differs = 0
	}
	have, err := w.have(off, len(b))
	if err != nil {
		return nil, err
	}
	if common(have, b) > 0 {
		w.differs = 0
	} else {
		w.differs++
	}
	return have, nil
}

// common returns how many blocks are the same.
func common(have, b []byte) (n int) {
	for at := 0; at < len(b); at += block4 {
		if sameBlock(have, b, at) {
			n++
		}
	}
	return n
}
