package fastpass

// Credentials are those of the process at the other end of a link, as they were when it connected or made the pair.
// Linux tells all three, macOS and FreeBSD the user and the group; what the system does not tell is -1.
type Credentials struct {
	PID, UID, GID int
}
