package sys

// MaxRights is how many descriptors the kernel takes in one message: 16 bytes for each in a cluster of 2 KiB
// (unp_internalize).
const MaxRights = 127
