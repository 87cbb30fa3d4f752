// SPDX-License-Identifier: Apache-2.0
//
// Looking into records, and showing them.
#pragma once

#include "certsync/base/buf.h"
#include "certsync/model/prepare.h"
#include "certsync/model/rules.h"

bool cs_bytes_find(struct cs_bytes haystack, const char *text);

// A member {"partition","offset","time","key","headers":[[name,value]…],"value"}: the value as JSON
// if it is an event, else as {"base64":…}.
void cs_put_record_json(struct cs_buf *b, const char *name, const struct cs_record *r);
// For people: long strings are cut; a value that is no event is escaped. Each line begins with
// indent.
void cs_put_record_text(struct cs_buf *b, const char *indent, const struct cs_record *r);
// JSON with its long strings cut.
void cs_put_abridged(struct cs_buf *b, struct cs_bytes json, size_t longest);
// The rule that a code is of: the type's own one, else one for every event. NULL: none.
const struct cs_rule_info *cs_rule_of(enum cs_code code, enum cs_event_type type);
