package ring

// A run is a row of positions that changes hands at once. Who hands it on stores one word, its mark, at the run's first
// position; who takes it hops from mark to mark.

// runMark packs what the other side must know of a run: the lap in the bits above mask, which is the capacity less 1,
// and the length less 1 in those below. Laps count from 1, so that a mark never stored matches none. The lap has all
// bits that the length leaves it, so it comes round only when positions do, and a mark left from an earlier lap
// never passes for a new one; nobody needs to erase it.
func runMark(pos uint64, n int, mask uint64) uint64 {
	return (pos&^mask + mask + 1) | uint64(n-1)
}

// runLength returns how long the run at pos is according to the mark found there; 0 if that is of another lap.
func runLength(mark, pos, mask uint64) uint64 {
	if (mark^runMark(pos, 1, mask))&^mask != 0 {
		return 0
	}
	return mark&mask + 1
}
