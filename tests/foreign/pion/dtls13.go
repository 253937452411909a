//go:build !dtls12

package main

import (
	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol"
)

const serverName = "localhost"

// The options that allow one version alone.
func versions(version string) []dtls.Option {
	wanted := protocol.Version1_3
	if version == "1.2" {
		wanted = protocol.Version1_2
	}
	return []dtls.Option{dtls.WithMinVersion(wanted), dtls.WithMaxVersion(wanted)}
}
