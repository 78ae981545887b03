package result

import "slices"

// Figure is the median of some samples, with their spread.
type Figure struct {
	Median  float64   `json:"median"`
	Q1      float64   `json:"q1"`
	Q3      float64   `json:"q3"`
	Samples []float64 `json:"samples"` // one per round, in order
}

// Of returns the figure of some samples.
func Of(samples []float64) Figure {
	if len(samples) == 0 {
		return Figure{}
	}
	v := slices.Sorted(slices.Values(samples))
	return Figure{quantile(v, 0.5), quantile(v, 0.25), quantile(v, 0.75), samples}
}

// quantile interpolates between the two nearest of the sorted values.
func quantile(v []float64, q float64) float64 {
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 == len(v) {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}
