// SPDX-License-Identifier: Apache-2.0
#include "log/progress.h"

#include <string.h>
#include <unistd.h>

#include "certsync/runtime/clock.h"

#define DRAW_EVERY_MS 200
#define LOOK_EVERY    256 // events between looks at the clock

void cs_progress_start(struct cs_progress *p, FILE *stream, const char *what, int64_t total) {
    *p = (struct cs_progress){.stream = stream, .what = what, .total = total};
    p->shown = stream && isatty(fileno(stream));
    p->started_ms = cs_clock_mono_ms(cs_clock_real());
    p->drawn_ms = p->started_ms;
}

double cs_progress_rate(const struct cs_progress *p) {
    int64_t ms = cs_clock_mono_ms(cs_clock_real()) - p->started_ms;
    return (double)p->done * 1000.0 / (double)(ms > 0 ? ms : 1);
}

static void draw(struct cs_progress *p) {
    double rate = cs_progress_rate(p);
    fprintf(p->stream, "\r%s: %lld of %lld events, %.0f/s", p->what, (long long)p->done, (long long)p->total,
            rate);
    if (rate > 0 && p->total > p->done) {
        long long left_s = (long long)((double)(p->total - p->done) / rate);
        fprintf(p->stream, ", %lld:%02lld left", left_s / 60, left_s % 60);
    }
    fputs("\x1b[K", p->stream); // to the end of the line
    fflush(p->stream);
    p->drawn = true;
}

static void draw_in_time(struct cs_progress *p) {
    int64_t now_ms = cs_clock_mono_ms(cs_clock_real());
    if (now_ms - p->drawn_ms < DRAW_EVERY_MS)
        return;
    p->drawn_ms = now_ms;
    draw(p);
}

void cs_progress_step(struct cs_progress *p) {
    p->done++;
    if (p->shown && p->done % LOOK_EVERY == 0)
        draw_in_time(p);
}

void cs_progress_at(struct cs_progress *p, int64_t done) {
    p->done = done;
    if (p->shown)
        draw_in_time(p);
}

void cs_progress_end(struct cs_progress *p) {
    if (p->drawn)
        fputs("\r\x1b[K", p->stream);
    p->drawn = false;
}
