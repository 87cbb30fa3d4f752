// SPDX-License-Identifier: Apache-2.0
//
// Mails: one to each contact, with all that waits for it. Plain text: how many notices, then the
// sentence of each, by account. One thread.
#pragma once

#include "notify/sink.h"

// What a mail is made of; sorted by account.
struct cs_mail_line {
    const char *account;
    struct cs_bytes text;
    const char *id;
};
// How many notices one mail holds at most; further ones come with the next mail.
#define CS_MAIL_LINES 20000

struct cs_mailer;
CS_MUST_USE bool cs_mailer_new(const struct cs_consumer_settings *s, const struct cs_notice_settings *section,
                               const char *log_id, const atomic_bool *stopping, struct cs_mailer **ret,
                               struct cs_err *err);
void cs_mailer_free(struct cs_mailer *m);
CS_DEFINE_AUTO(struct cs_mailer, cs_mailer_free)
// Sends one mail. REFUSED: the server does not take it for this address.
void cs_mailer_send(struct cs_mailer *m, const char *to, const struct cs_mail_line *lines, size_t n,
                    int64_t now_s, struct cs_delivered *ret);

// The subject and the text of a mail, as cs_mailer_send sends them. Both are UTF-8 without any control
// character but line ends in the text.
void cs_mail_subject(const char *log_id, const struct cs_mail_line *lines, size_t n, char *out,
                     size_t out_size);
void cs_mail_text(const char *log_id, const struct cs_mail_line *lines, size_t n, struct cs_buf *out);
