// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C, SIGTERM and SIGHUP of a command: they end it at once, wherever it waits, and it says in
// one sentence what became of its event. The spool is safe at any point (it has to be against kill
// -9), so nothing is undone or finished first.
//
// A thread waits for the signals, which all other threads block; the command keeps ready what is
// true at the moment.
#pragma once

#include <jansson.h>

#include "certsync/model/event.h"
#include "certsync/runtime/cli.h"

// Exit code of an interrupted command: this plus the signal's number, as shells have it.
#define CS_EXIT_SIGNAL 128

struct cs_interrupt;
// From here on the sentence is that nothing was written. Must come before anything that starts
// threads. json: one object on standard output instead of a sentence on standard error.
CS_MUST_USE bool cs_interrupt_start(const struct cs_cli *cli, bool json, struct cs_interrupt **ret,
                                    struct cs_err *err);
// The sentence from here on. stage, for programs: "spooled", "sending", "published", "judged". ev:
// the event, or NULL; read before this returns. i may be NULL.
void cs_interrupt_set(struct cs_interrupt *i, const char *stage, const struct cs_event *ev, const char *fmt,
                      ...) CS_PRINTF(4, 5);
// The command says itself how it ended. The next signal is let pass, so that it can; the one after
// it ends it.
void cs_interrupt_ended(struct cs_interrupt *i);
void cs_interrupt_free(struct cs_interrupt *i);
