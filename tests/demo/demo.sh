#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ./dev demo: certificates go from PEM files through Kafka into catalogs; wrong ones are refused; certificates are shared.
# Every command shown is really run, and its exit code checked: a demo that ends well was also a test.
set -eu
# shellcheck source=tests/demo/stack.sh
. tests/demo/stack.sh
# shellcheck source=tests/demo/files.sh
. tests/demo/files.sh

if [ -t 1 ]; then BOLD=$(printf '\033[1m') PLAIN=$(printf '\033[0m'); else BOLD='' PLAIN=''; fi

chapter() { printf '\n%s%s%s\n%s\n' "$BOLD" "$1" "$PLAIN" "${1}" | sed '$ s/./-/g'; }

note() { printf '\n%s\n' "$*"; }

# on WHO EXIT_CODE WORD ARGUMENT...: show and run `certsync ARGUMENT...` as WHO. It must end with EXIT_CODE, and what it
# says must hold WORD (a code such as key.mismatch, or '' for anything).
on() {
    on_who=$1
    on_wanted=$2
    on_word=$3
    shift 3
    on_shown=
    for argument in "$@"; do
        case $argument in
        *[!A-Za-z0-9_./=:,@%+-]* | '') on_shown="$on_shown '$argument'" ;;
        *) on_shown="$on_shown ${argument#"$STACK/"}" ;;
        esac
    done
    printf '\n%s%s$ certsync%s%s\n' "$BOLD" "$on_who" "$on_shown" "$PLAIN"
    on_code=0
    as "$on_who" "$@" >"$STACK/said" 2>&1 </dev/null || on_code=$?
    sed 's/^/  /' "$STACK/said"
    [ "$on_code" = "$on_wanted" ] || stack_fail "the demo expected exit code $on_wanted, and got $on_code" "$STACK/consumer.log"
    [ -z "$on_word" ] || grep -qF -e "$on_word" "$STACK/said" || stack_fail "the demo expected to read $on_word here"
}

applied() { who=$1 && shift && on "$who" 0 '' "$@"; }         # applied WHO ARGUMENT...
refused() { who=$1 word=$2 && shift 2 && on "$who" 1 "$word" "$@"; } # refused WHO CODE ARGUMENT...: by the consumer's rules
stopped() { who=$1 word=$2 && shift 2 && on "$who" 4 "$word" "$@"; } # stopped WHO CODE ARGUMENT...: before anything was sent

make_files() {
    make_ca demo p256
    make_ca gm sm2
    for name in www web2 shop old; do
        make_key "$name.key" p256
        make_leaf demo-ca "$name" "$name.example.com"
    done
    # The chain the wrong way round, as many a customer has it: the agent puts it in order.
    cat demo-ca.crt www.crt >www.pem
    make_key pay.key rsa2048
    make_leaf demo-ca pay pay.example.com
    openssl rsa -in pay.key -traditional -out pay-pkcs1.key 2>openssl.log
    make_key gm-sign.key sm2
    make_leaf gm-ca gm-sign gm.example.cn 90 digitalSignature
    make_key gm-enc.key sm2
    make_leaf gm-ca gm-enc gm.example.cn 90 keyEncipherment
    make_key brief.key p256
    # A renewed certificate begins later than the one it replaces, and certificates count whole seconds.
    sleep 1
    make_key www-new.key p256
    make_leaf demo-ca www-new www.example.com 120
    openssl pkey -in www.key -aes256 -passout pass:demo -out www-encrypted.key
    head -n 5 www.crt >www-truncated.pem
    openssl x509 -in www.crt -outform DER -out www.der
    openssl pkcs12 -export -in www.crt -inkey www.key -passout pass:demo -out www.p12
}

cast() {
    chapter "1. The cast"
    note "The root key trusts an administrator, who registers accounts and admits their hosts' keys; nobody else is believed."
    applied admin account register acme --site intl --owner acme-ltd --verified --certificates 8 --shares 1
    applied admin agent enroll --account acme --public-key "$STACK/keys/web1.key.pub" --label web1
    note "More accounts, made the same way: acme-eu and acme-lab of the same owner, acme-cn on the other site,
globex of another owner, initech whose owner was not verified."
    as admin --quiet account register acme-eu --site intl --owner acme-ltd --verified
    as admin --quiet account register acme-lab --site intl --owner acme-ltd --verified
    as admin --quiet account register acme-cn --site cn --owner acme-ltd --verified
    as admin --quiet account register globex --site intl --owner globex-corp --verified
    as admin --quiet account register initech --site intl --owner initech-inc
    enroll eu1 acme-eu --quiet
    enroll ini1 initech --quiet
    enroll edge acme --quiet --names 'edge-*'
}

uploads() {
    chapter "2. From files to the catalog"
    note "A certificate, its chain in the wrong order (the agent mends it), and its key:"
    applied web1 upload www --cert www.pem --key-file www.key --tag web
    note "An RSA key in the old PKCS#1 form:"
    applied web1 upload pay --cert pay.pem --key-file pay-pkcs1.key
    note "No key file: the key was made with a CSR, to which the certificate is matched."
    applied web1 csr create api --subject /CN=api.example.com --dns api.example.com --out api.csr
    make_leaf demo-ca api api.example.com
    applied web1 upload api --cert api.pem --csr
    note "SM2: a certificate for signing and one for encryption."
    applied web1 upload gm --algorithm sm2 --sign-cert gm-sign.pem --sign-key gm-sign.key \
        --encrypt-cert gm-enc.pem --encrypt-key gm-enc.key
    note "The same certificate again changes nothing; a renewed one takes the place of the old one."
    on web1 0 unchanged upload www --cert www.pem --key-file www.key
    applied web1 upload www --cert www-new.pem --key-file www-new.key --replace
    note "And the platform's own CA issues one to the account:"
    applied issuer issue shop --account acme --source official --cert shop.pem --key-file shop.key
    applied web1 list
    applied web1 show www
}

mistakes() {
    chapter "3. Wrong files: said before anything is sent"
    stopped web1 key.mismatch upload web2 --cert web2.pem --key-file shop.key
    stopped web1 key.encrypted upload web2 --cert web2.pem --key-file www-encrypted.key
    stopped web1 openssl upload web2 --cert web2.pem --key-file web2.crt
    stopped web1 openssl upload web2 --cert www.der --key-file web2.key
    stopped web1 openssl upload web2 --cert www.p12 --key-file web2.key
    stopped web1 openssl upload web2 --cert www-truncated.pem --key-file web2.key
    stopped web1 name.invalid upload 'web 2' --cert web2.pem --key-file web2.key
    stopped web1 cert.algorithm upload web2 --cert gm-sign.pem --key-file gm-sign.key
}

verdicts() {
    chapter "4. Against the rules: refused by the consumer, with the reason"
    refused web1 name.taken upload www --cert web2.pem --key-file web2.key
    refused web1 replace.older upload www --cert www.pem --key-file www.key --replace
    note "The host edge may touch names that begin with edge- only; then its key is revoked."
    refused edge event.forbidden upload web2 --cert web2.pem --key-file web2.key
    applied edge upload edge-1 --cert web2.pem --key-file web2.key
    as admin --quiet agent revoke --account acme "$(as edge key id "$STACK/keys/edge.key")"
    refused edge event.revoked_signer upload edge-2 --cert old.pem --key-file old.key
    note "The account's limit of certificates:"
    applied admin account update acme --certificates 6
    refused web1 quota.certificates upload old --cert old.pem --key-file old.key
    applied admin account update acme --certificates 100
}

shares() {
    chapter "5. Sharing"
    make_brief_leaf demo-ca brief brief.example.com 15
    applied issuer issue brief --account acme --source test --cert brief.pem --key-file brief.key
    as issuer --quiet issue solo --account initech --source official --cert old.pem --key-file old.key
    note "A certificate of the platform is pushed into another account's view:"
    applied web1 share shop --to acme-eu
    applied eu1 list
    note "And every limit:"
    refused web1 share.uploaded share www --to acme-eu
    refused eu1 share.reshare share shop --to acme-lab
    on web1 4 share.self share shop --to acme
    refused web1 share.limit share shop --to acme-lab
    applied web1 unshare shop --to acme-eu
    wait_until_gone eu1 shop
    applied eu1 list
    refused web1 share.site share shop --to acme-cn
    refused web1 share.owner share shop --to globex
    note "(An account that does not exist gets the same answer, so that accounts cannot be probed.)"
    refused web1 share.owner share shop --to nobody
    refused ini1 share.unverified share solo --to acme
    wait_until_expired brief.crt
    refused web1 share.expired share brief --to acme-eu
    note "A shared certificate is not deleted by mistake:"
    applied web1 share shop --to acme-eu
    refused web1 delete.shared delete shop
    applied web1 delete shop --cascade
    wait_until_gone eu1 shop
    applied eu1 list
}

# wait_until_gone WHO NAME: what one account ends reaches the other through the log, a moment later.
wait_until_gone() {
    tries=100
    while as "$1" show "$2" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || stack_fail "$2 did not leave the view of $1" "$STACK/consumer.log"
        sleep 0.1
    done
}

# wait_until_expired CERTIFICATE
wait_until_expired() {
    note "(waiting until $1 has expired)"
    expiry_s=$(date -u -d "$(openssl x509 -in "$1" -noout -enddate | cut -d= -f2)" +%s)
    while [ "$(date +%s)" -le "$expiry_s" ]; do sleep 0.2; done
}

rebuild() {
    chapter "6. The log is the truth"
    note "Redis loses everything. The consumer reads the log again, proves each of its verdicts anew, and the view is the same."
    as web1 list --json >"$STACK/before.json"
    redis-cli -s "$STACK/redis.sock" flushall >/dev/null
    tries=300
    until as web1 list --json >"$STACK/after.json" 2>/dev/null && cmp -s "$STACK/before.json" "$STACK/after.json"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || stack_fail "the view did not come back:" "$STACK/consumer.log"
        sleep 0.1
    done
    applied web1 list
    note "What was decided, the last ones first:"
    applied web1 outcomes --limit 10
}

stack_start "$@"
mkdir "$STACK/files"
"$BUILD/agent/certsync" keygen --out "$STACK/keys/web1.key" >/dev/null
settings web1 acme
cd "$STACK/files"
make_files
cast
uploads
mistakes
verdicts
shares
rebuild
printf '\nAll of it happened as expected. Next: ./dev up, and docs/use/walk.md.\n'
