# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Sourced by demo.sh and up.sh from the repository's root: starts a broker, a private redis-server and certsync-consumer on
# loopback, with keys for everybody, in one temporary folder; ends and removes all of it when the script ends, however it
# ends (the kernel ends the programs even if this shell is killed).
#
# stack_start [--kafka] sets STACK (the folder), BROKERS, API (the URL), CREATE_TIME (what kafka.allow_create_time must be). Then `as WHO ARGUMENT...` runs certsync as WHO.

BUILD=${CS_TEST_BUILD:-$PWD/build/release}
DEPLOYMENT=demo
PARTITIONS=4
STACK=
PIDS=

stack_stop() {
    trap '' INT TERM HUP
    for pid in $PIDS; do # the last one started is the first one ended
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || :
    done
    PIDS=
    [ -z "$STACK" ] || [ -n "${KEEP_STACK-}" ] || rm -rf "$STACK"
}

stack_fail() {
    printf 'certsync: %s\n' "$1" >&2
    [ -z "${2-}" ] || tail -n 20 "$2" >&2
    exit 1
}

# spawn NAME COMMAND...: in the background, away from the terminal's Ctrl-C, ended with this shell; output in NAME.log.
spawn() {
    name=$1
    shift
    setsid setpriv --pdeathsig TERM "$@" >"$STACK/$name.log" 2>&1 </dev/null &
    PIDS="$! $PIDS"
    SPAWNED=$!
}

# wait_for SECONDS NAME COMMAND...: until COMMAND succeeds, while the program spawned last runs.
wait_for() {
    tries=$(($1 * 10))
    name=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "$SPAWNED" 2>/dev/null || stack_fail "$name ended at once:" "$STACK/$name.log"
        [ "$tries" -gt 0 ] || stack_fail "$name does not answer:" "$STACK/$name.log"
        tries=$((tries - 1))
        sleep 0.1
    done
}

start_broker() {
    if [ "${1-}" = --kafka ]; then
        PYTHONPATH=tests TMPDIR="$STACK" /usr/bin/python3 -m support.kafka fetch
        # What it keeps aside (the ports that it takes) goes with the stack.
        spawn kafka env PYTHONPATH=tests TMPDIR="$STACK" /usr/bin/python3 -m support.kafka run \
            --dir "$STACK" --ready-file "$STACK/brokers"
        wait_for 90 kafka test -s "$STACK/brokers"
        BROKERS=$(cat "$STACK/brokers")
    else
        spawn broker "$BUILD/tests/broker/certsync-demo-broker" \
            --topic "cert.events:$PARTITIONS" --topic "cert.outcomes:$PARTITIONS" \
            --topic cert.corrections:1 --topic "cert.checkpoints:$PARTITIONS" --topic "cert.heartbeats:$PARTITIONS"
        wait_for 10 broker grep -q '^READY .' "$STACK/broker.log"
        BROKERS=$(sed -n 's/^READY //p' "$STACK/broker.log")
    fi
}

start_redis() {
    spawn redis redis-server --port 0 --unixsocket "$STACK/redis.sock" --unixsocketperm 700 --dir "$STACK" \
        --save '' --appendonly no --maxmemory-policy noeviction
    wait_for 10 redis redis-cli -s "$STACK/redis.sock" ping
}

make_keys() {
    mkdir -p "$STACK/keys"
    for who in root service admin issuer; do
        "$BUILD/agent/certsync" keygen --out "$STACK/keys/$who.key" >/dev/null
    done
    "$BUILD/agent/certsync" keygen --type custodian --out "$STACK/keys/custodian.key" >/dev/null
}

free_port() {
    while
        PORT=$(shuf -i 20000-31999 -n 1)
        curl -s -o /dev/null --max-time 1 "http://127.0.0.1:$PORT/"
        [ $? != 7 ] # 7: nobody listens there
    do :; done
}

start_consumer() {
    free_port
    API=http://127.0.0.1:$PORT
    CREATE_TIME=false
    [ "${1-}" = --kafka ] || CREATE_TIME=true # the embedded broker has nothing else
    cat >"$STACK/consumer.conf" <<END
[deployment]
id = $DEPLOYMENT
root_key = $STACK/keys/root.key.pub
service_key = $STACK/keys/service.key
[kafka]
brokers = $BROKERS
allow_create_time = $CREATE_TIME
[redis]
url = unix://$STACK/redis.sock
[api]
listen = 127.0.0.1:$PORT
END
    "$BUILD/consumer/certsync-consumer" init --config "$STACK/consumer.conf" --partitions "$PARTITIONS" --replication 1 \
        --root-key "$STACK/keys/root.key" >"$STACK/init.log" 2>&1 ||
        stack_fail "certsync-consumer init failed:" "$STACK/init.log"
    spawn consumer "$BUILD/consumer/certsync-consumer" run --config "$STACK/consumer.conf"
    wait_for 30 consumer curl -sf -o /dev/null "$API/readyz"
}

# settings WHO [ACCOUNT]: the settings file of one key holder.
settings() {
    cat >"$STACK/$1.conf" <<END
[deployment]
id = $DEPLOYMENT
[kafka]
brokers = $BROKERS
[agent]
key = $STACK/keys/$1.key
spool = $STACK/spool
custodian = $STACK/keys/custodian.key.pub
${2:+account = $2}
[api]
url = $API
END
}

# as WHO ARGUMENT...
as() {
    who=$1
    shift
    "$BUILD/agent/certsync" --config "$STACK/$who.conf" "$@"
}

# enroll WHO ACCOUNT [OPTION...]: a new agent's key, which the admin admits to the account.
enroll() {
    who=$1
    account=$2
    shift 2
    "$BUILD/agent/certsync" keygen --out "$STACK/keys/$who.key" >/dev/null
    settings "$who" "$account"
    as admin agent enroll --account "$account" --public-key "$STACK/keys/$who.key.pub" --label "$who" "$@"
}

stack_start() {
    trap stack_stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    STACK=$(mktemp -d "${TMPDIR:-/tmp}/certsync.XXXXXX")
    start_broker "$@"
    start_redis
    make_keys
    start_consumer "$@"
    for who in root admin issuer; do settings "$who"; done
    as root --quiet trust add --role admin --key "$STACK/keys/admin.key.pub"
    as root --quiet trust add --role issuer --key "$STACK/keys/issuer.key.pub"
    as root --quiet trust add --role custodian --key "$STACK/keys/custodian.key.pub"
}
