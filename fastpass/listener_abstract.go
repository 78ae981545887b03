//go:build unix

package fastpass

import "runtime"

// hasAbstract tells whether sockets can have names outside the filesystem; package net writes them with an "@".
const hasAbstract = runtime.GOOS == "linux" || runtime.GOOS == "android"
