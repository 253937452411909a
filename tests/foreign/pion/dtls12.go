//go:build dtls12

package main

import (
	"errors"

	"github.com/pion/dtls/v3"
)

// Releases up to 3.1 speak DTLS 1.2 alone, and have no options for versions.
func versions(version string) []dtls.Option {
	if version != "1.2" {
		must(errors.New("this build speaks DTLS 1.2 alone"))
	}
	return nil
}
