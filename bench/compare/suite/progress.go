package suite

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is told how far a run has come.
type Progress interface {
	Expect(steps int) // once per suite
	Begin(what string)
	Done()
}

// Bar shows progress and the time that is left on a terminal.
type Bar struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

// NewBar returns a bar that is drawn on a terminal.
func NewBar(w io.Writer) *Bar { return &Bar{w: w} }

func (b *Bar) Expect(steps int) {
	b.bar = progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(b.w),
		progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionUseANSICodes(true),
	)
}

func (b *Bar) Begin(what string) {
	if b.bar == nil || b.bar.IsFinished() {
		fmt.Fprintln(b.w, what)
		return
	}
	b.bar.Describe(what)
}

func (b *Bar) Done() { _ = b.bar.Add(1) }

// Lines writes now and then a line, for where there is no terminal.
type Lines struct {
	w                 io.Writer
	what              string
	done, steps, said int
	start             time.Time
}

// NewLines returns a progress that is written in lines.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

func (l *Lines) Expect(steps int) { *l = Lines{w: l.w, steps: steps, start: time.Now()} }

func (l *Lines) Begin(what string) {
	l.what = what
	if l.done == l.steps { // before the first or after the last measurement
		fmt.Fprintln(l.w, what)
	}
}

// Done writes about ten lines in all.
func (l *Lines) Done() {
	l.done++
	if tenth := l.done * 10 / l.steps; tenth > l.said {
		l.said = tenth
		spent := time.Since(l.start)
		left := time.Duration(float64(spent) * float64(l.steps-l.done) / float64(l.done))
		fmt.Fprintf(l.w, "%d of %d measurements, %v left; %s\n", l.done, l.steps, left.Round(time.Second), l.what)
	}
}
