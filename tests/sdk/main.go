// SPDX-License-Identifier: Apache-2.0
//
// Reads CloudEvents (JSON, one a line) with the official Go SDK, and prints what it read of each as an array:
// type, id, source, subject, time in nanoseconds, sequence, the data as JSON.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

func read(line []byte) ([]any, error) {
	e := event.New()
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, err
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	sequence := "" // a correction has none
	if value, is := e.Extensions()["sequence"]; is {
		text, err := types.ToString(value)
		if err != nil {
			return nil, err
		}
		sequence = text
	}
	return []any{e.Type(), e.ID(), e.Source(), e.Subject(), e.Time().UnixNano(), sequence, json.RawMessage(e.Data())}, nil
}

func main() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		said, err := read(line)
		if err == nil {
			err = out.Encode(said)
		}
		if err != nil {
			log.Fatalf("%v: %s", err, line)
		}
	}
}
