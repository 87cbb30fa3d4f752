// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // pidfd_open
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/runtime/fileio.h"
#include "daemon/daemon.h"

#define LOCK_MODE 0644

bool cs_daemon_path(const struct cs_session *s, enum cs_daemon_file file, char *out, size_t size,
                    struct cs_err *err) {
    static const char *const endings[] = {"register", "status", "lock"};
    // What is registered in one log says nothing of another.
    bool of_log = file == CS_DAEMON_REGISTER;
    int n = snprintf(out, size, "%s/agent.%s.%s%s%s", s->settings->spool, s->account, of_log ? s->log_id : "",
                     of_log ? "." : "", endings[file]);
    return n < (int)size ? true
                         : cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                                      "agent.spool: %s: the path is too long", s->settings->spool);
}

bool cs_daemon_lock(const struct cs_session *s, int *ret_fd, struct cs_err *err) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[PATH_MAX];
    if (!cs_daemon_path(s, CS_DAEMON_LOCK, path, sizeof path, err) ||
        !cs_dir_make(s->settings->spool, 0700, err) ||
        !cs_file_open_own(path, O_RDWR, LOCK_MODE, ret_fd, err))
        return false;
    if (fcntl(*ret_fd, F_SETLK, &whole) == 0)
        return true;
    if (errno == EACCES || errno == EAGAIN)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s: another certsync agent runs for this account with this spool", path);
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: cannot be locked: %s", path, strerror(errno));
}

// If the file is a link, or has a second name, others may hold its lock. -1 and true: there is no
// file.
static bool open_lock(const struct cs_session *s, int *ret_fd, struct cs_err *err) {
    char path[PATH_MAX];
    struct stat st;
    int dir = -1;
    *ret_fd = -1;
    if (!cs_daemon_path(s, CS_DAEMON_LOCK, path, sizeof path, err))
        return false;
    if (access(s->settings->spool, F_OK) < 0 && errno == ENOENT)
        return true;
    if (!cs_dir_open(s->settings->spool, &dir, err))
        return false;
    int fd = openat(dir, strrchr(path, '/') + 1, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    int code = errno;
    close(dir);
    if (fd < 0 && code == ENOENT)
        return true;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) {
        *ret_fd = fd;
        return true;
    }
    cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: it cannot be told whether the agent runs: %s", path,
               fd < 0 ? strerror(code)
                      : "it is no plain file with one name; look who put it there, then remove it");
    if (fd >= 0)
        close(fd);
    return false;
}

// Who holds it, as the kernel says. -1: nobody. 0: a process that is invisible from here.
static pid_t holder(int fd) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK ? whole.l_pid : -1;
}

bool cs_daemon_running(const struct cs_session *s, bool *ret_running, struct cs_err *err) {
    int fd;
    if (!open_lock(s, &fd, err))
        return false;
    *ret_running = fd >= 0 && holder(fd) >= 0;
    if (fd >= 0)
        close(fd);
    return true;
}

bool cs_daemon_reload(const struct cs_session *s) {
    struct cs_err ignored;
    int fd;
    if (!open_lock(s, &fd, &ignored) || fd < 0)
        return false;
    pid_t pid = holder(fd);
    // Asked again with the process held: its number may belong to another by now.
    int process = pid > 1 ? pidfd_open(pid, 0) : -1;
    bool told = process >= 0 && holder(fd) == pid && pidfd_send_signal(process, SIGHUP, NULL, 0) == 0;
    if (process >= 0)
        close(process);
    close(fd);
    return told;
}
