package main

import (
	"os/exec"
	"syscall"
)

// tie sees to it that no stopped process is left if this one dies: it is continued, finds its link gone and ends.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGCONT} }
