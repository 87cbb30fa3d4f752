// SPDX-License-Identifier: Apache-2.0
//
// Which log this host works with. Topics that are made anew are another log of the same deployment:
// nothing that was signed for the old one counts there. So a host learns the log's id once (from
// deployment.id, a join token, or the API at first contact), and keeps it in
// DIR/DEPLOYMENT.log (DIR: agent.spool). An API of another log later is an alarm.
#pragma once

#include "event/session.h"

// Fills deployment and log_id from the settings and from what was kept; nobody is asked. log_id is
// "" where it is not known yet. otherwise: the deployment (or log) where the settings name none.
// CONFIG where what was kept cannot be read.
CS_MUST_USE bool cs_known_log_recall(struct cs_session *s, const char *otherwise, struct cs_err *err);
// Keeps it. A host that cannot keep it (no spool of its own) learns it again each time: that is
// logged.
void cs_known_log_keep(const struct cs_session *s);
// Asks the API which log it serves. At first contact that is kept, and so is what the settings say,
// if it is the same. CONFIG where the log is another
// one (cs_client_foreign_log), or where it is not known and nobody can be asked. An API that does
// not answer is no error once the log is known.
CS_MUST_USE bool cs_known_log_meet(struct cs_session *s, struct cs_err *err);
