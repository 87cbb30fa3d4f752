// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/log.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certsync/base/text.h"

#define LINE_MAX_LEN  8192
#define VALUE_MAX_LEN 2048
#define SLOTS         64

const char *const cs_log_level_names[] = {"error", "warn", "info", "debug", NULL};

static _Atomic int log_level = CS_LOG_INFO;

const char *cs_log_level_name(enum cs_log_level level) {
    return cs_log_level_names[level];
}

bool cs_log_level_parse(const char *name, enum cs_log_level *ret) {
    for (int i = 0; cs_log_level_names[i]; i++) {
        if (strcmp(name, cs_log_level_names[i]) == 0) {
            *ret = (enum cs_log_level)i;
            return true;
        }
    }
    return false;
}

void cs_log_set_level(enum cs_log_level level) {
    atomic_store(&log_level, (int)level);
}

bool cs_log_enabled(enum cs_log_level level) {
    return (int)level <= atomic_load(&log_level);
}

// A line that grows up to its limit and then stays the same.
struct line {
    char text[LINE_MAX_LEN];
    size_t len;
};

static void put(struct line *l, const char *s, size_t len) {
    size_t room = sizeof l->text - 1 - l->len; // 1 for the newline
    if (len > room)
        len = room;
    memcpy(l->text + l->len, s, len);
    l->len += len;
}

static void puts_line(struct line *l, const char *s) {
    put(l, s, strlen(s));
}

// Unquoted if that is unambiguous, else quoted. cs_text_escape makes the escapes.
static void put_value(struct line *l, const char *s, size_t len) {
    bool bare = len > 0;
    for (size_t i = 0; i < len && bare; i++) {
        unsigned char c = (unsigned char)s[i];
        bare = c > 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '=';
    }
    if (bare) {
        put(l, s, len);
        return;
    }
    char escaped[VALUE_MAX_LEN * 2];
    cs_text_escape(s, len, escaped, sizeof escaped);
    put(l, "\"", 1);
    puts_line(l, escaped);
    put(l, "\"", 1);
}

// A value that is being built.
struct value {
    char text[VALUE_MAX_LEN];
    size_t len;
};

static void value_put(struct value *v, const char *s, size_t len) {
    size_t room = sizeof v->text - v->len;
    if (len > room)
        len = room;
    memcpy(v->text + v->len, s, len);
    v->len += len;
}

struct args {
    va_list list; // in a struct, so that a pointer can pass it on
};

// One conversion. Only the parts that the listed conversions need are read.
struct conversion {
    char spec[16]; // "%08" and so on, without modifier and letter
    int precision; // of %.*s, -1 none
    char modifier; // 0, 'l', 'q' (ll), 'z', 'j', 't'
    char letter;
};

static const char *parse_conversion(const char *p, struct args *a, struct conversion *c) {
    size_t n = 0;
    *c = (struct conversion){.precision = -1};
    c->spec[n++] = *p++;
    while (*p && strchr("-+ #0123456789.", *p) && n < sizeof c->spec - 1)
        c->spec[n++] = *p++;
    if (*p == '*') {
        c->precision = va_arg(a->list, int);
        p++;
    }
    for (; *p && strchr("hlzjt", *p); p++) {
        if (*p != 'h')
            c->modifier = c->modifier == 'l' && *p == 'l' ? 'q' : *p;
    }
    c->letter = *p;
    return *p ? p + 1 : p;
}

static long long signed_arg(const struct conversion *c, struct args *a) {
    switch (c->modifier) {
    case 'l':
        return va_arg(a->list, long);
    case 'q':
        return va_arg(a->list, long long);
    case 'z':
        return va_arg(a->list, ssize_t);
    case 'j':
        return va_arg(a->list, intmax_t);
    case 't':
        return va_arg(a->list, ptrdiff_t);
    default:
        return va_arg(a->list, int);
    }
}

static unsigned long long unsigned_arg(const struct conversion *c, struct args *a) {
    switch (c->modifier) {
    case 'l':
        return va_arg(a->list, unsigned long);
    case 'q':
        return va_arg(a->list, unsigned long long);
    case 'z':
        return va_arg(a->list, size_t);
    case 'j':
        return va_arg(a->list, uintmax_t);
    case 't':
        return (unsigned long long)va_arg(a->list, ptrdiff_t);
    default:
        return va_arg(a->list, unsigned);
    }
}

static void put_string_arg(struct value *v, const struct conversion *c, struct args *a) {
    const char *s = va_arg(a->list, const char *);
    if (!s) {
        value_put(v, "-", 1);
        return;
    }
    value_put(v, s, c->precision >= 0 ? strnlen(s, (size_t)c->precision) : strlen(s));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void put_conversion(struct value *v, const struct conversion *c, struct args *a) {
    char format[24], text[64];
    int n = 0;
    switch (c->letter) {
    case 's':
        put_string_arg(v, c, a);
        return;
    case 'c':
        text[0] = (char)va_arg(a->list, int);
        n = 1;
        break;
    case 'd':
    case 'i':
        snprintf(format, sizeof format, "%slld", c->spec);
        n = snprintf(text, sizeof text, format, signed_arg(c, a));
        break;
    case 'u':
    case 'x':
        snprintf(format, sizeof format, "%sll%c", c->spec, c->letter);
        n = snprintf(text, sizeof text, format, unsigned_arg(c, a));
        break;
    case 'f':
    case 'g':
        snprintf(format, sizeof format, "%s%c", c->spec, c->letter);
        n = snprintf(text, sizeof text, format, va_arg(a->list, double));
        break;
    default: // '%', and what the header does not list
        text[0] = '%';
        n = 1;
        break;
    }
    value_put(v, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}
#pragma GCC diagnostic pop

// "key=FORMAT key=FORMAT". Copies keys. Builds each value whole, then quotes it.
static void put_fields(struct line *l, const char *p, struct args *a) {
    while (*p) {
        size_t key_len = strcspn(p, "= ");
        put(l, " ", 1);
        put(l, p, key_len);
        p += key_len;
        if (*p == '=') {
            put(l, "=", 1);
            p++;
            struct value v = {.len = 0};
            while (*p && *p != ' ') {
                if (*p == '%') {
                    struct conversion c;
                    p = parse_conversion(p, a, &c);
                    put_conversion(&v, &c, a);
                } else {
                    value_put(&v, p++, 1);
                }
            }
            put_value(l, v.text, v.len);
        }
        while (*p == ' ')
            p++;
    }
}

// A repeated line is written CS_LOG_BURST times in a window, then only counted.
struct slot {
    uint64_t hash;
    int64_t window_start_ms;
    unsigned written;
    unsigned suppressed;
};

static pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot slots[SLOTS]; // the memory of repeated lines, under state_lock
static cs_log_sink_fn sink;      // for tests, under state_lock
static void *sink_arg;

static uint64_t hash_text(const char *s, size_t len) {
    uint64_t h = 1469598103934665603u; // FNV-1a
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h;
}

static int64_t mono_ms(void) {
    struct timespec ts = {0};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// Under state_lock. False: do not write. *ret_suppressed: how many were not written before this
// one.
static bool admit(const struct line *l, unsigned *ret_suppressed) {
    uint64_t hash = hash_text(l->text, l->len);
    struct slot *s = &slots[hash % SLOTS];
    int64_t now = mono_ms();
    if (s->hash != hash || now - s->window_start_ms >= CS_LOG_WINDOW_MS) {
        *ret_suppressed = s->hash == hash ? s->suppressed : 0;
        *s = (struct slot){.hash = hash, .window_start_ms = now, .written = 1};
        return true;
    }
    if (s->written >= CS_LOG_BURST) {
        s->suppressed++;
        return false;
    }
    s->written++;
    *ret_suppressed = 0;
    return true;
}

// systemd tells which file standard error is. After a redirection in a shell it is another file.
static bool under_journal(void) {
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long dev = 0, ino = 0;
    struct stat st;
    if (!text || sscanf(text, "%llu:%llu", &dev, &ino) != 2 || fstat(STDERR_FILENO, &st) < 0)
        return false;
    return (unsigned long long)st.st_dev == dev && (unsigned long long)st.st_ino == ino;
}

static void put_head(struct line *l, enum cs_log_level level) {
    static const char *const journal_levels[] = {"<3>", "<4>", "<6>", "<7>"};
    if (under_journal()) {
        puts_line(l, journal_levels[level]);
    } else {
        struct timespec ts = {0};
        clock_gettime(CLOCK_REALTIME, &ts);
        char time_text[CS_TIME_TEXT_SIZE], head[40];
        cs_time_format(ts.tv_sec, time_text);
        time_text[sizeof time_text - 2] = '\0'; // the Z comes after the milliseconds
        snprintf(head, sizeof head, "%s.%03ldZ ", time_text, ts.tv_nsec / 1000000);
        puts_line(l, head);
    }
}

static void emit(enum cs_log_level level, struct line *body) {
    struct line whole = {.len = 0};
    put_head(&whole, level);
    pthread_mutex_lock(&state_lock);
    unsigned suppressed = 0;
    if (admit(body, &suppressed)) {
        put(&whole, body->text, body->len);
        if (suppressed > 0) {
            char text[32];
            snprintf(text, sizeof text, " suppressed=%u", suppressed);
            puts_line(&whole, text);
        }
        whole.text[whole.len++] = '\n';
        if (sink)
            sink(whole.text, whole.len, sink_arg);
        else if (write(STDERR_FILENO, whole.text, whole.len) < 0)
            errno = 0; // nowhere left to say so
    }
    pthread_mutex_unlock(&state_lock);
}

static void put_message(struct line *l, enum cs_log_level level, const char *msg) {
    puts_line(l, cs_log_level_names[level]);
    put(l, " ", 1);
    char escaped[1024];
    cs_text_escape(msg, strlen(msg), escaped, sizeof escaped);
    puts_line(l, escaped);
}

void cs_log(enum cs_log_level level, const char *msg, const char *fields, ...) {
    if (!cs_log_enabled(level))
        return;
    int saved = errno;
    struct line l = {.len = 0};
    put_message(&l, level, msg);
    struct args a;
    va_start(a.list, fields);
    put_fields(&l, fields, &a);
    va_end(a.list);
    emit(level, &l);
    errno = saved;
}

void cs_log_msg(enum cs_log_level level, const char *msg) {
    if (!cs_log_enabled(level))
        return;
    int saved = errno;
    struct line l = {.len = 0};
    put_message(&l, level, msg);
    emit(level, &l);
    errno = saved;
}

void cs_log_err(enum cs_log_level level, const char *msg, const struct cs_err *err, const char *fields, ...) {
    if (!cs_log_enabled(level))
        return;
    int saved = errno;
    struct line l = {.len = 0};
    put_message(&l, level, msg);
    struct args a;
    va_start(a.list, fields);
    put_fields(&l, fields, &a);
    va_end(a.list);
    puts_line(&l, " kind=");
    puts_line(&l, cs_err_kind_name(err->kind));
    puts_line(&l, " error=");
    put_value(&l, err->msg, strlen(err->msg));
    emit(level, &l);
    errno = saved;
}

void cs_log_foreign(int syslog_level, const char *source, const char *facility, const char *text) {
    enum cs_log_level level = syslog_level <= 3   ? CS_LOG_ERROR
                              : syslog_level <= 4 ? CS_LOG_WARN
                              : syslog_level <= 6 ? CS_LOG_INFO
                                                  : CS_LOG_DEBUG;
    cs_log(level, source, "facility=%s text=%s", facility, text);
}

static void on_libevent(int severity, const char *msg) {
    int level = severity >= EVENT_LOG_ERR    ? 3
                : severity == EVENT_LOG_WARN ? 4
                : severity == EVENT_LOG_MSG  ? 6
                                             : 7;
    cs_log_foreign(level, "libevent", "event", msg);
}

void cs_log_hook_libevent(void) {
    event_set_log_callback(on_libevent);
}

void cs_log_set_sink(cs_log_sink_fn fn, void *arg) {
    pthread_mutex_lock(&state_lock);
    sink = fn;
    sink_arg = arg;
    memset(slots, 0, sizeof slots);
    pthread_mutex_unlock(&state_lock);
}
