// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C, SIGTERM and SIGHUP of a command. They end it at once, wherever it waits, and it says in
// one sentence what became of its event. The spool is safe at any point (kill -9 needs that, too),
// so nothing is undone or finished first.
//
// All threads block the signals; one thread waits for them. The command keeps the present sentence
// ready for it.
#pragma once

#include <jansson.h>

#include "certsync/model/event.h"
#include "certsync/runtime/cli.h"

// Exit code of an interrupted command: this plus the signal's number, as shells do.
#define CS_EXIT_SIGNAL 128

struct cs_interrupt;
// From here on the sentence is that nothing was written. Call it before anything that starts
// threads. json: one object on standard output instead of a sentence on standard error.
CS_MUST_USE bool cs_interrupt_start(const struct cs_cli *cli, bool json, struct cs_interrupt **ret,
                                    struct cs_err *err);
// Sets the sentence. stage, for programs: "spooled", "sending", "published", "judged". ev: the
// event, or NULL; read before this returns. i may be NULL.
void cs_interrupt_set(struct cs_interrupt *i, const char *stage, const struct cs_event *ev, const char *fmt,
                      ...) CS_PRINTF(4, 5);
// The command will say itself how it ended. So the next signal is ignored; one more ends it.
void cs_interrupt_ended(struct cs_interrupt *i);
void cs_interrupt_free(struct cs_interrupt *i);
