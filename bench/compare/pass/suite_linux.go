// Package pass is the suite "Passing between two processes".
package pass

import "example.com/fdpass/bench/compare/suite"

func Suite(yardstick string) *suite.Suite { return &suite.Suite{Name: "pass"} }
