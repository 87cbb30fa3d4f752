// SPDX-License-Identifier: Apache-2.0
//
// What a running consumer rests on, looked at again and again by a thread of its own: every few
// seconds whether the brokers answer and where the partitions end, and every consumer.inspect_every
// (sooner where a partition failed) whether topics and Redis are still what they must be. What is
// found stands on the board: the API shows it, and workers publish nothing that would rest on it.
#pragma once

#include "worker/consumer.h"

struct cs_inspector;
// c must outlive it.
CS_MUST_USE bool cs_inspector_start(const struct cs_consumer *c, struct cs_inspector **ret,
                                    struct cs_err *err);
void cs_inspector_free(struct cs_inspector *i); // stops it, and takes NULL
CS_DEFINE_AUTO(struct cs_inspector, cs_inspector_free)
