package sys

// Credentials are those of the process at the other end when it connected, or made the pair.
type Credentials struct {
	PID, UID, GID int // -1: this system does not tell
}

var unknownCredentials = Credentials{-1, -1, -1}
