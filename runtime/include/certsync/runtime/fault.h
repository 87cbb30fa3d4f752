// SPDX-License-Identifier: Apache-2.0
//
// Named points at which a test kills the process: CERTSYNC_CRASH_AT=after_publish; =after_publish:3
// for the third pass; =any:3 for the third point of any name. Only in builds with
// -DCERTSYNC_FAULTS=ON; other builds have no trace of them.
//
// Of the consumer:
// after_load                      the batch's documents are read, nothing is decided
// between_derived_and_outcomes    the derived events are acknowledged, no outcome is sent
// after_publish                   all outcomes are acknowledged, nothing is committed
// after_exec                      the commit is done, nothing has been told of it
// notice_delivered                (notify) a receiver took a notice, which is not noted
//
// Of certsync, the steps of spool and publisher in their order: temp-made, temp-written,
// temp-synced, renamed, directory-synced; spooled, loaded, before-produce, produced, before-sent,
// after-sent, partition-acked, published; unlinked, replaced-gone, replacing-renamed.
#pragma once

#ifdef CERTSYNC_FAULTS
void cs_fault_point(const char *name); // SIGKILL where it is the one that is named
#else
static inline void cs_fault_point(const char *name) {
    (void)name;
}
#endif
