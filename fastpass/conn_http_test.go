//go:build unix

package fastpass

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// connListener yields every accepted connection as a Conn, as if it had been passed.
type connListener struct {
	net.Listener
	t        testing.TB
	accepted atomic.Int64
}

func (l *connListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.accepted.Add(1)
	return NewConn(Desc{FD: connDetach(l.t, c)})
}

// connServe runs an unchanged http.Server, with TLS if cert is not nil, until the test ends.
func connServe(t *testing.T, h http.Handler, cert *tls.Certificate) (url string, ln *connListener) {
	t.Helper()
	ln = &connListener{Listener: connListen(t, "tcp4"), t: t}
	srv := &http.Server{Handler: h, ErrorLog: log.New(connLog{t}, "", 0)}
	serve, scheme := srv.Serve, "http://"
	if cert != nil {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
		serve, scheme = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }, "https://"
	}
	served := make(chan error, 1)
	go func() { served <- serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return scheme + ln.Addr().String(), ln
}

// connLog turns what the server complains about into a failure.
type connLog struct{ t testing.TB }

func (l connLog) Write(b []byte) (int, error) {
	l.t.Errorf("server: %s", b)
	return len(b), nil
}

func connCertificate(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "conn test"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestConnCarriesNetHTTPUnchanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "body")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	if err := os.WriteFile(file, big, 0o600); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 needs none
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr+" "+r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	})

	cert, roots := connCertificate(t)
	for _, tt := range []struct {
		name      string
		cert      *tls.Certificate
		transport *http.Transport
		conns     int64 // for 12 requests
	}{
		{"keep-alive", nil, &http.Transport{}, 1},
		{"Connection: close", nil, &http.Transport{DisableKeepAlives: true}, 12},
		{"TLS", cert, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, 1},
		{"TLS and HTTP/2", cert, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, ln := connServe(t, mux, tt.cert)
			client := &http.Client{Transport: tt.transport}
			defer client.CloseIdleConnections()
			do := func(path string, body io.Reader, want []byte) []byte {
				resp, err := client.Post(url+path, "application/octet-stream", body)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				if want != nil && !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes came back, want %d", path, len(got), len(want))
				}
				return got
			}
			for range 3 {
				do("/echo", bytes.NewReader([]byte("small")), []byte("small"))
				do("/echo", bytes.NewReader(big), big)
				do("/file", nil, big)
				who := string(do("/who", nil, nil))
				remote, local, _ := bytes.Cut([]byte(who), []byte(" "))
				if string(local) != ln.Addr().String() || !bytes.HasPrefix(remote, []byte("127.0.0.1:")) {
					t.Errorf("the handler sees %q", who)
				}
			}
			if n := ln.accepted.Load(); n != tt.conns {
				t.Errorf("%d connections, want %d", n, tt.conns)
			}
		})
	}
}

func TestConnServesARequestWhoseBeginningIsItsPayload(t *testing.T) {
	fd, peer := connSocket(t, "tcp4")
	c := connNew(t, Desc{FD: fd, Payload: []byte("GET / HTTP/1.1\r\nHost: exam")})
	ln := &connOnce{conns: make(chan net.Conn, 1)}
	ln.conns <- c
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
		close(ln.conns)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	if _, err := io.WriteString(peer, "ple.com\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(peer); err != nil || !bytes.HasSuffix(got, []byte("\r\n\r\nexample.com")) {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-served; err != io.EOF {
		t.Error(err)
	}
}

// connOnce is a listener that has its connections already.
type connOnce struct{ conns chan net.Conn }

func (l *connOnce) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, io.EOF
}
func (l *connOnce) Close() error   { return nil }
func (l *connOnce) Addr() net.Addr { return &net.TCPAddr{} }

func TestConnCarriesTLSWithHalfClose(t *testing.T) {
	cert, roots := connCertificate(t)
	c, peer := connPair(t, "tcp4")
	server := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}})
	client := tls.Client(peer, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	data := bytes.Repeat([]byte("secret"), 1<<17)
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(data)
		sent <- errors.Join(err, client.CloseWrite())
	}()
	got, err := io.ReadAll(server)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes: %v", len(got), err)
	}
	go func() {
		_, err := server.Write([]byte("answer"))
		sent <- errors.Join(err, server.Close())
	}()
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("the answer is %q, %v", got, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestConnDeadlineEndsATLSHandshake(t *testing.T) {
	cert, _ := connCertificate(t)
	c, _ := connPair(t, "tcp4")
	if err := c.SetDeadline(connLongAgo); err != nil {
		t.Fatal(err)
	}
	connWantTimeout(t, tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}}).Handshake())
}
