// Package policy has what the programs of this repository share of pools' policies: their names, and one that tags each
// connection with its client.
package policy

import (
	"strings"

	"example.com/fdpass/fastpass"
)

// Names are those of the policies of package fastpass, as options have them.
var Names = []string{"round-robin", "least-loaded", "hash"}

var byName = map[string]fastpass.Policy{
	"roundrobin": fastpass.RoundRobin, "leastloaded": fastpass.LeastLoaded, "hash": fastpass.Hash,
}

// ByName returns a policy of package fastpass, by its name there or as in Names; nil if there is none of that name.
func ByName(name string) fastpass.Policy {
	return byName[strings.ToLower(strings.ReplaceAll(name, "-", ""))]
}
