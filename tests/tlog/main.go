// SPDX-License-Identifier: Apache-2.0

// Reads what certsync publishes and proves, with other people's code for transparency logs: golang.org/x/mod/sumdb/note
// and github.com/transparency-dev/merkle. Standard input: {"key": vkey, "notes": [checkpoint], "leaves": [base64],
// "proof": tlog-proof, "witnesses": {vkey: note}}. Every note must be signed, and have the root of the first leaves; the
// proof must hold; each witness must have cosigned its note (c2sp.org/tlog-cosignature, Ed25519).
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

type input struct {
	Key    string
	Notes  []string
	Leaves [][]byte
	Proof  string
	// by the witness's key
	Witnesses map[string]string
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A checkpoint's size and root, if the key has signed it.
func open(text string, key note.Verifier) (uint64, []byte) {
	n, err := note.Open([]byte(text), note.VerifierList(key))
	must(err)
	lines := strings.Split(n.Text, "\n")
	size, err := strconv.ParseUint(lines[1], 10, 64)
	must(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	return size, root
}

// A witness's key, for the note package: it verifies the signature of any kind that a verifier is given for.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) witness {
	name, rest, _ := strings.Cut(vkey, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	hash, err := strconv.ParseUint(id, 16, 32)
	must(err)
	key, err := base64.StdEncoding.DecodeString(encoded)
	must(err)
	sum := sha256.Sum256([]byte(name + "\n" + string(key)))
	if len(key) != 33 || key[0] != 4 || uint64(binary.BigEndian.Uint32(sum[:4])) != hash {
		log.Fatalf("%s is no key of cosignatures", vkey)
	}
	return witness{name, uint32(hash), key[1:]}
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(signature))
	return ed25519.Verify(w.key, append([]byte(head), text...), signature[8:])
}

func rootOf(leaves [][]byte) []byte {
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	all := factory.NewEmptyRange(0)
	for _, leaf := range leaves {
		must(all.Append(rfc6962.DefaultHasher.HashLeaf(leaf), nil))
	}
	root, err := all.GetRootHash(nil)
	must(err)
	return root
}

func checkProof(text string, key note.Verifier) {
	head, checkpoint, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if !found || lines[0] != "c2sp.org/tlog-proof@v1" {
		log.Fatal("this is no proof")
	}
	value, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	must(err)
	index, err := strconv.ParseUint(strings.TrimPrefix(lines[2], "index "), 10, 64)
	must(err)
	var hashes [][]byte
	for _, line := range lines[3:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		must(err)
		hashes = append(hashes, hash)
	}
	size, root := open(checkpoint, key)
	must(proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, rfc6962.DefaultHasher.HashLeaf(value), hashes, root))
}

func main() {
	var in input
	must(json.NewDecoder(os.Stdin).Decode(&in))
	key, err := note.NewVerifier(in.Key)
	must(err)
	for _, text := range in.Notes {
		size, root := open(text, key)
		if !bytes.Equal(root, rootOf(in.Leaves[:size])) {
			log.Fatalf("the checkpoint of %d outcomes has another root", size)
		}
	}
	checkProof(in.Proof, key)
	for vkey, text := range in.Witnesses {
		open(text, key)
		open(text, newWitness(vkey))
	}
	fmt.Printf("well: %d checkpoints, %d cosigned\n", len(in.Notes), len(in.Witnesses))
}
