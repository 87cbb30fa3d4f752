#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ./dev up: the demo's stack, kept running until Ctrl-C, with two accounts of one owner whose agents are ready to use.
set -eu
# shellcheck source=tests/demo/stack.sh
. tests/demo/stack.sh
stack_start "$@"
as admin --quiet account register acme --site intl --owner acme-ltd --verified
as admin --quiet account register acme-eu --site intl --owner acme-ltd --verified
enroll acme acme --quiet
enroll acme-eu acme-eu --quiet

cat <<END

certsync is up: brokers $BROKERS, API $API, everything in $STACK (removed at the end).

In another terminal, as the agent of the account "acme":

  export PATH=$BUILD/agent:$BUILD/consumer:\$PATH
  export CERTSYNC_DEPLOYMENT_ID=$DEPLOYMENT CERTSYNC_KAFKA_BROKERS=$BROKERS CERTSYNC_API_URL=$API
  export CERTSYNC_AGENT_ACCOUNT=acme CERTSYNC_AGENT_KEY=$STACK/keys/acme.key
  export CERTSYNC_AGENT_CUSTODIAN=$STACK/keys/custodian.key.pub CERTSYNC_AGENT_SPOOL=$STACK/spool
  export CERTSYNC_REDIS_URL=unix://$STACK/redis.sock CERTSYNC_DEPLOYMENT_ROOT_KEY=$STACK/keys/root.key.pub
  export CERTSYNC_DEPLOYMENT_SERVICE_KEY=$STACK/keys/service.key CERTSYNC_KAFKA_ALLOW_CREATE_TIME=$CREATE_TIME
  KEYS=$STACK/keys

(The last two export lines are for certsync-consumer's commands: verify, explain, rebuild …)

Then go through docs/use/walk.md. Its first command makes fullchain.pem and privkey.pem; the next ones are
certsync upload www --cert fullchain.pem --key-file privkey.pem and certsync list.
As somebody else: certsync --key \$KEYS/admin.key (issuer.key, root.key), certsync --key \$KEYS/acme-eu.key --account acme-eu

Ctrl-C ends it.
END
# `wait` returns early when a signal comes, and the traps do the rest; it also returns when the consumer ends by itself.
wait "$SPAWNED" || :
stack_fail "certsync-consumer ended:" "$STACK/consumer.log"
