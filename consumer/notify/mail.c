// SPDX-License-Identifier: Apache-2.0
#include "notify/mail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certsync/base/text.h"
#include "certsync/model/key.h"
#include "certsync/model/mac.h"
#include "certsync/runtime/fileio.h"
#include "fetch/fetch.h"

#define TEXT_MAX     ((size_t)32 << 20)
#define ANSWER_MAX   65536
#define PASSWORD_MAX 1024
#define SUBJECT_MAX  200

struct cs_mailer {
    const struct cs_consumer_settings *s;
    const struct cs_notice_settings *section;
    const char *log_id;
    struct cs_fetch *fetch;
    struct cs_crypto *crypto;
    struct cs_buf text, message, password;
};

static bool read_password(struct cs_mailer *m, struct cs_err *err) {
    const char *path = m->s->notify_smtp_password_file;
    if (m->password.data)
        cs_mac_cleanse(m->password.data, m->password.cap);
    cs_buf_reset(&m->password);
    if (!path[0])
        return true;
    if (!cs_file_read(path, CS_FILE_PRIVATE, &m->password, err))
        return cs_err_prepend(err, "notify.smtp_password_file");
    m->password.len = strcspn((const char *)m->password.data, "\r\n");
    m->password.data[m->password.len] = '\0';
    return m->password.len > 0 ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "notify.smtp_password_file: the first line of %s is empty", path);
}

bool cs_mailer_new(const struct cs_consumer_settings *s, const struct cs_notice_settings *section,
                   const char *log_id, const atomic_bool *stopping, struct cs_mailer **ret,
                   struct cs_err *err) {
    CS_AUTO(cs_mailer_free) struct cs_mailer *m = calloc(1, sizeof *m);
    if (!m)
        return cs_err_oom(err);
    m->s = s;
    m->section = section;
    m->log_id = log_id;
    cs_buf_init(&m->text, TEXT_MAX);
    cs_buf_init(&m->message, 2 * TEXT_MAX);
    cs_buf_init(&m->password, PASSWORD_MAX);
    const struct cs_fetch_options options = {s->notify_smtp_ca, s->notify_timeout_ms, stopping, ANSWER_MAX,
                                             !section->private_addresses};
    if (!cs_fetch_new(&options, &m->fetch, err) || !cs_crypto_new(&m->crypto, err) || !read_password(m, err))
        return false;
    *ret = CS_TAKE(m);
    return true;
}

void cs_mailer_free(struct cs_mailer *m) {
    if (!m)
        return;
    cs_fetch_free(m->fetch);
    cs_crypto_free(m->crypto);
    cs_buf_clear(&m->text);
    cs_buf_clear(&m->message);
    if (m->password.data)
        cs_mac_cleanse(m->password.data, m->password.cap);
    cs_buf_clear(&m->password);
    free(m);
}

// --- what it says

// A subject is ASCII here: a name outside of it would need a form of its own.
void cs_mail_subject(const char *log_id, const struct cs_mail_line *lines, size_t n, char *out,
                     size_t out_size) {
    char text[SUBJECT_MAX];
    size_t len = n == 1 ? lines[0].text.len : 0;
    if (n == 1) {
        cs_text_escape(lines[0].text.data, len, text, sizeof text);
        snprintf(out, out_size, "[certsync %s] %s", log_id, text);
    } else {
        snprintf(out, out_size, "[certsync %s] %zu notices", log_id, n);
    }
    for (char *c = out; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
}

static void put_line(struct cs_buf *out, const struct cs_mail_line *l) {
    cs_buf_puts(out, "- ");
    for (size_t i = 0; i < l->text.len; i++)
        cs_buf_putc(out, l->text.data[i] < ' ' || l->text.data[i] == 127 ? '?' : (char)l->text.data[i]);
    cs_buf_puts(out, "\r\n");
}

void cs_mail_text(const char *log_id, const struct cs_mail_line *lines, size_t n, struct cs_buf *out) {
    cs_buf_printf(out, "%zu %s of the certsync log %s.\r\n", n, n == 1 ? "notice" : "notices", log_id);
    for (size_t i = 0; i < n;) {
        size_t same = i;
        while (same < n && strcmp(lines[same].account, lines[i].account) == 0)
            same++;
        cs_buf_printf(out, "\r\n%s%s (%zu)\r\n", lines[i].account[0] ? "Account " : "The log",
                      lines[i].account, same - i);
        for (; i < same; i++)
            put_line(out, &lines[i]);
    }
    cs_buf_puts(out, "\r\nWhat to do about a notice: certsync show NAME, certsync codes CODE.\r\n");
}

// The same notices make the same id, so a mail server may know a repetition.
static void message_id(struct cs_mailer *m, const char *to, const struct cs_mail_line *lines, size_t n,
                       char *out, size_t out_size) {
    CS_AUTO(cs_buf_clear) struct cs_buf all;
    uint8_t hash[32];
    cs_uuid id;
    cs_buf_init(&all, TEXT_MAX);
    cs_buf_puts(&all, to);
    for (size_t i = 0; i < n; i++)
        cs_buf_puts(&all, lines[i].id);
    cs_crypto_sha256(m->crypto, cs_buf_bytes(&all), hash);
    cs_uuid_v8(hash, id);
    snprintf(out, out_size, "Message-ID: <%s@%s.certsync>", id, m->log_id);
}

static void date(int64_t now_s, char *out, size_t out_size) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = (time_t)now_s;
    struct tm tm = {.tm_mday = 1};
    gmtime_r(&now, &tm);
    snprintf(out, out_size, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

// As it is where that is plain ASCII, which every reader shows; else as base64.
static void put_body(struct cs_buf *b, struct cs_bytes text) {
    char line[77];
    bool plain = true;
    for (size_t i = 0; i < text.len; i++)
        plain &= text.data[i] < 128;
    cs_buf_printf(b,
                  "MIME-Version: 1.0\r\nContent-Type: text/plain; "
                  "charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n",
                  plain ? "7bit" : "base64");
    if (plain)
        cs_buf_put(b, text.data, text.len);
    for (size_t i = 0; !plain && i < text.len; i += 57) {
        size_t n = text.len - i < 57 ? text.len - i : 57;
        cs_base64_encode(text.data + i, n, line);
        cs_buf_put(b, line, cs_base64_encoded_len(n));
        cs_buf_puts(b, "\r\n");
    }
}

static void put_head(struct cs_mailer *m, const char *to, const struct cs_mail_line *lines, size_t n,
                     int64_t now_s) {
    char id[200], at[64], subject[SUBJECT_MAX + 100];
    cs_mail_subject(m->log_id, lines, n, subject, sizeof subject);
    message_id(m, to, lines, n, id, sizeof id);
    date(now_s, at, sizeof at);
    cs_buf_printf(
        &m->message,
        "From: certsync <%s>\r\nTo: <%s>\r\nSubject: %s\r\n%s\r\n%s\r\nAuto-Submitted: auto-generated\r\n",
        m->s->notify_smtp_from, to, subject, at, id);
}

void cs_mailer_send(struct cs_mailer *m, const char *to, const struct cs_mail_line *lines, size_t n,
                    int64_t now_s, struct cs_delivered *ret) {
    *ret = (struct cs_delivered){.what = CS_DELIVERY_AWAY};
    cs_buf_reset(&m->text);
    cs_buf_reset(&m->message);
    cs_mail_text(m->log_id, lines, n, &m->text);
    put_head(m, to, lines, n, now_s);
    put_body(&m->message, cs_buf_bytes(&m->text));
    if (!cs_buf_ok(&m->text, &ret->err) || !cs_buf_ok(&m->message, &ret->err) || !read_password(m, &ret->err))
        return;
    const struct cs_fetch_mail mail = {.url = m->s->notify_smtp_url,
                                       .tls = m->s->notify_smtp_tls,
                                       .username = m->s->notify_smtp_username,
                                       .password = m->password.len > 0 ? (const char *)m->password.data : "",
                                       .from = m->s->notify_smtp_from,
                                       .to = to,
                                       .message = cs_buf_bytes(&m->message)};
    if (cs_fetch_mail(m->fetch, &mail, &ret->err))
        ret->what = CS_DELIVERED;
    else if (ret->err.kind == CS_ERR_REJECT)
        ret->what = CS_DELIVERY_REFUSED;
}
