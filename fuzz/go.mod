module example.com/fdpass/fuzz

go 1.26.0

require (
	example.com/fdpass v0.0.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/valyala/bytebufferpool v1.0.0 // indirect
)

replace example.com/fdpass => ../
