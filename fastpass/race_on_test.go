//go:build race

package fastpass

const raceEnabled = true
