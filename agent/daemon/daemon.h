// SPDX-License-Identifier: Apache-2.0
//
// certsync agent: watches certificate files, and keeps the account's catalog equal to them. The
// main thread runs the loop: it reads files, composes and spools events. The sender publishes them;
// the outcome poller learns how they ended. SIGHUP reads settings and key again, all or nothing. SIGTERM
// publishes what there is, and ends.
#pragma once

#include "event/session.h"

// Where an account's daemon keeps its register and its status, and the lock that shows that it
// runs.
enum cs_daemon_file { CS_DAEMON_REGISTER, CS_DAEMON_STATUS, CS_DAEMON_LOCK };
CS_MUST_USE bool cs_daemon_path(const struct cs_session *s, enum cs_daemon_file file, char *out, size_t size,
                                struct cs_err *err);
#define CS_STATUS_PERIOD_MS 60000 // the status is written anew at least so often
// The lock that shows that a daemon runs (fcntl: the kernel tells who holds it). CONFIG if another
// daemon has it.
CS_MUST_USE bool cs_daemon_lock(const struct cs_session *s, int *ret_fd, struct cs_err *err);
CS_MUST_USE bool cs_daemon_running(const struct cs_session *s, bool *ret_running, struct cs_err *err);
// Makes the running daemon read its settings and key again (SIGHUP). The signal goes to the holder
// of the lock, never to a process that a file names: others may write to such files. False if
// nobody was told.
CS_MUST_USE bool cs_daemon_reload(const struct cs_session *s);
#define CS_DAEMON_NEEDS (CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_CUSTODIAN | CS_NEED_LOG | CS_ENDLESS)

// Runs until it is told to end. Returns the exit code. Takes the open session.
int cs_daemon_run(const struct cs_cli *cli, struct cs_session *session);
