// SPDX-License-Identifier: Apache-2.0
#include "log/heads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/fileio.h"
#include "worker/checkpoints.h"

#define FILE_MAX ((size_t)64 * 1024 * 1024)
#define DASH     "\xe2\x80\x94"

struct head {
    struct cs_checkpoint at;
    bool kept;    // comes from the file
    int cosigned; // by how many witnesses
    char *note;
    size_t note_len;
};

struct partition_heads {
    struct head *heads;
    size_t len, cap;
    bool sorted;
    struct cs_head_cosigned cosigned[CS_HEADS_WITNESSES]; // size 0: not at all
    size_t next;                                          // the first that was not reached
    int64_t held;                                         // the size of the last one that held
};

struct cs_heads {
    struct cs_crypto *crypto;
    struct cs_note_key key;
    char log_id[CS_NOTE_NAME_MAX + 1];
    char *path; // of the file; NULL: none was read
    int32_t partitions;
    struct cs_heads_count count;
    struct cs_note_key witnesses[CS_HEADS_WITNESSES];
    size_t witnesses_len;
    struct cs_epochs epochs;
    size_t *first;              // by partition, and where the last one ends: its epochs in `of`
    struct partition_heads *of; // by partition and epoch
};

static size_t slots(const struct cs_heads *h) {
    return h->first[h->partitions];
}

bool cs_heads_new(struct cs_crypto *crypto, const struct cs_note_key *key, const char *log_id,
                  int32_t partitions, const struct cs_epochs *epochs, struct cs_heads **ret,
                  struct cs_err *err) {
    CS_AUTO(cs_heads_free) struct cs_heads *h = calloc(1, sizeof *h);
    if (!h)
        return cs_err_oom(err);
    h->epochs = *epochs;
    h->first = calloc((size_t)partitions + 1, sizeof *h->first);
    for (int32_t p = 0; h->first && p < partitions; p++)
        h->first[p + 1] = h->first[p] + 1 + (size_t)cs_epoch_last(epochs, p);
    h->of = h->first ? calloc(h->first[partitions], sizeof *h->of) : NULL;
    if (!h->of)
        return cs_err_oom(err);
    h->crypto = crypto;
    h->key = *key;
    snprintf(h->log_id, sizeof h->log_id, "%s", log_id);
    h->partitions = partitions;
    *ret = CS_TAKE(h);
    return true;
}

void cs_heads_free(struct cs_heads *h) {
    if (!h)
        return;
    for (size_t p = 0; h->of && p < slots(h); p++) {
        for (size_t i = 0; i < h->of[p].len; i++)
            free(h->of[p].heads[i].note);
        free(h->of[p].heads);
    }
    free(h->of);
    free(h->first);
    free(h->path);
    free(h);
}

static struct partition_heads *of_epoch(const struct cs_heads *h, int32_t partition, int64_t epoch) {
    return &h->of[h->first[partition] + (size_t)epoch];
}

static struct partition_heads *newest_of(const struct cs_heads *h, int32_t partition) {
    return &h->of[h->first[partition + 1] - 1];
}

// NULL: no correction brings that epoch.
static struct partition_heads *of_checkpoint(const struct cs_heads *h, const struct cs_checkpoint *at,
                                             int32_t partition) {
    int64_t epoch = 0;
    bool known = cs_checkpoint_is_of(at, h->log_id, partition, &epoch) &&
                 epoch <= cs_epoch_last(&h->epochs, partition);
    return known ? of_epoch(h, partition, epoch) : NULL;
}

// --- witnesses

bool cs_heads_witness(struct cs_heads *h, const struct cs_note_key *key, size_t *ret, struct cs_err *err) {
    size_t i = 0;
    while (i < h->witnesses_len && !cs_note_key_equal(&h->witnesses[i], key))
        i++;
    if (i == CS_HEADS_WITNESSES)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "there are more than %d witnesses",
                          CS_HEADS_WITNESSES);
    if (i == h->witnesses_len)
        h->witnesses[h->witnesses_len++] = *key;
    *ret = i;
    return true;
}

size_t cs_heads_witnesses(const struct cs_heads *h) {
    return h->witnesses_len;
}

const struct cs_note_key *cs_heads_witness_key(const struct cs_heads *h, size_t witness) {
    return &h->witnesses[witness];
}

bool cs_heads_cosigned(const struct cs_heads *h, int32_t partition, size_t witness,
                       struct cs_head_cosigned *ret) {
    *ret = newest_of(h, partition)->cosigned[witness];
    return ret->size > 0;
}

bool cs_heads_any(const struct cs_heads *h, int32_t partition) {
    return newest_of(h, partition)->len > 0;
}

// How many witnesses have cosigned it. A line that is not right counts for nothing.
static int note_cosigned(struct cs_heads *h, struct partition_heads *p, int64_t size, struct cs_bytes note) {
    int n = 0;
    for (size_t i = 0; i < h->witnesses_len; i++) {
        struct cs_head_cosigned *at = &p->cosigned[i];
        struct cs_bytes text;
        struct cs_err ignored;
        int64_t time_s = 0;
        if (!cs_note_open(h->crypto, note, &h->witnesses[i], &text, &time_s, &ignored))
            continue;
        n++;
        at->size = size > at->size ? size : at->size;
        at->time_s = time_s > at->time_s ? time_s : at->time_s;
    }
    return n;
}

static bool add(struct cs_heads *h, struct partition_heads *p, const struct cs_checkpoint *at, bool kept,
                struct cs_bytes note, struct cs_err *err) {
    if (!CS_GROW(&p->heads, &p->cap, p->len + 1))
        return cs_err_oom(err);
    struct head *head = &p->heads[p->len];
    *head = (struct head){.at = *at, .kept = kept, .note = malloc(note.len), .note_len = note.len};
    if (!head->note)
        return cs_err_oom(err);
    memcpy(head->note, note.data, note.len);
    head->cosigned = note_cosigned(h, p, at->size, note);
    p->len++;
    p->sorted = false;
    return true;
}

// --- the file

// One note: up to the last line of signatures behind its empty line. False: there is no more.
static bool take_note(struct cs_bytes *text, struct cs_bytes *ret) {
    static const size_t dash = sizeof DASH - 1;
    while (text->len > 0 && text->data[0] == '\n') {
        text->data++;
        text->len--;
    }
    size_t at = 0;
    while (at + 1 < text->len && !(text->data[at] == '\n' && text->data[at + 1] == '\n'))
        at++;
    at = at + 2 < text->len ? at + 2 : text->len;
    while (text->len - at > dash && memcmp(text->data + at, DASH, dash) == 0) {
        const uint8_t *end = memchr(text->data + at, '\n', text->len - at);
        at = end ? (size_t)(end + 1 - text->data) : text->len;
    }
    *ret = (struct cs_bytes){text->data, at};
    text->data += at;
    text->len -= at;
    return ret->len > 0;
}

static bool take_kept(struct cs_heads *h, struct cs_bytes note, struct cs_err *err) {
    struct cs_checkpoint at;
    if (!cs_checkpoint_open(h->crypto, note, &h->key, &at, err))
        return false;
    for (int32_t p = 0; p < h->partitions; p++) {
        struct partition_heads *to = of_checkpoint(h, &at, p);
        if (to) {
            h->count.kept++;
            return add(h, to, &at, true, note, err);
        }
    }
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                      "it is of %s, and this log is %s with %d partitions and %zu corrections", at.origin,
                      h->log_id, (int)h->partitions, h->epochs.len);
}

bool cs_heads_read(struct cs_heads *h, const char *path, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    struct cs_bytes note;
    cs_buf_init(&b, FILE_MAX);
    free(h->path);
    h->path = strdup(path);
    if (!h->path)
        return cs_err_oom(err);
    if (access(path, F_OK) != 0)
        return true;
    if (!cs_file_read(path, 0, &b, err))
        return false;
    struct cs_bytes text = cs_buf_bytes(&b);
    for (int64_t n = 1; take_note(&text, &note); n++)
        if (!take_kept(h, note, err)) {
            if (err->kind == CS_ERR_REJECT)
                err->kind = CS_ERR_CONFIG;
            return cs_err_prepend(err, "%s, checkpoint %" PRId64, path, n);
        }
    return true;
}

// Of each class of sizes the last one is kept.
static bool is_written(const struct partition_heads *p, size_t i) {
    return i + 1 == p->len ||
           cs_checkpoint_class(p->heads[i + 1].at.size) != cs_checkpoint_class(p->heads[i].at.size);
}

bool cs_heads_write(const struct cs_heads *h, const char *path, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, FILE_MAX);
    for (size_t p = 0; p < slots(h); p++) {
        const struct partition_heads *q = &h->of[p];
        for (size_t i = 0; i < q->len; i++) {
            const struct head *head = &q->heads[i];
            if (!is_written(q, i))
                continue;
            cs_buf_put(&b, head->note, head->note_len);
            cs_buf_putc(&b, '\n');
        }
    }
    return cs_buf_ok(&b, err) && cs_file_write(path, cs_buf_bytes(&b), 0644, err);
}

// --- the topic

bool cs_heads_read_log(struct cs_heads *h, struct cs_log *checkpoints, int32_t partition,
                       struct cs_err *err) {
    struct cs_record r;
    struct cs_checkpoint at;
    struct cs_err ignored;
    int64_t epoch = 0;
    int64_t low = 0;
    int64_t high = 0;
    bool end = partition >= checkpoints->partitions;
    if (end)
        return true;
    if (!checkpoints->ops->bounds(checkpoints, partition, &low, &high, err) ||
        !checkpoints->ops->start(checkpoints, partition, low, high, err))
        return false;
    for (;;) {
        if (!checkpoints->ops->next(checkpoints, &r, &end, err))
            return false;
        if (end)
            return true;
        if (!cs_checkpoint_of_record(h->crypto, &h->key, h->log_id, partition, r.value, &at, &epoch,
                                     &ignored) ||
            !of_checkpoint(h, &at, partition)) {
            h->count.others++;
            continue;
        }
        h->count.published++;
        if (!add(h, of_epoch(h, partition, epoch), &at, false, r.value, err))
            return false;
    }
}

static bool proves_more(const struct head *a, const struct head *b) {
    if ((a->cosigned > 0) != (b->cosigned > 0))
        return a->cosigned > 0;
    return a->at.size > b->at.size || (a->at.size == b->at.size && a->cosigned > b->cosigned);
}

struct cs_bytes cs_heads_note(const struct cs_heads *h, int32_t partition, int64_t least, int64_t most,
                              struct cs_checkpoint *ret) {
    const struct partition_heads *p = newest_of(h, partition);
    const struct head *found = NULL;
    for (size_t i = 0; i < p->len; i++) {
        const struct head *head = &p->heads[i];
        if (head->at.size >= least && head->at.size <= most && (!found || proves_more(head, found)))
            found = head;
    }
    if (!found)
        return (struct cs_bytes){0};
    *ret = found->at;
    return (struct cs_bytes){(const uint8_t *)found->note, found->note_len};
}

void cs_heads_key(const struct cs_heads *h, struct cs_note_key *ret) {
    *ret = h->key;
}

// --- holding

// By size; of one size those of the most witnesses last, since the last is kept, and before them those
// of the file.
static int by_size(const void *a, const void *b) {
    const struct head *p = a;
    const struct head *q = b;
    if (p->at.size != q->at.size)
        return p->at.size < q->at.size ? -1 : 1;
    return p->cosigned != q->cosigned ? p->cosigned - q->cosigned : (int)q->kept - (int)p->kept;
}

static struct partition_heads *sorted(const struct cs_heads *h, int32_t partition, int64_t epoch) {
    struct partition_heads *p = of_epoch(h, partition, epoch);
    if (!p->sorted && p->len > 1)
        qsort(p->heads, p->len, sizeof *p->heads, by_size);
    p->sorted = true;
    return p;
}

static void say_where(const struct cs_heads *h, const struct head *head, char *out, size_t size) {
    if (head->kept)
        snprintf(out, size, "%s holds a checkpoint of %" PRId64 " outcomes that was verified before", h->path,
                 head->at.size);
    else
        snprintf(out, size, "a checkpoint of %" PRId64 " outcomes was published and signed", head->at.size);
}

bool cs_heads_step(struct cs_heads *h, struct cs_crypto *crypto, int32_t partition, int64_t epoch,
                   int64_t size, const struct cs_merkle_edge *edge, struct cs_head_fault *ret) {
    struct partition_heads *p = sorted(h, partition, epoch);
    char where[320];
    for (; p->next < p->len && p->heads[p->next].at.size <= size; p->next++) {
        const struct head *head = &p->heads[p->next];
        struct cs_hash root;
        if (head->at.size < size) // of none
            continue;
        cs_merkle_root(crypto, edge, size, &root);
        if (cs_hash_equal(&root, &head->at.root)) {
            p->held = size;
            continue;
        }
        say_where(h, head, where, sizeof where);
        ret->kind = "rewritten";
        snprintf(ret->text, sizeof ret->text,
                 "the past was rewritten: %s, and outcomes %" PRId64 " to %" PRId64
                 " are not those that it is of. A record among them was changed, left out, added or moved "
                 "since, or its broker's time was",
                 where, p->held + 1, size);
        return false;
    }
    return true;
}

bool cs_heads_end(struct cs_heads *h, int32_t partition, int64_t epoch, int64_t size,
                  struct cs_head_fault *ret) {
    struct partition_heads *p = sorted(h, partition, epoch);
    char where[320];
    while (p->next < p->len && p->heads[p->next].at.size == 0)
        p->next++;
    if (p->next == p->len)
        return true;
    say_where(h, &p->heads[p->next], where, sizeof where);
    ret->kind = "cut";
    snprintf(ret->text, sizeof ret->text, "the end was cut off: %s, and there are only %" PRId64 " outcomes",
             where, size);
    return false;
}

void cs_heads_count(const struct cs_heads *h, struct cs_heads_count *ret) {
    *ret = h->count;
    ret->written = 0;
    for (size_t p = 0; p < slots(h); p++)
        for (size_t i = 0; i < h->of[p].len; i++)
            ret->written += is_written(&h->of[p], i);
}
