//go:build dtls12

package main

import (
	"errors"

	"github.com/pion/dtls/v3"
)

// These releases refuse the empty server_name by which a server says that it has used the client's
// (RFC 6066 section 3), and send none for an address.
const serverName = "127.0.0.1"

// Releases up to 3.1 speak DTLS 1.2 alone, and have no options for versions.
func versions(version string) []dtls.Option {
	if version != "1.2" {
		must(errors.New("this build speaks DTLS 1.2 alone"))
	}
	return nil
}
