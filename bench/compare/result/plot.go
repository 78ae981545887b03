package result

import (
	"fmt"
	"image/color"
	"path/filepath"
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
			if !m.Chart {
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

func (s *Suite) charts(group string) (names []string) {
	for _, m := range s.Metrics {
		if m.Chart {
			names = append(names, s.chart(group, m))
		}
	}
	return names
}

func (s *Suite) plot(group string, m Metric, path string) error {
	p := plot.New()
	p.Title.Text = s.Title + ": " + group
	p.Title.Padding = vg.Points(8)
	p.Y.Label.Text = m.Name
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	cases := s.InGroup(group)
	lines := false
	for _, c := range cases {
		lines = lines || c.X != cases[0].X
	}
	var drawn int
	var err error
	if lines {
		drawn, err = s.lines(p, cases, m)
	} else {
		drawn, err = s.bars(p, cases, m)
	}
	if err != nil || drawn == 0 {
		return err
	}
	return p.Save(26*vg.Centimeter, 15*vg.Centimeter, path)
}

// lines draws one line for each contender over the X of the cases, with its quartiles.
func (s *Suite) lines(p *plot.Plot, cases []Case, m Metric) (drawn int, err error) {
	p.X.Scale = plot.LogScale{}
	var ticks []plot.Tick
	for _, c := range cases {
		ticks = append(ticks, plot.Tick{Value: c.X, Label: c.Label})
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	p.Legend.XOffs = vg.Centimeter / 2
	for i, of := range s.Contenders {
		var xy spread
		for _, c := range cases {
			if f, ok := s.Figure(c.Name, of.Name, m.Key); ok && f.Q1 > 0 {
				xy.XYs = append(xy.XYs, plotter.XY{X: c.X, Y: f.Median})
				xy.YErrors = append(xy.YErrors, struct{ Low, High float64 }{f.Median - f.Q1, f.Q3 - f.Median})
			}
		}
		if len(xy.XYs) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(xy.XYs)
		if err != nil {
			return drawn, err
		}
		bars, err := plotter.NewYErrorBars(xy)
		if err != nil {
			return drawn, err
		}
		style := styleOf(i, of.Role)
		line.LineStyle, points.GlyphStyle = style.line, style.glyph
		bars.LineStyle.Color = style.line.Color
		p.Add(bars, line, points)
		p.Legend.Add(of.Name, line, points)
		drawn++
	}
	return drawn, nil
}

// spread is what NewYErrorBars wants.
type spread struct {
	plotter.XYs
	plotter.YErrors
}

// bars draws the contenders side by side, each case in a shade of its own.
func (s *Suite) bars(p *plot.Plot, cases []Case, m Metric) (drawn int, err error) {
	var names []string
	var shown []Contender
	for _, of := range s.Contenders {
		for _, c := range cases {
			if f, ok := s.Figure(c.Name, of.Name, m.Key); ok && f.Q1 > 0 {
				shown, names = append(shown, of), append(names, of.Name)
				break
			}
		}
	}
	p.NominalX(names...)
	p.X.Tick.Label.Rotation = 0.6
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XRight, draw.YCenter
	for i, c := range cases {
		var xy spread
		at := (float64(i) - float64(len(cases)-1)/2) * 0.18
		for n, of := range shown {
			if f, ok := s.Figure(c.Name, of.Name, m.Key); ok && f.Q1 > 0 {
				xy.XYs = append(xy.XYs, plotter.XY{X: float64(n) + at, Y: f.Median})
				xy.YErrors = append(xy.YErrors, struct{ Low, High float64 }{f.Median - f.Q1, f.Q3 - f.Median})
			}
		}
		if len(xy.XYs) == 0 {
			continue
		}
		points, err := plotter.NewScatter(xy.XYs)
		if err != nil {
			return drawn, err
		}
		bars, err := plotter.NewYErrorBars(xy)
		if err != nil {
			return drawn, err
		}
		style := styleOf(i, Peer)
		points.GlyphStyle, bars.LineStyle.Color = style.glyph, style.line.Color
		p.Add(bars, points)
		p.Legend.Add(c.Label, points)
		drawn++
	}
	return drawn, nil
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
	case Limit, Check:
		s.line.Dashes = []vg.Length{vg.Points(6), vg.Points(3)}
	}
	return s
}
