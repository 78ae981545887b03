package ring

// The checks behind the build tag invariants. They read the other side's cursors, which is why they are not always on.

func (w *Window[T]) checkPublish(pos uint64, n int) {
	head, tail := w.head.Load(), w.tail.Load()
	if pos-head > tail-head || uint64(n) > tail-pos {
		panic("ring: Window.Publish: run was not claimed")
	}
	i := pos & w.mask
	s := w.segs[i/segmentSize].Load()
	if s != nil && runLength(s.runs[i%segmentSize].Load(), pos, w.mask) != 0 {
		panic("ring: Window.Publish: run is published already")
	}
}

func (w *Window[T]) checkPublished(from uint64) {
	head, tail := w.head.Load(), w.tail.Load()
	if from-head > tail-head {
		panic("ring: Window.Published: position outside the window")
	}
}

func (w *Window[T]) checkRelease(head, to uint64) {
	if to-head > w.tail.Load()-head {
		panic("ring: Window.Release: slots were not claimed")
	}
}
