// SPDX-License-Identifier: Apache-2.0
#include "cosign/standing.h"

#include <inttypes.h>
#include <string.h>

#include "worker/checkpoints.h"

#define QUESTIONS  3
#define BROKERS_MS 5000

void cs_standing_begin(struct cs_standing *s, const struct cs_outcome_marks *marks,
                       const struct cs_epochs *epochs, int32_t partition) {
    *s = (struct cs_standing){.size = -1};
    cs_walk_begin(&s->place, marks, epochs, partition);
}

bool cs_standing_cosigned(const struct cs_standing *s, const struct cs_checkpoint *at) {
    return s->at.size == at->size && at->size > 0 && cs_hash_equal(&s->at.root, &at->root);
}

// Goes to the size that the witness knows, from the nearest place before it. How far it came is kept.
static bool go_to_size(const struct cs_standing_env *env, struct cs_standing *s,
                       const struct cs_standing *const *others, size_t others_len, struct cs_err *err) {
    int32_t partition = s->place.chain.partition;
    if (s->place.chain.last > s->size)
        cs_walk_begin(&s->place, env->marks, &env->epochs, partition);
    for (size_t i = 0; i < others_len; i++) {
        const struct cs_walk_place *p = &others[i]->place;
        if (p->chain.last <= s->size && p->chain.last > s->place.chain.last)
            s->place = *p;
    }
    bool ok = cs_walk_on(env->outcomes, env->crypto, env->stopping, &s->place, s->size, NULL, err);
    if (!ok && err->kind == CS_ERR_FATAL)
        cs_walk_begin(&s->place, env->marks, &env->epochs, partition);
    return ok;
}

// The proof from there to the checkpoint; *ret_place is at its end.
static bool prove(const struct cs_standing_env *env, const struct cs_standing *s,
                  const struct cs_checkpoint *at, struct cs_walk_place *ret_place, struct cs_merkle_path *ret,
                  struct cs_err *err) {
    struct cs_walk_place next = s->place;
    struct cs_merkle_growth g;
    struct cs_hash root;
    cs_merkle_growth_begin(env->crypto, &g, &next.edge, s->size, at->size);
    if (!cs_walk_on(env->outcomes, env->crypto, env->stopping, &next, at->size, &g, err))
        return false;
    cs_merkle_root(env->crypto, &next.edge, at->size, &root);
    if (!cs_hash_equal(&root, &at->root))
        return cs_checkpoint_fork(env->checkpoints->name, at, err);
    *ret_place = next;
    *ret = g.path;
    return true;
}

// The witness knows more outcomes than this process. Perhaps another consumer has the partition now.
// What a witness has cosigned was published before. So if no checkpoint of so many outcomes is there,
// they were lost, or the witness lies.
static bool ahead(const struct cs_standing_env *env, struct cs_standing *s, struct cs_cosign_answer *ret,
                  struct cs_err *err) {
    struct cs_checkpoint newest;
    int64_t others = 0;
    int64_t size = s->size;
    if (!cs_checkpoints_newest(
            env->checkpoints, env->crypto, env->log_key, env->log_id, s->place.chain.partition,
            cs_epoch_last(&env->epochs, s->place.chain.partition), BROKERS_MS, &newest, &others, err))
        return false;
    s->size = -1; // it is asked anew
    ret->result = newest.size >= size ? CS_COSIGN_OTHER_SIZE : CS_COSIGN_FORK;
    if (ret->result == CS_COSIGN_FORK)
        cs_err_set(&ret->err, CS_ERR_FATAL, CS_CODE_NONE,
                   "it has cosigned %" PRId64 " outcomes, and the newest checkpoint has %" PRId64
                   ": the end of the log was lost or made anew, or the witness lies",
                   size, newest.size);
    return true;
}

static void took(struct cs_standing *s, const struct cs_checkpoint *at,
                 const struct cs_cosign_answer *answer) {
    s->size = at->size;
    s->at = *at;
    s->time_s = answer->time_s;
    memcpy(s->line, answer->line, sizeof s->line);
}

bool cs_standing_ask(const struct cs_standing_env *env, struct cs_cosigner *w, struct cs_standing *s,
                     const struct cs_standing *const *others, size_t others_len,
                     const struct cs_checkpoint *at, struct cs_bytes note, int64_t now_s,
                     struct cs_cosign_answer *ret, struct cs_err *err) {
    for (int i = 0; i < QUESTIONS; i++) {
        struct cs_merkle_path path = {0};
        struct cs_walk_place next;
        bool grows = s->size > 0;
        if (s->size > at->size)
            return ahead(env, s, ret, err);
        if (grows && (!go_to_size(env, s, others, others_len, err) || !prove(env, s, at, &next, &path, err)))
            return false;
        const struct cs_cosign_question q = {grows ? s->size : 0, &path, at, note};
        cs_cosigner_ask(w, &q, now_s, ret);
        if (ret->result == CS_COSIGN_COSIGNED) {
            if (grows)
                s->place = next;
            took(s, at, ret);
        }
        if (ret->result != CS_COSIGN_OTHER_SIZE)
            return true;
        s->size = ret->size;
    }
    s->size = -1;
    ret->result = CS_COSIGN_BAD_ANSWER;
    cs_err_set(&ret->err, CS_ERR_REJECT, CS_CODE_NONE, "it names another size each time that it is asked");
    return true;
}
