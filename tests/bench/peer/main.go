// SPDX-License-Identifier: Apache-2.0

// For ./dev bench api: a server that gives the API's answers to GET …/outcomes/{event}, …/certificates/{id} and …/certificates with
// Go's net/http and go-redis, as one would write it there ("serve"), and a client of many connections that measures either ("load").
// Its documents in Redis are its own, plain JSON.
package main

import (
	"bufio"
	"bytes"
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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ---- the peer

type server struct {
	redis      *redis.Client
	prefix     string // of its keys
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
	path := strings.Split(r.URL.Path, "/") // "", v1, accounts, A, outcomes or certificates, id
	if r.Method != "GET" || len(path) < 5 || len(path) > 6 || path[2] != "accounts" {
		s.problem(w, 404)
		return
	}
	account := path[3]
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
	text, ok := known[1].(string)
	if !ok || json.Unmarshal([]byte(text), &agent) != nil || agent.State != "active" || !verify(agent.Key, signed, sig) {
		s.problem(w, 401)
		return
	}
	var body []byte
	switch {
	case len(path) == 6 && path[4] == "outcomes":
		body, err = s.outcome(r.Context(), account, path[5])
	case len(path) == 6:
		body, err = s.certificate(r.Context(), account, path[5])
	default:
		body, err = s.list(r.Context(), account)
	}
	if err != nil {
		s.problem(w, 503)
	} else if body == nil {
		s.problem(w, 404)
	} else {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	}
}

func (s *server) outcome(ctx context.Context, account, event string) ([]byte, error) {
	found, err := s.redis.MGet(ctx, s.prefix+"outcome/"+account+"/"+event, s.prefix+"pos").Result()
	if err != nil {
		return nil, err
	}
	text, _ := found[0].(string)
	return []byte(text), nil
}

// ---- certificates

type stored struct {
	ID, Name, Algorithm, Source        string
	Version                            int
	NotBefore, NotAfter, Ends          int64
	Names                              []string
	NamesTotal                         int
	Serial, Fingerprint, Spki, KeyType string
	KeyBits                            int
	Subject, Issuer, By                string
	Tags                               []string
	Created, Updated                   int64
	SharesTotal                        int
}

type shown struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Algorithm   string     `json:"algorithm"`
	Source      string     `json:"source"`
	Version     int        `json:"version"`
	Status      string     `json:"status"`
	DaysLeft    int64      `json:"days_left"`
	NotBefore   string     `json:"not_before"`
	NotAfter    string     `json:"not_after"`
	Ends        string     `json:"ends"`
	Names       []string   `json:"names"`
	NamesTotal  int        `json:"names_total"`
	Serial      string     `json:"serial"`
	Fingerprint string     `json:"fingerprint"`
	Spki        string     `json:"spki_sha256"`
	KeyType     string     `json:"key_type"`
	KeyBits     int        `json:"key_bits"`
	Subject     string     `json:"subject"`
	Issuer      string     `json:"issuer"`
	Tags        []string   `json:"tags"`
	By          string     `json:"by"`
	Created     string     `json:"created"`
	Updated     string     `json:"updated"`
	Chain       [][]string `json:"chain,omitempty"`
	SharesTotal int        `json:"shares_total"`
	Shares      []string   `json:"shares"`
}

func when(s int64) string { return time.Unix(s, 0).UTC().Format("2006-01-02T15:04:05Z") }

func show(text string, now int64, chain [][]string) (shown, error) {
	var c stored
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return shown{}, err
	}
	status := "valid"
	switch {
	case c.Ends < now:
		status = "expired"
	case c.NotBefore > now:
		status = "not-yet-valid"
	case c.Ends-now < 30*86400:
		status = "expiring"
	}
	return shown{c.ID, c.Name, c.Algorithm, c.Source, c.Version, status, (c.Ends - now) / 86400, when(c.NotBefore), when(c.NotAfter),
		when(c.Ends), c.Names, c.NamesTotal, c.Serial, c.Fingerprint, c.Spki, c.KeyType, c.KeyBits, c.Subject, c.Issuer, c.Tags, c.By,
		when(c.Created), when(c.Updated), chain, c.SharesTotal, []string{}}, nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (s *server) certificate(ctx context.Context, account, id string) ([]byte, error) {
	found, err := s.redis.MGet(ctx, s.prefix+"cert/"+account+"/"+id, s.prefix+"chain/"+account+"/"+id, s.prefix+"pos").Result()
	if err != nil {
		return nil, err
	}
	document, ok := found[0].(string)
	chains, ok2 := found[1].(string)
	if !ok || !ok2 {
		return nil, nil
	}
	var chain [][]string
	if err := json.Unmarshal([]byte(chains), &chain); err != nil {
		return nil, err
	}
	item, err := show(document, time.Now().Unix(), chain)
	if err != nil {
		return nil, err
	}
	return marshal(item)
}

const pageLimit = 100

func (s *server) list(ctx context.Context, account string) ([]byte, error) {
	members, err := s.redis.ZRangeByLex(ctx, s.prefix+"view/"+account,
		&redis.ZRangeBy{Min: "-", Max: "+", Count: pageLimit}).Result() // "<name>/c/<id>"
	if err != nil {
		return nil, err
	}
	page := struct {
		Certificates []shown `json:"certificates"`
	}{[]shown{}}
	keys := make([]string, 0, len(members)+1)
	for _, member := range members {
		keys = append(keys, s.prefix+"cert/"+account+"/"+member[strings.LastIndexByte(member, '/')+1:])
	}
	found, err := s.redis.MGet(ctx, append(keys, s.prefix+"pos")...).Result()
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	for _, one := range found[:len(members)] {
		document, ok := one.(string)
		if !ok {
			continue
		}
		item, err := show(document, now, nil)
		if err != nil {
			return nil, err
		}
		page.Certificates = append(page.Certificates, item)
	}
	return marshal(page)
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
