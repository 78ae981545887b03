package page

import (
	"os"
	"testing"

	"example.com/fdpass/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
