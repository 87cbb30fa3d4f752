// SPDX-License-Identifier: Apache-2.0
//
// A thread that has checkpoints cosigned by the witnesses of the settings ([witness NAME]): of each
// partition that this process has, the newest one, every checkpoint.witness_every, also where nothing
// was added since. So the age of a cosignature tells how long ago the witness looked.
//
// What a witness cosigned is published in cert.checkpoints (worker/checkpoints.h). Nothing waits for
// it: whatever a witness does or does not, partitions are judged. A witness that is away, that refuses
// or lies is reported (metrics, one line in the log at each change) and asked again at growing
// distances. One whose past is another than ours is an alarm.
#pragma once

#include "worker/consumer.h"

struct cs_cosigners;
// c must outlive it. Without witnesses in the settings *ret is NULL.
CS_MUST_USE bool cs_cosigners_start(const struct cs_consumer *c, struct cs_cosigners **ret,
                                    struct cs_err *err);
void cs_cosigners_free(struct cs_cosigners *x); // stops it, and takes NULL
CS_DEFINE_AUTO(struct cs_cosigners, cs_cosigners_free)
