// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/process_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct cs_process_metrics {
    struct cs_series *cpu, *resident, *virtual, *fds, *max_fds, *start;
};

// /proc/self/stat behind the program's name, which may hold anything (proc_pid_stat(5)): fields 14, 15, 22,
// 23, 24.
static bool read_stat(unsigned long *utime, unsigned long *stime, unsigned long long *start,
                      unsigned long *vsize, long *rss) {
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *behind = strrchr(text, ')');
    return behind && sscanf(behind + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d "
                            "%llu %lu %ld",
                            utime, stime, start, vsize, rss) == 5;
}

static double boot_s(void) {
    struct timespec wall, since;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &since);
    return (double)(wall.tv_sec - since.tv_sec) + (double)(wall.tv_nsec - since.tv_nsec) / 1e9;
}

static void put_stat(struct cs_process_metrics *p) {
    unsigned long utime, stime, vsize;
    unsigned long long start;
    long rss;
    double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    if (!read_stat(&utime, &stime, &start, &vsize, &rss))
        return;
    cs_series_set(p->cpu, ((double)utime + (double)stime) / ticks);
    cs_series_set(p->virtual, (double)vsize);
    cs_series_set(p->resident, (double)rss * page);
    cs_series_set(p->start, boot_s() + (double)start / ticks);
}

static void put_fds(struct cs_process_metrics *p) {
    struct rlimit most;
    DIR *d = opendir("/proc/self/fd");
    int n = -1; // the directory's own
    if (getrlimit(RLIMIT_NOFILE, &most) == 0 && most.rlim_cur != RLIM_INFINITY)
        cs_series_set(p->max_fds, (double)most.rlim_cur);
    if (!d)
        return;
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    cs_series_set(p->fds, n);
}

static void render(void *arg) {
    struct cs_process_metrics *p = arg;
    put_stat(p);
    put_fds(p);
}

static struct cs_series *gauge(struct cs_metrics *r, const char *name, const char *help) {
    struct cs_series *s = cs_metric_0(cs_metrics_gauge(r, name, help, NULL));
    cs_series_hide(s); // until it is known
    return s;
}

bool cs_process_metrics_new(struct cs_metrics *registry, const char *program, struct cs_process_metrics **ret,
                            struct cs_err *err) {
    static const char *const labels[] = {"program", "version", NULL};
    struct cs_process_metrics *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    cs_series_set(cs_metric_2(cs_metrics_gauge(registry, "certsync_build_info",
                                               "1 for the program and its version.", labels),
                              program, CERTSYNC_VERSION),
                  1);
    p->cpu = cs_metric_0(cs_metrics_reading(registry, "process_cpu_seconds_total",
                                            "Processor time of the process, user and system.", NULL));
    cs_series_hide(p->cpu);
    p->resident = gauge(registry, "process_resident_memory_bytes", "Resident memory of the process.");
    p->virtual = gauge(registry, "process_virtual_memory_bytes", "Virtual memory of the process.");
    p->fds = gauge(registry, "process_open_fds", "Open file descriptors of the process.");
    p->max_fds = gauge(registry, "process_max_fds", "How many file descriptors the process may open.");
    p->start =
        gauge(registry, "process_start_time_seconds", "When the process was started, in seconds since 1970.");
    cs_metrics_on_render(registry, render, p);
    *ret = p;
    return true;
}

void cs_process_metrics_free(struct cs_process_metrics *p) {
    free(p);
}
