// SPDX-License-Identifier: Apache-2.0
//
// How far a section's notices are delivered, told to Kafka: the committed offsets of the group
// "<kafka.group>-notify-<section>", with the chain's place as their metadata. Only what is delivered as
// a whole is committed. So where Redis was emptied or rolled back, nothing is lost: the section goes on
// from here. Tools that show a group's lag show what waits.
//
// The group has no members. One thread. Errors: RETRY, CONFIG (a right is missing).
#pragma once

#include "notify/store.h"
#include "settings.h"

struct cs_note_mark;
CS_MUST_USE bool cs_note_mark_new(const struct cs_consumer_settings *s, const char *section,
                                  int32_t partitions, struct cs_note_mark **ret, struct cs_err *err);
void cs_note_mark_free(struct cs_note_mark *m);
CS_DEFINE_AUTO(struct cs_note_mark, cs_note_mark_free)
// The place of each partition; ret_found[p] false: there is none.
CS_MUST_USE bool cs_note_mark_read(struct cs_note_mark *m, struct cs_note_place *ret, bool *ret_found,
                                   struct cs_err *err);
// Begins to tell it; does not wait.
CS_MUST_USE bool cs_note_mark_write(struct cs_note_mark *m, int32_t partition, const struct cs_note_place *at,
                                    struct cs_err *err);
