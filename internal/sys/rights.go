//go:build !openbsd

package sys

import "example.com/fdpass/cmsgpool"

// MaxRights is how many descriptors the kernel takes in one message.
const MaxRights = cmsgpool.MaxFDs
