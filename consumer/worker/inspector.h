// SPDX-License-Identifier: Apache-2.0
//
// A thread that checks what a running consumer needs. Every few seconds: do the brokers answer, and
// where do the partitions end. Every consumer.inspect_every (sooner if a partition failed): are
// topics and Redis still what they must be, and how many certificates are there (worker/counting.h).
// Findings go to the board. The API shows them, and
// workers stop publishing where a finding forbids it.
#pragma once

#include "worker/consumer.h"

struct cs_inspector;
// c must outlive it.
CS_MUST_USE bool cs_inspector_start(const struct cs_consumer *c, struct cs_inspector **ret,
                                    struct cs_err *err);
void cs_inspector_free(struct cs_inspector *i); // stops it, and takes NULL
CS_DEFINE_AUTO(struct cs_inspector, cs_inspector_free)
