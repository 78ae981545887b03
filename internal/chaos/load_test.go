//go:build linux

package main

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestAClientTakesOnlyItsOwnAnswerAndOnce(t *testing.T) {
	for name, test := range map[string]struct {
		answer  string // %s: the token
		answers []int
		trouble string
	}{
		"its own":           {"% 3 100 1\n", []int{3}, ""},
		"twice":             {"% 3 100 1\n% 4 101 1\n", []int{3, 4}, ""},
		"none":              {"", nil, "closed without"},
		"another's":         {"other 3 100 1\n", nil, "wrong answer"},
		"a byte is missing": {"x% 3 100 1\n", nil, "wrong answer"},
		"cut off":           {"% 3 1", nil, "wrong answer"},
		"and more":          {"% 3 100 1\nmore", []int{3}, "wrong answer"},
	} {
		for seed := range uint64(20) { // all ways to send
			here, there := net.Pipe()
			token := token(seed)
			go func() {
				defer there.Close()
				got, err := bufio.NewReader(there).ReadString('\n')
				if err != nil || got != token+"\n" {
					t.Errorf("%s: sent is %q, %v", name, got, err)
				}
				io.WriteString(there, strings.ReplaceAll(test.answer, "%", token))
			}()
			o := talk(here, token, rand.New(rand.NewPCG(seed, 0)))
			here.Close()
			if !slices.Equal(o.answers, test.answers) || (o.trouble == "") != (test.trouble == "") || !strings.Contains(o.trouble, test.trouble) {
				t.Errorf("%s: %+v", name, o)
			}
		}
	}
}
