//go:build linux && !fdpass_portable

package sys

import (
	"runtime"
	"unsafe"

	"example.com/fdpass/internal/page"

	"golang.org/x/sys/unix"
)

// NewPage implements Kernel.
func (*system) NewPage() (*page.Page, int) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("fastpass", flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("fastpass", flags)
	}
	if err != nil {
		return nil, -1
	}
	if unix.Ftruncate(fd, page.Size) == nil {
		if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err == nil {
			if p := mapPage(fd); p != nil {
				return p, fd
			}
		}
	}
	unix.Close(fd)
	return nil, -1
}

// MapPage implements Kernel. Whoever sent the descriptor could shrink a file without a seal, which would kill this
// process when it looks at its mapping. Only memory has seals: asking for them does not ask a filesystem.
func (*system) MapPage(fd int) *page.Page {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return nil
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Size != page.Size {
		return nil
	}
	return mapPage(fd)
}

// mapPage maps the file, and has the kernel make the page now, when a lack of memory is only an error. It stays mapped
// as long as the Page is reachable.
func mapPage(fd int) *page.Page {
	b, err := unix.Mmap(fd, 0, page.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil
	}
	// The mapping begins at a page, so every word is aligned, and is as long as Words at least.
	p := page.Of((*page.Words)(unsafe.Pointer(unsafe.SliceData(b))), nil)
	runtime.AddCleanup(p, func(b []byte) { unix.Munmap(b) }, b)
	return p
}
