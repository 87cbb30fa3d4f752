// SPDX-License-Identifier: Apache-2.0
//
// certsync-demo-broker: a Kafka broker for demos, without Java: librdkafka's mock cluster, served to other
// processes over loopback.
//
// What it is not: it keeps everything in memory, 5 MiB or 100,000 messages a partition (older ones are
// dropped), stamps no times of its own (CreateTime only), answers no admin requests and no look-up by
// timestamp. Its topics are those of the command line. Durability is tested on a real Kafka.
//
// It prints "READY 127.0.0.1:PORT" on stdout once it serves, and ends on SIGTERM or SIGINT, or with
// --until-eof when its standard input ends, so that it goes with the process that holds the other end.

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

enum { MAX_TOPICS = 64, MAX_PARTITIONS = 1024, EXIT_USAGE = 2 };

struct topic {
    char *name; // points into argv
    int partitions;
};

struct options {
    struct topic topics[MAX_TOPICS];
    size_t topics_len;
    bool until_eof;
};

static int stop_pipe[2] = {-1, -1};

static void on_signal(int sig) {
    (void)sig;
    const int saved = errno;
    (void)!write(stop_pipe[1], "", 1); // full means that a stop is already known
    errno = saved;
}

static void print_usage(FILE *out) {
    fputs("usage: certsync-demo-broker [--until-eof] --topic NAME:PARTITIONS...\n"
          "An in-memory Kafka broker on a free loopback port, for demos. Prints \"READY 127.0.0.1:PORT\".\n"
          "  --topic NAME:PARTITIONS  a topic and its number of partitions (1-1024); may be given up to 64 "
          "times\n"
          "  --until-eof              end when standard input ends\n"
          "  --help                   this text\n",
          out);
}

// "NAME:PARTITIONS"; cuts `arg` at the colon.
static bool parse_topic(char *arg, struct topic *ret_topic) {
    char *colon = strrchr(arg, ':');
    if (colon == NULL || colon == arg || colon[1] == '\0')
        return false;
    char *end = NULL;
    errno = 0;
    const long partitions = strtol(colon + 1, &end, 10);
    if (errno != 0 || *end != '\0' || partitions < 1 || partitions > MAX_PARTITIONS)
        return false;
    *colon = '\0';
    *ret_topic = (struct topic){.name = arg, .partitions = (int)partitions};
    return true;
}

// Returns -1 to go on, otherwise the code to exit with.
static int parse_options(int argc, char **argv, struct options *ret_options) {
    static const struct option known[] = {{"topic", required_argument, NULL, 't'},
                                          {"until-eof", no_argument, NULL, 'e'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    for (int c = 0; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 't':
            if (ret_options->topics_len == MAX_TOPICS ||
                !parse_topic(optarg, &ret_options->topics[ret_options->topics_len])) {
                fprintf(stderr, "certsync-demo-broker: --topic %s: want NAME:PARTITIONS\n", optarg);
                return EXIT_USAGE;
            }
            ret_options->topics_len++;
            break;
        case 'e':
            ret_options->until_eof = true;
            break;
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS;
        default:
            print_usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind != argc || ret_options->topics_len == 0) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    return -1;
}

static bool catch_signals(void) {
    if (pipe(stop_pipe) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        if (fcntl(stop_pipe[i], F_SETFL, O_NONBLOCK) != 0 || fcntl(stop_pipe[i], F_SETFD, FD_CLOEXEC) != 0)
            return false;
    struct sigaction action = {.sa_handler = on_signal};
    return sigemptyset(&action.sa_mask) == 0 && sigaction(SIGTERM, &action, NULL) == 0 &&
           sigaction(SIGINT, &action, NULL) == 0 && signal(SIGPIPE, SIG_IGN) != SIG_ERR;
}

// Returns when a signal came or, if asked for, standard input ended.
static void wait_for_end(bool until_eof) {
    struct pollfd fds[] = {{.fd = stop_pipe[0], .events = POLLIN},
                           {.fd = until_eof ? STDIN_FILENO : -1, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            return;
        }
        if (fds[0].revents != 0)
            return;
        char ignored[256];
        if (fds[1].revents != 0 && read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
            return;
    }
}

static bool serve(rd_kafka_t *rk, const struct options *options) {
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 1);
    if (cluster == NULL) {
        fputs("certsync-demo-broker: librdkafka could not start its mock cluster\n", stderr);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < options->topics_len; i++) {
        const struct topic *topic = &options->topics[i];
        const rd_kafka_resp_err_t err =
            rd_kafka_mock_topic_create(cluster, topic->name, topic->partitions, 1);
        ok = err == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (!ok)
            fprintf(stderr, "certsync-demo-broker: topic %s: %s\n", topic->name, rd_kafka_err2str(err));
    }
    if (ok) {
        printf("READY %s\n", rd_kafka_mock_cluster_bootstraps(cluster));
        ok = fflush(stdout) == 0;
    }
    if (ok)
        wait_for_end(options->until_eof);
    rd_kafka_mock_cluster_destroy(cluster);
    return ok;
}

int main(int argc, char **argv) {
    struct options options = {0};
    const int code = parse_options(argc, argv, &options);
    if (code >= 0)
        return code;
    if (!catch_signals()) {
        perror("certsync-demo-broker: signals");
        return EXIT_FAILURE;
    }
    // The mock cluster borrows this client's threads and logging; the client itself talks to nobody (and at a
    // higher log level warns of just that).
    char reason[256] = "out of memory";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *rk = NULL;
    if (rd_kafka_conf_set(conf, "log_level", "3", reason, sizeof reason) == RD_KAFKA_CONF_OK)
        rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (rk == NULL) {
        fprintf(stderr, "certsync-demo-broker: %s\n", reason);
        rd_kafka_conf_destroy(conf);
        return EXIT_FAILURE;
    }
    const bool ok = serve(rk, &options);
    rd_kafka_destroy(rk);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
