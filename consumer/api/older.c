// SPDX-License-Identifier: Apache-2.0
//
// Outcomes that have left the catalog's window. Each loop has a thread that reads them from
// cert.outcomes, one question after the other, and one loop at a time. So whoever asks for much of
// the past delays only those who ask for it, too. Questions of a loop beyond QUEUE_MAX are answered
// with 503 at once.
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "api/internal.h"
#include "api/published.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"

#define QUEUE_MAX 64

struct api_older_job {
    struct api_older_job *next;
    cs_uuid *events;
    struct api_call *call; // NULL: the client has left
    api_older_step step;
    cs_account_id account;
    cs_uuid subject;
    struct cs_past_history history;
    struct cs_past_question question;
    struct cs_buf *docs;
    bool ok, all;
    struct cs_err err;
};

struct queue {
    struct api_older_job *first, **end;
};

struct api_older {
    struct cs_api *api;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int wake_fd; // wakes the loop: there is an answer
    struct event *wake;
    size_t waiting; // jobs that are not answered; of the loop
    // Under the lock:
    bool stopping;
    struct queue asked, answered;
};

static void push(struct queue *q, struct api_older_job *job) {
    job->next = NULL;
    *q->end = job;
    q->end = &job->next;
}

static struct api_older_job *pop(struct queue *q) {
    struct api_older_job *job = q->first;
    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->end = &q->first;
    return job;
}

static void job_free(struct api_older_job *job) {
    if (!job)
        return;
    for (size_t i = 0; job->docs && i < job->question.n; i++)
        cs_buf_clear(&job->docs[i]);
    free(job->docs);
    free(job->events);
    free(job);
}
CS_DEFINE_AUTO(struct api_older_job, job_free)

static struct api_older_job *job_new(struct api_call *call, cs_uuid *events, size_t n, int64_t since_ms,
                                     api_older_step step) {
    CS_AUTO(job_free) struct api_older_job *job = calloc(1, sizeof *job);
    if (!job || !(job->events = calloc(n, sizeof *job->events)) ||
        !(job->docs = calloc(n, sizeof *job->docs)))
        return NULL;
    if (events)
        memcpy(job->events, events, n * sizeof *events);
    memcpy(job->account, call->account, sizeof job->account);
    job->question = (struct cs_past_question){.partition = call->partition,
                                              .account = job->account,
                                              .n = n,
                                              .events = job->events,
                                              .since_ms = since_ms};
    for (size_t i = 0; i < n; i++)
        cs_buf_init(&job->docs[i], API_BODY_MAX / 8);
    job->call = call;
    job->step = step;
    return CS_TAKE(job);
}

// NULL: answered.
// NULL: answered.
static struct api_older_job *begin(struct api_call *call, cs_uuid *events, size_t n, int64_t since_ms,
                                   api_older_step step) {
    if (call->api->older->waiting >= QUEUE_MAX || call->api->stopping) {
        api_busy(call, "Too many questions for old outcomes wait; ask again.");
        return NULL;
    }
    struct api_older_job *job = job_new(call, events, n, since_ms, step);
    if (!job)
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
    return job;
}

static void hand_over(struct api_older_job *job) {
    struct api_older *o = job->call->api->older;
    job->call->older = job;
    o->waiting++;
    pthread_mutex_lock(&o->lock);
    push(&o->asked, job);
    pthread_cond_signal(&o->cond);
    pthread_mutex_unlock(&o->lock);
}

void api_older_ask(struct api_call *call, cs_uuid *events, size_t n, int64_t since_ms, api_older_step step) {
    struct api_older_job *job = begin(call, events, n, since_ms, step);
    if (job)
        hand_over(job);
}

void api_older_history(struct api_call *call, const char *subject, int64_t after, size_t most,
                       int64_t since_ms, api_older_step step) {
    struct api_older_job *job = begin(call, NULL, most, since_ms, step);
    if (!job)
        return;
    snprintf(job->subject, sizeof job->subject, "%s", subject);
    job->history = (struct cs_past_history){.subject = job->subject, .after = after};
    job->question.history = &job->history;
    hand_over(job);
}

void api_older_leave(struct api_call *call) {
    struct api_older_job *job = CS_TAKE(call->older);
    job->call = NULL;
}

static void take_answer(struct api_older_job *job) {
    struct api_call *call = job->call;
    if (!call)
        return;
    call->older = NULL;
    if (job->ok) {
        job->step(call, job->docs, job->all, &job->history);
    } else {
        cs_log_err(CS_LOG_WARN, "the API cannot read old outcomes from the log", &job->err,
                   "partition=%d request=%s", (int)job->question.partition, cs_http_request_id(call->req));
        api_busy(call, "The log cannot be read at the moment; ask again.");
    }
    api_call_settle(call);
}

static void on_wake(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct api_older *o = arg;
    uint64_t times;
    if (read((int)fd, &times, sizeof times) < 0)
        return; // woken for something else
    for (;;) {
        pthread_mutex_lock(&o->lock);
        CS_AUTO(job_free) struct api_older_job *job = pop(&o->answered);
        pthread_mutex_unlock(&o->lock);
        if (!job)
            return;
        o->waiting--;
        take_answer(job);
    }
}

static void *thread_main(void *arg) {
    struct api_older *o = arg;
    struct cs_published *past = o->api->consumer->past;
    pthread_mutex_t *turn = &o->api->first->past_lock;
    const uint64_t one = 1;
    prctl(PR_SET_NAME, "api-older");
    pthread_mutex_lock(&o->lock);
    while (!o->stopping) {
        struct api_older_job *job = pop(&o->asked);
        if (!job) {
            pthread_cond_wait(&o->cond, &o->lock);
            continue;
        }
        pthread_mutex_unlock(&o->lock);
        pthread_mutex_lock(turn);
        job->ok = past->ops->past(past, &job->question, job->docs, &job->all, &job->err);
        pthread_mutex_unlock(turn);
        pthread_mutex_lock(&o->lock);
        push(&o->answered, job);
        if (write(o->wake_fd, &one, sizeof one) < 0) {
            // The counter is full: the loop is awake already.
        }
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

bool api_older_new(struct cs_api *api, struct api_older **ret, struct cs_err *err) {
    struct api_older *o = calloc(1, sizeof *o);
    if (!o)
        return cs_err_oom(err);
    o->api = api;
    o->asked.end = &o->asked.first;
    o->answered.end = &o->answered.first;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->cond, NULL);
    o->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (o->wake_fd >= 0)
        o->wake = event_new(cs_loop_base(api->loop), o->wake_fd, EV_READ | EV_PERSIST, on_wake, o);
    bool ok = o->wake_fd >= 0 || cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "eventfd: %s", strerror(errno));
    ok = ok && ((o->wake && event_add(o->wake, NULL) == 0) || cs_err_oom(err));
    o->started = ok && api->consumer->past && cs_thread_new(&o->thread, thread_main, o, err);
    if (!ok || (api->consumer->past && !o->started)) {
        api_older_free(o);
        return false;
    }
    *ret = o;
    return true;
}

void api_older_free(struct api_older *o) {
    if (!o)
        return;
    pthread_mutex_lock(&o->lock);
    o->stopping = true;
    pthread_cond_signal(&o->cond);
    pthread_mutex_unlock(&o->lock);
    if (o->started) {
        struct cs_published *past = o->api->consumer->past;
        past->ops->stop(past);
        pthread_join(o->thread, NULL);
    }
    for (struct api_older_job *job; (job = pop(&o->asked)) || (job = pop(&o->answered));)
        job_free(job);
    if (o->wake)
        event_free(o->wake);
    if (o->wake_fd >= 0)
        close(o->wake_fd);
    pthread_cond_destroy(&o->cond);
    pthread_mutex_destroy(&o->lock);
    free(o);
}
