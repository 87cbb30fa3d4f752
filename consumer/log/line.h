// SPDX-License-Identifier: Apache-2.0
//
// A record as one line of JSON, byte for byte as Kafka has it:
//
//   {"topic":"cert.events","partition":3,"offset":11,"ts":1763899200385,
//    "headers":["content-type","application/cloudevents+json",…],"key":"acme","payload":"{…}"}
//
// This is the form of `kcat -C -J`. Bytes that are not UTF-8 are {"base64":"…"} here, so each line is
// JSON. kcat writes them as they are. So its lines are not always UTF-8, and a JSON library would
// refuse just those records that the rules refused. Both forms are read.
#pragma once

#include "certsync/base/buf.h"
#include "certsync/model/prepare.h"

#define CS_LINE_PARTITIONS 10000 // no line names a higher one

struct cs_line_room { // zeroed at first; holds the record that was read last
    uint8_t *room;    // its strings, without escapes
    size_t room_cap, room_len;
    struct cs_header *headers;
    size_t headers_cap;
};
void cs_line_room_clear(struct cs_line_room *room);
// Reads a line without its end. The record is borrowed until the next one. place: only as far as
// partition and offset are known. False: it is no such line (or there is no memory).
CS_MUST_USE bool cs_line_read(struct cs_line_room *room, struct cs_bytes line, bool place,
                              struct cs_record *ret);
// Writes a line with its end. The buffer must be empty or end with a line.
void cs_line_put(struct cs_buf *b, const char *topic, const struct cs_record *r);
