package suite

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is told how far a run has come. Parts of it are told apart by how long they are expected to take.
type Progress interface {
	Begin(what string)
	Done(part time.Duration)
	Skip(part time.Duration) // which is not measured: nobody waits for it
}

// Bar shows on a terminal how far a run has come, and the time that is left.
type Bar struct {
	bar   *progressbar.ProgressBar
	words int // columns for what is being done
}

// NewBar returns a bar for a terminal of so many columns, and a run that takes about as long as total.
func NewBar(w io.Writer, columns int, total time.Duration) *Bar {
	const rest = 36 // columns that the bar and the times take
	return &Bar{words: min(max(columns-rest, 0), 44), bar: progressbar.NewOptions64(total.Milliseconds(),
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(12),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

// Begin keeps what is said as wide as it is, so that the bar stands still and fits the terminal: a line that does not
// would be another one each time.
func (b *Bar) Begin(what string)       { b.bar.Describe(fmt.Sprintf("%-*.*s", b.words, b.words, what)) }
func (b *Bar) Done(part time.Duration) { _ = b.bar.Add64(part.Milliseconds()) } // an error of the terminal

// Skip leaves a millisecond, since the bar takes no maximum of 0.
func (b *Bar) Skip(part time.Duration) {
	b.bar.ChangeMax64(max(b.bar.GetMax64()-part.Milliseconds(), 1))
}

// Lines writes about twenty lines in all, for where there is no terminal.
type Lines struct {
	w                 io.Writer
	what              string
	start             time.Time
	total, done, said time.Duration
}

// NewLines returns lines for a run that takes about as long as total.
func NewLines(w io.Writer, total time.Duration) *Lines {
	return &Lines{w: w, total: total, start: time.Now()}
}

func (l *Lines) Begin(what string)       { l.what = what }
func (l *Lines) Skip(part time.Duration) { l.total -= part }

func (l *Lines) Done(part time.Duration) {
	l.done += part
	if l.done-l.said < l.total/20 {
		return
	}
	l.said = l.done
	left := time.Duration(float64(time.Since(l.start)) * (float64(l.total)/float64(l.done) - 1))
	fmt.Fprintf(l.w, "%3.0f%%, %v left: %s\n", 100*float64(l.done)/float64(l.total), left.Round(time.Second), l.what)
}
