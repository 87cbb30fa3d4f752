// SPDX-License-Identifier: Apache-2.0
//
// certsync agent: watches certificate files and keeps the account's catalog as they are. The main
// thread runs the loop: it looks at files, composes and spools events; the sender publishes them,
// the settler learns how they ended. SIGHUP reads settings and key again, all or nothing; SIGTERM
// publishes what there is and ends.
#pragma once

#include "event/session.h"

// Where the daemon of an account keeps its register and its status, and the lock that says that it
// runs.
enum cs_daemon_file { CS_DAEMON_REGISTER, CS_DAEMON_STATUS, CS_DAEMON_LOCK };
CS_MUST_USE bool cs_daemon_path(const struct cs_session *s, enum cs_daemon_file file, char *out, size_t size,
                                struct cs_err *err);
#define CS_STATUS_PERIOD_MS 60000 // at least so often the status is written anew, changed or not
// The lock that says that a daemon runs (fcntl: the kernel tells who holds it). CONFIG where
// another has it.
CS_MUST_USE bool cs_daemon_lock(const struct cs_session *s, int *ret_fd, struct cs_err *err);
CS_MUST_USE bool cs_daemon_running(const struct cs_session *s, bool *ret_running, struct cs_err *err);
// Has the running daemon read its settings and key again (SIGHUP). The signal goes to who holds the
// lock, and to nobody that a file names: others may write to those. False where it was not told.
CS_MUST_USE bool cs_daemon_reload(const struct cs_session *s);
#define CS_DAEMON_NEEDS (CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_CUSTODIAN | CS_ENDLESS)

// Until it is told to end; the exit code. Takes the open session over.
int cs_daemon_run(const struct cs_cli *cli, struct cs_session *session);
