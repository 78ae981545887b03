package result

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// WritePlots draws, for each group of cases and each metric that is worth it, dir/NAME-GROUP-METRIC.svg.
func (s *Suite) WritePlots(dir string) error {
	for _, g := range s.Groups() {
		for _, m := range s.Metrics {
			if !m.Chart || !s.measured(g, m) {
				continue
			}
			if err := s.plot(g, m, filepath.Join(dir, s.chart(g, m))); err != nil {
				return fmt.Errorf("plotting %s: %w", s.chart(g, m), err)
			}
		}
	}
	return nil
}

func (s *Suite) chart(group string, m Metric) string {
	return fmt.Sprintf("%s-%s-%s.svg", s.Name, strings.ReplaceAll(group, " ", "-"), m.Key)
}

// measured reports whether there is anything to draw.
func (s *Suite) measured(group string, m Metric) bool {
	for _, c := range s.InGroup(group) {
		for _, of := range s.Contenders {
			if _, ok := s.Figure(c.Name, of.Name, m.Key); ok {
				return true
			}
		}
	}
	return false
}

// charts names the plots of a group.
func (s *Suite) charts(group string) (names []string) {
	for _, m := range s.Metrics {
		if m.Chart && s.measured(group, m) {
			names = append(names, s.chart(group, m))
		}
	}
	return names
}

// A series is one line of a plot, or one kind of marks.
type series struct {
	name    string
	style   style
	figures []Figure
	at      []float64
}

// XY and the other methods are what the plotter wants: medians, and quartiles as errors.
func (s series) Len() int                { return len(s.figures) }
func (s series) XY(i int) (x, y float64) { return s.at[i], s.figures[i].Median }
func (s series) YError(i int) (low, high float64) {
	f := s.figures[i]
	return f.Median - f.Q1, f.Q3 - f.Median
}

func (s *series) add(at float64, f Figure) {
	s.at, s.figures = append(s.at, at), append(s.figures, f)
}

// The plots are so wide, with the legend in what is at the right of them. Of the axis, room is what is left to it.
const (
	width  = 28 * vg.Centimeter
	beside = 8.8 * vg.Centimeter
	room   = 1.56
)

func (s *Suite) plot(group string, m Metric, path string) error {
	p := plot.New()
	p.Title.Text = s.heading(group)
	p.Title.Padding = vg.Points(8)
	p.Y.Label.Text = m.Name
	p.Legend.Top, p.Legend.Left, p.Legend.XOffs = true, true, width-beside // names behind their marks: other fonts are wider than the plotter believes
	p.Legend.TextStyle.Font.Size, p.Legend.Padding = vg.Points(10), vg.Points(2)
	p.Add(plotter.NewGrid())
	cases := s.InGroup(group)
	if _, err := strconv.Atoi(cases[0].Label); err == nil {
		p.X.Label.Text = group // what the bare numbers count
	}
	of := s.marks
	if cases[0].X != cases[len(cases)-1].X {
		of = s.lines
	}
	all := of(p, cases, m)
	for _, one := range all {
		if one.Len() == 0 {
			continue
		}
		if err := one.draw(p); err != nil {
			return err
		}
	}
	scaleY(p, all)
	return p.Save(width, 15*vg.Centimeter, path)
}

func (s series) draw(p *plot.Plot) error {
	line, points, err := plotter.NewLinePoints(s)
	if err != nil {
		return err
	}
	bars, err := plotter.NewYErrorBars(s)
	if err != nil {
		return err
	}
	line.LineStyle, points.GlyphStyle, bars.LineStyle.Color = s.style.line, s.style.glyph, s.style.line.Color
	p.Add(bars, points)
	if s.style.line.Width > 0 {
		p.Add(line)
		p.Legend.Add(s.name, line, points)
	} else {
		p.Legend.Add(s.name, points)
	}
	return nil
}

// lines makes one line for each contender over the X of the cases, and leaves room for the legend at the right.
func (s *Suite) lines(p *plot.Plot, cases []Case, m Metric) (all []series) {
	var ticks []plot.Tick
	low, high := cases[0].X, cases[0].X
	for _, c := range cases {
		ticks = append(ticks, plot.Tick{Value: c.X, Label: c.Label})
		low, high = min(low, c.X), max(high, c.X)
	}
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.ConstantTicks(ticks)
	p.X.Min, p.X.Max = low, high*math.Pow(high/low, room-1)
	for i, of := range s.Contenders {
		one := series{name: of.Name, style: styleOf(i, of.Role)}
		for _, c := range cases {
			if f, ok := s.Figure(c.Name, of.Name, m.Key); ok {
				one.add(c.X, f)
			}
		}
		all = append(all, one)
	}
	return all
}

// marks makes marks for the contenders side by side, of one kind for each case, and leaves room for the legend at the
// right.
func (s *Suite) marks(p *plot.Plot, cases []Case, m Metric) (all []series) {
	var names []string
	for i, c := range cases {
		one := series{name: c.Label, style: styleOf(i, Peer)}
		one.style.line.Width = 0
		aside := (float64(i) - float64(len(cases)-1)/2) * 0.18
		for n, of := range s.Contenders {
			if i == 0 {
				names = append(names, of.Name)
			}
			if f, ok := s.Figure(c.Name, of.Name, m.Key); ok {
				one.add(float64(n)+aside, f)
			}
		}
		all = append(all, one)
	}
	p.NominalX(names...)
	p.X.Max = room * float64(len(names)-1)
	p.X.Tick.Label.Rotation = 0.6
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
	return all
}

// scaleY makes the scale logarithmic where the values lie far apart, and otherwise begin at zero.
func scaleY(p *plot.Plot, all []series) {
	low, high := math.Inf(1), 0.0
	for _, s := range all {
		for _, f := range s.figures {
			low, high = min(low, f.Q1), max(high, f.Q3)
		}
	}
	if low <= 0 || high/low < 8 {
		p.Y.Min, p.Y.Max = 0, high*1.1
		return
	}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	p.Y.Min, p.Y.Max = low/1.2, high*1.2
}

// decades are the ticks 1, 2 and 5 of each power of ten.
func decades(low, high float64) (ticks []plot.Tick) {
	for ten := math.Pow(10, math.Floor(math.Log10(low))); ten <= high; ten *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if v := n * ten; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
			}
		}
	}
	return ticks
}

type style struct {
	line  draw.LineStyle
	glyph draw.GlyphStyle
}

// Colours that the colour-blind can tell apart (Okabe and Ito), and shapes beside them.
var (
	colours = []color.RGBA{
		{0, 0, 0, 255},
		{0, 114, 178, 255},
		{213, 94, 0, 255},
		{0, 158, 115, 255},
		{204, 121, 167, 255},
		{230, 159, 0, 255},
		{86, 180, 233, 255},
	}
	shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{}}
)

// styleOf makes this library's lines thick and the limit's dashed.
func styleOf(i int, of Role) style {
	c := colours[i%len(colours)]
	s := style{draw.LineStyle{Color: c, Width: vg.Points(1)}, draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: shapes[i%len(shapes)]}}
	switch of {
	case Own:
		s.line.Width = vg.Points(2.5)
	case Limit, Aside, Check:
		s.line.Dashes = []vg.Length{vg.Points(6), vg.Points(3)}
	}
	return s
}
