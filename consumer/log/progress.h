// SPDX-License-Identifier: Apache-2.0
//
// A line on a terminal that says how far a long command is. Nothing if the stream is no terminal.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cs_progress {
    FILE *stream;
    bool shown; // stream is a terminal
    const char *what;
    int64_t total, done;
    int64_t started_ms, drawn_ms;
    bool drawn;
};
// what: "verify", borrowed. total: events; 0 where unknown.
void cs_progress_start(struct cs_progress *p, FILE *stream, const char *what, int64_t total);
void cs_progress_step(struct cs_progress *p);             // one event more
void cs_progress_at(struct cs_progress *p, int64_t done); // so many in all
void cs_progress_end(struct cs_progress *p);              // removes the line
double cs_progress_rate(const struct cs_progress *p);     // events/s so far
