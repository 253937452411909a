// Drives pion/dtls for the tests: one client, or a server of one association, echoing lines.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/pion/dtls/v3"
)

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// Sends the message until it comes back.
func ask(conn *dtls.Conn, message string) {
	buffer := make([]byte, 8192)
	for i := 0; i < 20; i++ {
		_, err := conn.Write([]byte(message))
		must(err)
		must(conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)))
		n, err := conn.Read(buffer)
		if err == nil && string(buffer[:n]) == message {
			fmt.Println("echoed:", message)
			return
		}
	}
	os.Exit(1)
}

func main() {
	role := flag.String("role", "client", "client or server")
	addr := flag.String("addr", "", "where to dial, or to listen")
	cert := flag.String("cert", "", "PEM certificate chain")
	key := flag.String("key", "", "PEM key")
	ca := flag.String("ca", "", "PEM of the CA to trust")
	version := flag.String("version", "1.3", "1.2 or 1.3")
	mtu := flag.Int("mtu", 1200, "datagram size")
	mutual := flag.Bool("mutual", false, "ask the client for a certificate")
	lines := flag.Bool("lines", false, "as a client: send the lines of standard input, too")
	cid := flag.Int("cid", -1, "length of our connection id")
	flag.Parse()

	pool := x509.NewCertPool()
	pem, err := os.ReadFile(*ca)
	must(err)
	pool.AppendCertsFromPEM(pem)
	common := append(versions(*version),
		dtls.WithMTU(*mtu), dtls.WithFlightInterval(200*time.Millisecond),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
	)
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		must(err)
		common = append(common, dtls.WithCertificates(pair))
	}
	if *cid >= 0 {
		common = append(common, dtls.WithConnectionIDGenerator(dtls.RandomCIDGenerator(*cid)))
	}
	target, err := net.ResolveUDPAddr("udp", *addr)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	buffer := make([]byte, 8192)
	if *role == "client" {
		options := []dtls.ClientOption{}
		for _, option := range common {
			options = append(options, option)
		}
		options = append(options, dtls.WithRootCAs(pool), dtls.WithServerName(serverName))
		conn, err := dtls.DialWithOptions("udp", target, options...)
		must(err)
		must(conn.HandshakeContext(ctx))
		fmt.Println("connected")
		ask(conn, "from pion")
		if *lines {
			for input := bufio.NewScanner(os.Stdin); input.Scan(); {
				ask(conn, input.Text())
			}
		}
		must(conn.Close())
		return
	}
	options := []dtls.ServerOption{}
	for _, option := range common {
		options = append(options, option)
	}
	if *mutual {
		options = append(options, dtls.WithClientAuth(dtls.RequireAndVerifyClientCert), dtls.WithClientCAs(pool))
	}
	listener, err := dtls.ListenWithOptions("udp", target, options...)
	must(err)
	fmt.Println("listening")
	accepted, err := listener.Accept()
	must(err)
	conn := accepted.(*dtls.Conn)
	must(conn.HandshakeContext(ctx))
	fmt.Println("connected")
	must(conn.SetReadDeadline(time.Now().Add(60 * time.Second)))
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		_, err = conn.Write(buffer[:n])
		must(err)
	}
}
