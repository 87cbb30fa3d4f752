// SPDX-License-Identifier: Apache-2.0
//
// The spool: events that a host signed and that must not be lost, in a directory on disk, one for
// each key (kid). Command lines that run side by side, and the daemon, share it.
//
//   DIR/<kid>/counter            every number up to this one was used; written before the
//                                file with the highest numbers goes
//   DIR/<kid>/lock               held (flock) while the directory changes; its content is a hint
//                                that makes adding cheap
//   DIR/<kid>/publish.lock       held (flock) while somebody publishes: strictly one at a time, in
//                                the order of the numbers
//   DIR/<kid>/<first>.<n>.events
//                                n events with the numbers from <first> on, which were added together
//   DIR/<kid>/<first>.<n>.events.<old>
//                                signed again in the place of the n events from <old> on, which are about
//                                to end
//   DIR/<kid>/<seq>.acks         which partitions acknowledged an event for every partition so far
//   DIR/<kid>/quarantine/        files of events that are not what was written; never deleted by
//                                certsync
//
// A file of events begins with the state of each: "new", "sent <partition> <offset>" (acknowledged
// by Kafka; partition -1: by every one) or "ended", in 64 bytes that stand twice. What follows,
// from the next full page on, is never changed: a line for each event,
//
//   <seq> <length> <SHA-256 of "<seq> <length> " and the rest> <signature in base64> <the record's value>
//
// It is written whole (temporary file, fsync, rename, fsync of the directory); its name assigns the
// numbers in the same step. So a process that is killed at any moment leaves either none of the
// events or all of them whole, and a number is never used for two events. The file stays until its
// last event has ended. A state that is not whole after a power failure reads as new: the event is
// published once more, with the same bytes. States are written over the room that the file has, so
// that a full disk does not keep them from being written.
//
// Errors: CONFIG names the path and what to do; RETRY where the disk is full or failing, or the
// spool at its limit; REJECT event.too_large. A cs_spool is one thread's; another thread (or
// process) opens the same directory again.
#pragma once

#include "certsync/model/event.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/clock.h"

struct cs_spool_limits {
    int64_t max_events; // at the limit nothing is added: the oldest are kept
    int64_t max_bytes;
};

struct cs_spool;
// Makes DIR and DIR/<kid> (0700) where they are missing, and finishes what a killed process left
// half done.
CS_MUST_USE bool cs_spool_open(const char *dir, const char *kid, const struct cs_spool_limits *limits,
                               struct cs_spool **ret, struct cs_err *err);
// Opens only what is there: *ret is NULL where this key has no spool yet.
CS_MUST_USE bool cs_spool_open_existing(const char *dir, const char *kid,
                                        const struct cs_spool_limits *limits, struct cs_spool **ret,
                                        struct cs_err *err);
void cs_spool_free(struct cs_spool *s);
CS_DEFINE_AUTO(struct cs_spool, cs_spool_free)
const char *cs_spool_path(const struct cs_spool *s); // DIR/<kid>

// Gives ev its number, signs it and keeps it. After true the event is on disk to stay. ev->kid must
// be the spool's.
CS_MUST_USE bool cs_spool_add(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                              struct cs_event *ev, struct cs_err *err);
// The same for n events (1 to CS_SPOOL_GROUP_MAX) in one go, which costs the disk far less: all of
// them, with numbers in the order given, or none.
#define CS_SPOOL_GROUP_MAX 256
CS_MUST_USE bool cs_spool_add_group(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                                    struct cs_event *const *events, size_t n, struct cs_err *err);

enum cs_spool_state {
    CS_SPOOL_NEW = 1,
    CS_SPOOL_SENT,
    CS_SPOOL_ENDED, // only to mark one: what ended is not there any more
};
struct cs_spool_item {
    int64_t seq;
    enum cs_spool_state state;
    int32_t partition; // of SENT; -1: every partition
    int64_t offset;    // of SENT
};
// What is there, by rising number. malloc'ed, the caller frees. No event is read.
CS_MUST_USE bool cs_spool_list(struct cs_spool *s, struct cs_spool_item **ret, size_t *ret_n,
                               struct cs_err *err);

struct cs_spool_entry {
    struct cs_spool_item item;
    struct cs_event *event;
    bool everywhere;       // for every partition (system.*, trust.*)
    struct cs_bytes value; // exact bytes of the record
    struct cs_bytes sig;   // base64 text of the header
    void *storage;
};
void cs_spool_entry_clear(struct cs_spool_entry *e);
CS_DEFINE_AUTO_CLEAR(struct cs_spool_entry, cs_spool_entry_clear)
enum cs_spool_load {
    CS_SPOOL_LOADED = 1,
    CS_SPOOL_GONE,        // somebody else finished it
    CS_SPOOL_QUARANTINED, // it was not what was written: moved aside; err says so
    CS_SPOOL_FAILED,      // err
};
// Reads the event of that number and checks it: checksum, signature form, number, key.
enum cs_spool_load cs_spool_load(struct cs_spool *s, struct cs_crypto *c, int64_t seq,
                                 struct cs_spool_entry *ret, struct cs_err *err);

// Keeps the others out until it is released: several calls then cost one lock. Nothing slow may be done meanwhile.
CS_MUST_USE bool cs_spool_lock(struct cs_spool *s, struct cs_err *err);
void cs_spool_unlock(struct cs_spool *s);

// Gives n events (by rising number) the state SENT or ENDED in one go. What is gone, or ended,
// stays so.
CS_MUST_USE bool cs_spool_mark(struct cs_spool *s, const struct cs_spool_item *marks, size_t n,
                               struct cs_err *err);
// Kafka acknowledged it. Not synced: after a power failure it is sent again, with the same bytes,
// and the consumer knows it.
CS_MUST_USE bool cs_spool_sent(struct cs_spool *s, int64_t seq, int32_t partition, int64_t offset,
                               struct cs_err *err);
// Which partitions have acknowledged an event for every partition. acked[p] is set for those below
// n.
CS_MUST_USE bool cs_spool_acks(struct cs_spool *s, int64_t seq, bool *acked, int32_t n, struct cs_err *err);
CS_MUST_USE bool cs_spool_ack(struct cs_spool *s, int64_t seq, int32_t partition, int64_t offset,
                              struct cs_err *err);
// Its outcome is known (or a person gives it up): it ends, its number stays used. True where it is
// gone already.
CS_MUST_USE bool cs_spool_remove(struct cs_spool *s, int64_t seq, struct cs_err *err);

// After event.replayed (a restored snapshot, a cloned host): gives the n events of these numbers
// (rising) new numbers above both `above` and all that the spool ever used, signs them again and
// keeps everything else, ids too: a proof of possession is bound to the id. The publish lock must
// be held. *ret_seqs (n numbers, 0 where the event was gone) may be NULL.
CS_MUST_USE bool cs_spool_renumber(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                                   const int64_t *seqs, size_t n, int64_t above, int64_t *ret_seqs,
                                   struct cs_err *err);
// The highest number that was ever used here.
CS_MUST_USE bool cs_spool_highest(struct cs_spool *s, int64_t *ret, struct cs_err *err);
// Raises it: what is added later gets a number above `seq`. Also writes a counter anew that could
// not be read (cs_spool_open says so).
CS_MUST_USE bool cs_spool_raise(struct cs_spool *s, int64_t seq, struct cs_err *err);
// The same by path, for a spool that cannot be opened because its counter is damaged.
CS_MUST_USE bool cs_spool_repair(const char *dir, const char *kid, int64_t seq, struct cs_err *err);
// How many files lie in quarantine.
CS_MUST_USE bool cs_spool_quarantined(struct cs_spool *s, size_t *ret, struct cs_err *err);

// Only who holds it publishes. RETRY where it is not free by deadline_ms (monotonic).
CS_MUST_USE bool cs_spool_publish_lock(struct cs_spool *s, const struct cs_clock *clock, int64_t deadline_ms,
                                       struct cs_err *err);
void cs_spool_publish_unlock(struct cs_spool *s);

#ifdef CS_SPOOL_TEST_HOOKS
// Called at every step that a kill could come between; only in the tests' own build of this module.
extern void (*cs_spool_test_step)(const char *step);
#endif
