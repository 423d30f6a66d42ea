// What Go's library does in a function: each query string is one part.  A
// program of its own, by net/http/fcgi on descriptor 0.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/fcgi"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"
)

type part func(*http.Request) (any, error)

func routines(*http.Request) (any, error) {
	numbers, sums := make(chan int), make(chan int)
	for i := 0; i < 1000; i++ {
		go func() {
			sum := 0
			for n := range numbers {
				sum += n
			}
			sums <- sum
		}()
	}
	for n := 1; n <= 10000; n++ {
		numbers <- n
	}
	close(numbers)
	total := 0
	for i := 0; i < 1000; i++ {
		total += <-sums
	}
	// One that never calls anything is interrupted by a signal all the same.
	is_over := false
	time.AfterFunc(20*time.Millisecond, func() { is_over = true })
	until := time.Now().Add(5 * time.Second)
	for !is_over && time.Now().Before(until) {
		runtime.Gosched()
	}
	return total, nil
}

// A gigabyte, of which some twenty megabytes live at a time.
func garbage(*http.Request) (any, error) {
	live := make([][]byte, 20)
	var wait sync.WaitGroup
	for w := 0; w < 4; w++ {
		wait.Add(1)
		go func(w int) {
			defer wait.Done()
			for i := 0; i < 256; i++ {
				piece := make([]byte, 1<<20)
				piece[i] = 1
				live[w*5+i%5] = piece
			}
		}(w)
	}
	wait.Wait()
	var facts runtime.MemStats
	runtime.ReadMemStats(&facts)
	if facts.TotalAlloc < 1<<30 || facts.NumGC == 0 {
		return nil, fmt.Errorf("%d bytes, %d collections",
			facts.TotalAlloc, facts.NumGC)
	}
	return len(live), nil
}

func body(r *http.Request) (any, error) {
	data, err := io.ReadAll(r.Body)
	return len(data), err
}

func certificate() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		DNSNames: []string{"localhost"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template,
		&key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pool, err
}

// HTTPS between its own ends, over a Unix socket.
func https(*http.Request) (any, error) {
	own, pool, err := certificate()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", "/tmp/https.sock")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	server := &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			w.Write(data)
		}), TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}}}
	go server.ServeTLS(listener, "", "")
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial("unix", "/tmp/https.sock")
		}}}
	answer, err := client.Post("https://localhost/", "text/plain",
		strings.NewReader(strings.Repeat("x", 200000)))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(answer.Body)
	return len(data), err
}

// io.Copy asks for copy_file_range and splice first.
func files(*http.Request) (any, error) {
	in, err := os.CreateTemp("", "g")
	if err != nil {
		return nil, err
	}
	in.Write(bytes.Repeat([]byte("y"), 300000))
	in.Seek(0, 0)
	out, err := os.Create("/data/go")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	if _, err = io.Copy(out, in); err != nil {
		return nil, err
	}
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	here, there := os.NewFile(uintptr(ends[0]), "a"),
		os.NewFile(uintptr(ends[1]), "b")
	connection, err := net.FileConn(here)
	if err != nil {
		return nil, err
	}
	here.Close()
	go func() {
		there.Write(bytes.Repeat([]byte("z"), 100000))
		there.Close()
	}()
	if _, err = io.Copy(out, connection); err != nil {
		return nil, err
	}
	facts, err := out.Stat()
	if err != nil {
		return nil, err
	}
	return facts.Size(), syscall.Flock(int(out.Fd()), syscall.LOCK_EX)
}

func children(*http.Request) (any, error) {
	tr := exec.Command("tr", "a-z", "A-Z")
	tr.Stdin = strings.NewReader("through a child")
	text, err := tr.Output()
	if err != nil || string(text) != "THROUGH A CHILD" {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	soon, cancel := context.WithTimeout(context.Background(),
		200*time.Millisecond)
	defer cancel()
	if exec.CommandContext(soon, "sleep", "20").Run() == nil {
		return nil, errors.New("no time-out")
	}
	text, err = exec.Command("sh", "-c", "expr 6 \\* 7").Output()
	return strings.TrimSpace(string(text)), err
}

func facts(*http.Request) (any, error) {
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		return nil, err
	}
	var profile bytes.Buffer
	if err = pprof.StartCPUProfile(&profile); err != nil {
		return nil, err
	}
	time.Sleep(50 * time.Millisecond)
	pprof.StopCPUProfile()
	authorities, err := x509.SystemCertPool()
	if err != nil || len(authorities.Subjects()) < 20 {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	return fmt.Sprint(who.Username, " ", time.Unix(0, 0).In(tokyo).Hour()), nil
}

func network(*http.Request) (any, error) {
	_, err := net.DialTimeout("tcp", "127.0.0.1:8", 2*time.Second)
	if !errors.Is(err, syscall.EAFNOSUPPORT) {
		return nil, fmt.Errorf("not refused: %w", err)
	}
	// Where hosts are only in files, Go 1.19 finds none and no error.
	found, _ := net.LookupHost("example.org")
	if len(found) > 0 {
		return nil, errors.New("resolved")
	}
	return "no network", nil
}

var parts = map[string]part{
	"routines": routines,
	"garbage":  garbage,
	"body":     body,
	"https":    https,
	"files":    files,
	"children": children,
	"facts":    facts,
	"network":  network,
}

func main() {
	err := fcgi.Serve(nil, http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			name := r.URL.RawQuery
			found, err := parts[name](r)
			if err != nil {
				w.WriteHeader(500)
				fmt.Fprintf(w, "%s: %v\n", name, err)
				return
			}
			fmt.Fprintf(w, "%s: ok %v\n", name, found)
		}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
