package sys

import "runtime"

// HasSeqpacket tells whether AF_UNIX sockets that keep messages whole and in order are to be had.
const HasSeqpacket = runtime.GOOS != "darwin" && runtime.GOOS != "ios" && runtime.GOOS != "solaris" && runtime.GOOS != "illumos"
