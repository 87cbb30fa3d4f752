// SPDX-License-Identifier: Apache-2.0
//
// A thread that listens to hosts' heartbeats (topic cert.heartbeats), for the partitions that this
// process has and that are running. Events never wait for it: it has its own clients for Kafka and
// Redis. It keeps no offset. It begins with the last records of a partition, and the newest
// heartbeat of a host wins, however often one is read. While a partition waits or replays, its
// heartbeats wait in the topic.
//
// If the topic is missing or is not what it must be, the board says so (CS_TROUBLE_HEARTBEATS), and
// the consumer judges and answers as before.
#pragma once

#include "certsync/model/heartbeat.h"
#include "worker/consumer.h"

struct cs_heartbeats;
// c must outlive it.
CS_MUST_USE bool cs_heartbeats_start(const struct cs_consumer *c, struct cs_heartbeats **ret,
                                     struct cs_err *err);
void cs_heartbeats_free(struct cs_heartbeats *l); // stops it, and takes NULL
CS_DEFINE_AUTO(struct cs_heartbeats, cs_heartbeats_free)
