module example.com/fdpass/fuzz

go 1.26.0

require (
	example.com/fdpass v0.0.0
	golang.org/x/sys v0.49.0
)

replace example.com/fdpass => ../
