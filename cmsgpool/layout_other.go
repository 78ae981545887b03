//go:build !unix

package cmsgpool

// Stand-ins with the values of 64-bit Linux: no system call here takes them, but
// what is encoded decodes.
const (
	solSocket = 1
	scmRights = 1
)

var host = layout{header: 16, data: 16, align: 8}
