# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Sourced by demo.sh: the files that a certificate authority hands to its customers, made with the openssl command in the
# current folder. FILE.key is a private key, FILE.pem a certificate followed by its issuer's.

SM2_ID='distid:1234567812345678'

quiet() {
    "$@" >openssl.log 2>&1 || {
        cat openssl.log >&2
        return 1
    }
}

# make_key FILE p256|rsa2048|sm2
make_key() {
    case $2 in
    p256) quiet openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" ;;
    rsa2048) quiet openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1" ;;
    sm2) quiet openssl genpkey -algorithm SM2 -out "$1" ;;
    esac
}

# make_ca NAME p256|sm2: a root NAME-root and an issuing NAME-ca below it.
make_ca() {
    digest=-sha256
    opt="-batch"
    [ "$2" != sm2 ] || digest=-sm3
    [ "$2" != sm2 ] || opt="-sigopt $SM2_ID"
    make_key "$1-root.key" "$2"
    make_key "$1-ca.key" "$2"
    # $opt holds words.
    # shellcheck disable=SC2086
    quiet openssl req -x509 -new -key "$1-root.key" $digest $opt -days 3650 -subj "/O=Demo/CN=$1 root" -out "$1-root.crt" \
        -addext 'keyUsage=critical,keyCertSign,cRLSign'
    sign "$1-root" "$1-ca" "/O=Demo/CN=$1 issuing" 1825 'basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign'
}

# sign CA FILE SUBJECT DAYS EXTENSIONS: a certificate for FILE.key (or for FILE.csr where that is there) in FILE.crt.
sign() {
    digest=-sha256
    opts=
    if grep -q 'BEGIN' "$1.key" && openssl pkey -in "$1.key" -noout -text 2>/dev/null | grep -q 'SM2'; then
        digest=-sm3
        opts="-sigopt $SM2_ID"
    fi
    # $opts holds words.
    # shellcheck disable=SC2086
    [ -f "$2.csr" ] || quiet openssl req -new -key "$2.key" $digest $opts -subj "$3" -out "$2.csr"
    [ -z "$opts" ] || opts="$opts -vfyopt $SM2_ID"
    printf '%s\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' "$5" >"$2.ext"
    # shellcheck disable=SC2086
    quiet openssl x509 -req -in "$2.csr" -subj "$3" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial $digest $opts -days "$4" \
        -extfile "$2.ext" -out "$2.crt"
    cat "$2.crt" "$1.crt" >"$2.pem"
}

# make_leaf CA FILE HOST [DAYS [USAGE]]
make_leaf() {
    sign "$1" "$2" "/CN=$3" "${4:-90}" "subjectAltName=DNS:$3
keyUsage=critical,${5:-digitalSignature}
basicConstraints=critical,CA:FALSE"
}

# make_brief_leaf CA FILE HOST SECONDS: one that expires in the course of the demo (only `openssl ca` can say when).
make_brief_leaf() {
    quiet openssl req -new -key "$2.key" -subj "/CN=$3" -out "$2.csr"
    : >index.txt
    cat >ca.conf <<END
[ca]
default_ca = demo
[demo]
database = $PWD/index.txt
new_certs_dir = $PWD
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
END
    printf 'subjectAltName=DNS:%s\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' \
        "$3" >"$2.ext"
    quiet openssl ca -batch -notext -config ca.conf -cert "$1.crt" -keyfile "$1.key" -in "$2.csr" -extfile "$2.ext" \
        -startdate "$(date -u -d '-1 hour' +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d "+$4 seconds" +%Y%m%d%H%M%SZ)" -out "$2.crt"
    cat "$2.crt" "$1.crt" >"$2.pem"
}
