// Package screen shows what goes on in a program that runs for a while: events, each on a line of its own, and a
// progress line below them, which lives on a terminal and elsewhere comes at intervals.
package screen

import (
	"fmt"
	"io"
	"os"
	"time"
)

// Screen writes to a file, to standard error as a rule. It is for one goroutine.
type Screen struct {
	Start time.Time // what the times that it shows count from

	w     io.Writer
	every time.Duration
	live  bool
	shown bool
	next  time.Time
}

// New returns a Screen that, where w is no terminal, shows progress no more often than every interval.
func New(w io.Writer, every time.Duration) *Screen {
	s := &Screen{w: w, every: every, Start: time.Now()}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		s.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// Event writes a line.
func (s *Screen) Event(format string, args ...any) {
	s.Clear()
	fmt.Fprintf(s.w, "%5.1f s  %s\n", time.Since(s.Start).Seconds(), fmt.Sprintf(format, args...))
}

// Due reports whether it is time for a progress line.
func (s *Screen) Due() bool {
	now := time.Now()
	if now.Before(s.next) {
		return false
	}
	if s.next = now.Add(s.every); s.live {
		s.next = now.Add(time.Second / 4)
	}
	return true
}

// Progress shows line in place of the progress line before.
func (s *Screen) Progress(line string) {
	s.Clear()
	fmt.Fprintf(s.w, "%5.1f s  %s", time.Since(s.Start).Seconds(), line)
	if s.shown = s.live; !s.live {
		fmt.Fprintln(s.w)
	}
}

// Clear removes the progress line.
func (s *Screen) Clear() {
	if s.shown {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.shown = false
	}
}
