// SPDX-License-Identifier: Apache-2.0

// For ./dev bench api: a server that gives the API's answer to GET …/outcomes/{event} with Go's net/http and go-redis, as one would
// write it there ("serve"), and a client of many connections that measures either ("load").
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ---- the peer

type server struct {
	redis      *redis.Client
	prefix     string // "cs:{1}:"
	deployment string
}

type claims struct {
	Iss, Sub, Aud string
	Iat, Exp      int64
}

func (s *server) claimsOf(token string) (header struct{ Alg, Kid string }, c claims, signed string, sig []byte, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	h, e1 := base64.RawURLEncoding.DecodeString(parts[0])
	b, e2 := base64.RawURLEncoding.DecodeString(parts[1])
	sig, e3 := base64.RawURLEncoding.DecodeString(parts[2])
	if e1 != nil || e2 != nil || e3 != nil || json.Unmarshal(h, &header) != nil || json.Unmarshal(b, &c) != nil {
		return
	}
	now := time.Now().Unix()
	ok = header.Alg == "ES256" && c.Iss == header.Kid && c.Aud == s.deployment && c.Exp >= now && c.Exp-c.Iat <= 300 && len(sig) == 64
	return header, c, parts[0] + "." + parts[1], sig, ok
}

func verify(spki []byte, signed string, sig []byte) bool {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return false
	}
	pub, ok := key.(*ecdsa.PublicKey)
	sum := sha256.Sum256([]byte(signed))
	return ok && ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}

func (s *server) problem(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d}`, http.StatusText(status), status)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := make([]byte, 8)
	rand.Read(id)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Request-Id", hex.EncodeToString(id))
	path := strings.Split(r.URL.Path, "/") // "", v1, accounts, A, outcomes, E
	if r.Method != "GET" || len(path) != 6 || path[2] != "accounts" || path[4] != "outcomes" {
		s.problem(w, 404)
		return
	}
	account, event := path[3], path[5]
	header, c, signed, sig, ok := s.claimsOf(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if !ok || c.Sub != account {
		s.problem(w, 401)
		return
	}
	known, err := s.redis.MGet(r.Context(), s.prefix+"trust/"+header.Kid, s.prefix+"key/"+account+"/"+header.Kid,
		s.prefix+"account/"+account, s.prefix+"pos").Result()
	if err != nil {
		s.problem(w, 503)
		return
	}
	var agent struct {
		Key   []byte
		State string
	}
	text, ok := document(known[1])
	if !ok || json.Unmarshal([]byte(text), &agent) != nil || !verify(agent.Key, signed, sig) {
		s.problem(w, 401)
		return
	}
	found, err := s.redis.MGet(r.Context(), s.prefix+"outcome/"+account+"/"+event, s.prefix+"pos").Result()
	if err != nil {
		s.problem(w, 503)
		return
	}
	outcome, ok := document(found[0])
	if !ok {
		s.problem(w, 404)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, outcome)
}

// Behind each document stands a mark of so many bytes (consumer/catalog/authentic.h).
const markLen = 10

func document(stored any) (string, bool) {
	text, ok := stored.(string)
	if !ok || len(text) < markLen {
		return "", false
	}
	return text[:len(text)-markLen], true
}

func serve(args []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", "", "")
	socket := flags.String("redis", "", "")
	prefix := flags.String("prefix", "", "")
	deployment := flags.String("deployment", "", "")
	cert := flags.String("cert", "", "")
	key := flags.String("key", "", "")
	flags.Parse(args)
	s := &server{redis.NewClient(&redis.Options{Network: "unix", Addr: *socket}), *prefix, *deployment}
	h := &http.Server{Addr: *listen, Handler: s, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	if err := s.redis.Ping(context.Background()).Err(); err != nil {
		log.Fatal(err)
	}
	if *cert != "" {
		log.Fatal(h.ListenAndServeTLS(*cert, *key))
	}
	log.Fatal(h.ListenAndServe())
}

// ---- the client

// Reads one answer; its body where wanted.
func answer(r *bufio.Reader) (status int, body []byte, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if first {
			fmt.Sscanf(line, "HTTP/1.1 %d", &status)
		} else if line == "" {
			break
		} else if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			fmt.Sscanf(strings.TrimSpace(value), "%d", &length)
		}
	}
	if length < 0 {
		return 0, nil, fmt.Errorf("an answer without a length")
	}
	body = make([]byte, length)
	_, err = io.ReadFull(r, body)
	return status, body, err
}

func dial(address string, useTLS bool) net.Conn {
	c, err := net.Dial("tcp", address)
	if err == nil && useTLS {
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // a certificate of the benchmark's own
		err = t.Handshake()
		c = t
	}
	if err != nil {
		log.Fatal(err)
	}
	return c
}

func load(args []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	address := flags.String("address", "", "")
	path := flags.String("path", "", "")
	conns := flags.Int("conns", 1, "")
	seconds := flags.Float64("seconds", 5, "")
	useTLS := flags.Bool("tls", false, "")
	flags.Parse(args)
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n", *path, os.Getenv("TOKEN"))
	var wg, ready sync.WaitGroup
	var lock sync.Mutex
	var all []time.Duration
	begin := make(chan struct{})
	var until time.Time
	for i := 0; i < *conns; i++ {
		wg.Add(1)
		ready.Add(1)
		go func() {
			defer wg.Done()
			c := dial(*address, *useTLS)
			r := bufio.NewReader(c)
			var took []time.Duration
			ready.Done()
			<-begin
			for time.Now().Before(until) {
				at := time.Now()
				if _, err := io.WriteString(c, request); err != nil {
					log.Fatal(err)
				}
				status, body, err := answer(r)
				if err != nil || status != 200 {
					log.Fatalf("status %d, %v: %s", status, err, body)
				}
				took = append(took, time.Since(at))
			}
			c.Close()
			lock.Lock()
			all = append(all, took...)
			lock.Unlock()
		}()
	}
	ready.Wait()
	start := time.Now()
	until = start.Add(time.Duration(*seconds * float64(time.Second)))
	close(begin)
	wg.Wait()
	spent := time.Since(start).Seconds()
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Microseconds()) }
	json.NewEncoder(os.Stdout).Encode(map[string]any{"requests": len(all), "seconds": spent, "p50_us": at(0.5), "p99_us": at(0.99)})
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serve(os.Args[2:])
	} else if len(os.Args) > 1 && os.Args[1] == "load" {
		load(os.Args[2:])
	} else {
		log.Fatal("peer serve|load")
	}
}
