module aiodtls/pion

go 1.24.0

// A version with DTLS 1.3; `go get github.com/pion/dtls/v3@main` finds the newest.
require github.com/pion/dtls/v3 v3.2.0
