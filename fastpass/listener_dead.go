//go:build unix

package fastpass

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var errInUse = fmt.Errorf("another process, or this one, listens there: %w", syscall.EADDRINUSE)

// checkDead returns nil if there is a socket of this process's user at path that no process has open.
func checkDead(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return bareError(err)
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("it is %s, which is not replaced: %w", kindOf(fi.Mode()), fs.ErrExist)
	}
	if owner, own := int(fi.Sys().(*syscall.Stat_t).Uid), os.Geteuid(); owner != own {
		return fmt.Errorf("it is a socket of user %d, and this process, of user %d, replaces only its own: %w", owner, own, fs.ErrPermission)
	}
	switch errno := probeSocket(path); errno {
	case syscall.ECONNREFUSED:
		return nil
	case 0, syscall.EPROTOTYPE, syscall.EPERM: // EPERM: a datagram socket that is connected to another one
		return errInUse
	default:
		return fmt.Errorf("there is a socket, and whether it is in use cannot be told: %w", os.NewSyscallError("connect", errno))
	}
}

// probeSocket connects a datagram socket to path: a living stream or seqpacket socket refuses that with EPROTOTYPE,
// and its owner notices nothing; one that is bound and does not listen yet does as well. A dead one answers
// ECONNREFUSED.
func probeSocket(path string) syscall.Errno {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		defer unix.Close(fd)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	return errnoOf(err)
}

// placeLocks keeps goroutines apart: record locks belong to the process.
var placeLocks sync.Mutex

const lockPatience = 5 * time.Second

// lockPlace takes a lock that processes of this user share which want to replace what is at path. It is a file beside
// it, of mode 0600, so that no other user can hold the lock, and the one who has it removes the file before letting
// go of it: a process that has the lock on a file that is not there any more has nothing, and tries again.
func lockPlace(path string) (unlock func(), err error) {
	placeLocks.Lock()
	dir, base := filepath.Split(path)
	name := dir + "." + base + ".fastpass-lock"
	var f *os.File
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	for pause := (backoff{first: time.Millisecond, most: 16 * time.Millisecond}); ; {
		if f, err = tryLock(name); err != errLocked {
			break
		}
		if pause.wait(ctx, nil) != nil {
			break
		}
	}
	if err != nil {
		placeLocks.Unlock()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() {
		os.Remove(name)
		f.Close()
		placeLocks.Unlock()
	}, nil
}

var errLocked = fmt.Errorf("another process has held it for %v while replacing the same socket; try again, or end that process", lockPatience)

func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, bareError(err)
	}
	if err = lockFile(f, name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockFile locks f, if it is still the file called name.
func lockFile(f *os.File, name string) error {
	fi, err := f.Stat()
	if err != nil {
		return bareError(err)
	}
	if !fi.Mode().IsRegular() || int(fi.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return fmt.Errorf("it is not this user's file: %w", fs.ErrPermission)
	}
	if fi.Size() > 0 {
		return fmt.Errorf("it is no lock, for there is something in it: %w", fs.ErrExist)
	}
	switch err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err {
	case nil:
	case unix.EAGAIN, unix.EACCES, unix.EINTR:
		return errLocked
	default:
		return os.NewSyscallError("fcntl", err)
	}
	if now, err := os.Lstat(name); err != nil || !os.SameFile(fi, now) {
		return errLocked // by one who has removed it since
	}
	return nil
}
