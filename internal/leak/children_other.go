//go:build !unix

package leak

func leftChild() string { return "" }
