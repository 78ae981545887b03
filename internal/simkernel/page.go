//go:build linux

package simkernel

import "example.com/fdpass/internal/page"

// NewPage implements sys.Kernel. Where there are no vectors there are no pages either.
func (p *Process) NewPage() (*page.Page, int) {
	if p.k.OneByOne {
		return nil, -1
	}
	fd, f, errno := p.Open()
	if errno != 0 {
		return nil, -1
	}
	f.page = new(page.Words)
	return p.view(f), fd
}

// MapPage implements sys.Kernel.
func (p *Process) MapPage(fd int) *page.Page {
	if f := p.File(fd); f != nil && f.page != nil {
		return p.view(f)
	}
	return nil
}

// view is what the process sees of a page: once it is dead it writes nothing.
func (p *Process) view(f *File) *page.Page { return page.Of(f.page, func() bool { return !p.Dead() }) }
