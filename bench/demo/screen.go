//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// screen shows what goes on: events, each on a line of its own, and a progress line below them, which lives on
// a terminal and elsewhere comes once a second.
type screen struct {
	w     io.Writer
	live  bool
	shown bool
	start time.Time
	next  time.Time
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, start: time.Now()}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		s.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s *screen) event(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.w, "%5.1f s  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// due reports whether it is time for a progress line.
func (s *screen) due() bool {
	now := time.Now()
	if now.Before(s.next) {
		return false
	}
	if s.next = now.Add(time.Second); s.live {
		s.next = now.Add(time.Second / 4)
	}
	return true
}

func (s *screen) progress(line string) {
	s.clear()
	fmt.Fprintf(s.w, "%5.1f s  %s", time.Since(s.start).Seconds(), line)
	if s.shown = s.live; !s.live {
		fmt.Fprintln(s.w)
	}
}

// clear removes the progress line.
func (s *screen) clear() {
	if s.shown {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.shown = false
	}
}
