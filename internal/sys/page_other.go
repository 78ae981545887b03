//go:build unix && (!linux || fdpass_portable)

package sys

import "example.com/fdpass/internal/page"

// NewPage implements Kernel: without seals the end that gets a page could not trust it.
func (*system) NewPage() (*page.Page, int) { return nil, -1 }

// MapPage implements Kernel.
func (*system) MapPage(int) *page.Page { return nil }
