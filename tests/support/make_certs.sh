#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the certificates, keys and requests that the unit tests and benchmarks read: make_certs.sh DIRECTORY
# Names: KIND.key (PKCS#8), KIND.pem (certificate), ca-*.pem (issuers); what else is made is said beside it.
set -eu
dir=$1
mkdir -p "$dir"
cd "$dir"
rm -f ./*

ID='distid:1234567812345678'
fail() {
    echo "make_certs.sh: $*" >&2
    tail -n 5 log >&2
    exit 1
}
ossl() { openssl "$@" >>log 2>&1 || fail "openssl $*"; }

newkey() { # NAME KIND
    case $2 in
    rsa*) ossl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:"${2#rsa}" -out "$1.key" ;;
    ed25519) ossl genpkey -algorithm ED25519 -out "$1.key" ;;
    x25519) ossl genpkey -algorithm X25519 -out "$1.key" ;;
    sm2) ossl genpkey -algorithm SM2 -out "$1.key" ;;
    *) ossl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:"$2" -out "$1.key" ;;
    esac
}

extensions() { # LINE...
    echo '[e]'
    for line in "$@"; do echo "$line"; done
}

selfsign() { # NAME SUBJECT OPTION... ; extensions on standard input
    name=$1 subject=$2
    shift 2
    cat >ext
    printf '[req]\ndistinguished_name=dn\n[dn]\n' >conf
    cat ext >>conf
    ossl req -new -x509 -config conf -extensions e -key "$name.key" -subj "$subject" -days 3650 -out "$name.pem" "$@"
}

issue() { # NAME SUBJECT CA OPTION... ; extensions on standard input
    name=$1 subject=$2 ca=$3
    shift 3
    cat >ext
    printf '[req]\ndistinguished_name=dn\n[dn]\n' >conf
    case $name in
    sm2*) ossl req -new -config conf -sm3 -sigopt "$ID" -key "$name.key" -subj "$subject" -out "$name.csr"
        set -- "$@" -vfyopt "$ID" ;;
    *) ossl req -new -config conf -key "$name.key" -subj "$subject" -out "$name.csr" ;;
    esac
    case $name in # a CA lasts longer than what it issues
    ca-* | x1-* | twin-*) days=730 ;;
    *) days=365 ;;
    esac
    ossl x509 -req -in "$name.csr" -CA "$ca.pem" -CAkey "$ca.key" -CAcreateserial -days $days -extfile ext -extensions e \
        -out "$name.pem" "$@"
}

CA='basicConstraints=critical,CA:TRUE'
CA_USAGE='keyUsage=critical,keyCertSign,cRLSign'
LEAF='basicConstraints=critical,CA:FALSE'
SAN='subjectAltName=DNS:www.example.com,DNS:example.com'

# Issuers: two roots, an intermediate of path length 0 under the first, one under that, and one of each other key.
newkey ca-root P-256
extensions "$CA" "$CA_USAGE" | selfsign ca-root '/C=CN/O=Example/CN=Example Root' -sha256
newkey ca-rsa rsa2048
extensions "$CA" "$CA_USAGE" | selfsign ca-rsa '/C=CN/O=Example/CN=Example RSA Root' -sha256
newkey ca-p384 P-384
extensions "$CA" "$CA_USAGE" | selfsign ca-p384 '/C=CN/O=Example/CN=Example P-384 Root' -sha384
newkey ca-ed25519 ed25519
extensions "$CA" "$CA_USAGE" | selfsign ca-ed25519 '/C=CN/O=Example/CN=Example Ed25519 Root'
newkey ca-sm2 sm2
extensions "$CA" "$CA_USAGE" | selfsign ca-sm2 '/C=CN/O=Example/CN=Example SM2 Root' -sm3 -sigopt "$ID"
newkey ca-sub P-256
extensions "$CA,pathlen:0" "$CA_USAGE" | issue ca-sub '/C=CN/O=Example/CN=Example Sub CA' ca-root -sha256
newkey ca-below P-256
extensions "$CA" "$CA_USAGE" | issue ca-below '/C=CN/O=Example/CN=Example CA Below' ca-sub -sha256
newkey ca-nosign P-256
extensions "$CA" 'keyUsage=critical,cRLSign' | issue ca-nosign '/C=CN/O=Example/CN=Example No-Sign CA' ca-root -sha256
# The name of ca-sub over another key.
newkey ca-impostor P-256
extensions "$CA" "$CA_USAGE" | issue ca-impostor '/C=CN/O=Example/CN=Example Sub CA' ca-root -sha256

# CAs that are there more than once: a root that an older one signed too, and the older one signed by it; an intermediate that two
# roots signed; one with and without a path length; one name and key five times.
newkey x1 P-256
extensions "$CA" "$CA_USAGE" | selfsign x1 '/C=CN/O=Example/CN=Example X1' -sha256
cp x1.key x1-cross.key
extensions "$CA" "$CA_USAGE" | issue x1-cross '/C=CN/O=Example/CN=Example X1' ca-root -sha256
cp ca-root.key ca-root-cross.key
extensions "$CA" "$CA_USAGE" | issue ca-root-cross '/C=CN/O=Example/CN=Example Root' x1 -sha256
newkey x1-int P-256
extensions "$CA" "$CA_USAGE" | issue x1-int '/C=CN/O=Example/CN=Example R3' x1 -sha256
newkey twin-a P-256
cp twin-a.key twin-b.key
extensions "$CA" "$CA_USAGE" | issue twin-a '/C=CN/O=Example/CN=Example Twin' ca-root -sha256
extensions "$CA" "$CA_USAGE" | issue twin-b '/C=CN/O=Example/CN=Example Twin' ca-rsa -sha256 -days 800
cp ca-sub.key ca-sub-long.key
extensions "$CA" "$CA_USAGE" | issue ca-sub-long '/C=CN/O=Example/CN=Example Sub CA' ca-root -sha256
newkey knot-1 P-256
for i in 1 2 3 4 5; do
    [ -f knot-$i.key ] || cp knot-1.key knot-$i.key
    extensions "$CA" "$CA_USAGE" | selfsign knot-$i '/CN=Example Knot' -sha256
done

# Leafs, one of each key, with different issuers and digests.
newkey rsa rsa2048
extensions "$LEAF" "$SAN" | issue rsa /CN=www.example.com ca-sub -sha256
newkey p256 P-256
extensions "$LEAF" 'keyUsage=critical,digitalSignature' \
    'subjectAltName=DNS:www.example.com,DNS:*.example.com,IP:192.0.2.1,IP:2001:db8::1,email:a@example.com,URI:https://example.com/' |
    issue p256 '/C=CN/O=Example, Inc./OU=a\+b/CN=www.example.com' ca-sub -sha256
newkey p384 P-384
extensions "$LEAF" "$SAN" | issue p384 /CN=www.example.com ca-rsa -sha384
newkey p521 P-521
extensions "$LEAF" "$SAN" | issue p521 /CN=www.example.com ca-rsa -sha512
newkey ed25519 ed25519
extensions "$LEAF" "$SAN" | issue ed25519 /CN=www.example.com ca-ed25519
newkey by-p384 P-256
extensions "$LEAF" "$SAN" | issue by-p384 /CN=www.example.com ca-p384 -sha384
newkey by-rsa P-256
extensions "$LEAF" "$SAN" | issue by-rsa /CN=www.example.com ca-rsa -sha256
newkey rsa-by-rsa rsa2048
extensions "$LEAF" "$SAN" | issue rsa-by-rsa /CN=www.example.com ca-rsa -sha256
newkey by-below P-256
extensions "$LEAF" "$SAN" | issue by-below /CN=www.example.com ca-below -sha256
newkey by-nosign P-256
extensions "$LEAF" "$SAN" | issue by-nosign /CN=www.example.com ca-nosign -sha256
newkey by-leaf P-256
extensions "$LEAF" "$SAN" | issue by-leaf /CN=under.example.com p256 -sha256
newkey by-x1 P-256
extensions "$LEAF" "$SAN" | issue by-x1 /CN=www.example.com x1-int -sha256
newkey by-twin P-256
extensions "$LEAF" "$SAN" | issue by-twin /CN=www.example.com twin-a -sha256
newkey by-knot P-256
extensions "$LEAF" "$SAN" | issue by-knot /CN=www.example.com knot-1 -sha256
cp p256.key p256-newer.key
extensions "$LEAF" "$SAN" | issue p256-newer /CN=www.example.com ca-sub -sha256
newkey other P-256
extensions "$LEAF" "$SAN" | issue other /CN=other.example.com ca-rsa -sha256
newkey pss rsa2048
extensions "$LEAF" "$SAN" | issue pss /CN=www.example.com ca-rsa -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
newkey self P-256
extensions "$LEAF" "$SAN" | selfsign self /CN=self.example.com -sha256
newkey utf8 P-256
extensions "$LEAF" | selfsign utf8 '/C=CN/O=示例/CN=证书' -utf8 -sha256

# SM2 pair, and pairs that are none.
newkey sm2-sign sm2
extensions "$LEAF" 'keyUsage=critical,digitalSignature' "$SAN" | issue sm2-sign /C=CN/CN=www.example.com ca-sm2 -sm3 -sigopt "$ID"
newkey sm2-enc sm2
extensions "$LEAF" 'keyUsage=critical,keyEncipherment,dataEncipherment,keyAgreement' "$SAN" |
    issue sm2-enc /C=CN/CN=www.example.com ca-sm2 -sm3 -sigopt "$ID"
cp sm2-sign.key sm2-samekey.key
extensions "$LEAF" 'keyUsage=critical,keyEncipherment' "$SAN" |
    issue sm2-samekey /C=CN/CN=www.example.com ca-sm2 -sm3 -sigopt "$ID"
newkey sm2-other sm2
extensions "$LEAF" 'keyUsage=critical,keyEncipherment' "$SAN" |
    issue sm2-other /C=CN/CN=other.example.com ca-sm2 -sm3 -sigopt "$ID"
# The right key and digest without the distinguishing id: not a valid SM2 signature.
newkey sm2-noid sm2
extensions "$LEAF" "$SAN" | issue sm2-noid /C=CN/CN=www.example.com ca-sm2 -sm3

# What is refused.
newkey weak-rsa rsa1024
extensions "$LEAF" "$SAN" | issue weak-rsa /CN=www.example.com ca-rsa -sha256
newkey secp256k1 secp256k1
extensions "$LEAF" "$SAN" | issue secp256k1 /CN=www.example.com ca-rsa -sha256
ossl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out explicit.key
extensions "$LEAF" "$SAN" | issue explicit /CN=www.example.com ca-rsa -sha256
newkey compressed P-256
ossl ec -in compressed.key -conv_form compressed -out compressed.key
extensions "$LEAF" "$SAN" | issue compressed /CN=www.example.com ca-rsa -sha256
newkey p192 prime192v1
extensions "$LEAF" "$SAN" | issue p192 /CN=www.example.com ca-rsa -sha256
ossl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out rsa-pss-key.key
extensions "$LEAF" "$SAN" | issue rsa-pss-key /CN=www.example.com ca-rsa -sha256
ossl dsaparam -noout -genkey -out dsa.old 1024
ossl pkey -in dsa.old -out dsa.key
extensions "$LEAF" "$SAN" | issue dsa /CN=www.example.com ca-rsa -sha256
ossl pkey -in dsa.key -traditional -out dsa.old
newkey pss-default rsa2048
extensions "$LEAF" "$SAN" | issue pss-default /CN=www.example.com ca-rsa -sha256 -sigopt rsa_padding_mode:pss
newkey pss-short rsa2048
extensions "$LEAF" "$SAN" | issue pss-short /CN=www.example.com ca-rsa -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:8
newkey sha1 P-256
extensions "$LEAF" "$SAN" | issue sha1 /CN=www.example.com ca-rsa -sha1
newkey md5 P-256
extensions "$LEAF" "$SAN" | issue md5 /CN=www.example.com ca-rsa -md5
newkey ca-sha1 rsa2048
extensions "$CA" "$CA_USAGE" | selfsign ca-sha1 '/CN=Old Root' -sha1
newkey no-name P-256
extensions "$LEAF" | issue no-name /O=Example ca-rsa -sha256
newkey no-cn P-256
extensions "$LEAF" "$SAN" | issue no-cn /O=Example ca-rsa -sha256
newkey many P-256
{
    printf '[e]\nbasicConstraints=CA:FALSE\nsubjectAltName='
    i=0
    while [ $i -lt 119 ]; do printf 'DNS:h%d.example.com,' $i && i=$((i + 1)); done
    echo DNS:last.example.com
} | issue many /CN=many.example.com ca-rsa -sha256
# Version 1: of another issuer, and self-issued.
# version1 NAME SIGNER...: a certificate of version 1. x509 -req makes version 3 from OpenSSL 3.4 on; req makes 1 when it is asked to.
version1() {
    name=$1
    shift
    ossl req -new -config conf -key "$name.key" -subj "/CN=$name.example.com" -out "$name.csr"
    if openssl req -help 2>&1 | grep -q x509v1; then
        [ "$1" != -signkey ] || shift 2
        ossl req -x509v1 -config conf -key "$name.key" -subj "/CN=$name.example.com" "$@" -days 365 -sha256 -out "$name.pem"
    else
        [ "$1" = -signkey ] || set -- "$@" -CAcreateserial
        ossl x509 -req -in "$name.csr" "$@" -days 365 -sha256 -out "$name.pem"
    fi
    openssl x509 -in "$name.pem" -noout -text | grep -q 'Version: 1 ' || fail "$name.pem is not of version 1"
}
newkey v1 P-256
version1 v1 -CA ca-rsa.pem -CAkey ca-rsa.key
newkey v1-self P-256
version1 v1-self -signkey v1-self.key

# Key files in the forms that people have.
ossl rsa -in rsa.key -traditional -out rsa.pkcs1
ossl pkey -in rsa.key -traditional -aes128 -passout pass:secret -out rsa.legacy
ossl pkcs8 -topk8 -in rsa.key -passout pass:secret -out rsa.pkcs8e
ossl pkcs8 -topk8 -in rsa.key -outform DER -passout pass:secret -out rsa.pkcs8e.der
ossl pkey -in rsa.key -outform DER -out rsa.key.der
ossl pkey -in p256.key -traditional -out p256.sec1
ossl ecparam -name prime256v1 -out p256.params
cat p256.params p256.sec1 >p256.prelude
# SEC1 inside of PKCS#8 names no curve: there the label says it.
at=$(openssl asn1parse -in sm2-sign.key | sed -n 's/^ *\([0-9]*\):.*OCTET STRING.*/\1/p')
ossl asn1parse -in sm2-sign.key -strparse "$at" -out sm2.sec1.der
{
    echo '-----BEGIN SM2 PRIVATE KEY-----'
    openssl base64 -in sm2.sec1.der
    echo '-----END SM2 PRIVATE KEY-----'
} >sm2.label
ossl pkey -in p256.key -pubout -out p256.pub
ossl pkey -in p256.key -pubout -outform DER -out p256.pub.der
newkey custodian x25519
ossl pkey -in custodian.key -pubout -out custodian.pub
# Containers and other forms of certificates.
cat p256.pem ca-sub.pem ca-root.pem >p256.fullchain
ossl x509 -in p256.pem -outform DER -out p256.der
ossl x509 -in p256.pem -trustout -addtrust serverAuth -out p256.trusted
ossl pkcs12 -export -inkey p256.key -in p256.pem -certfile ca-sub.pem -passout pass:secret -out p256.p12
ossl pkcs12 -in p256.p12 -nodes -passin pass:secret -out p256.bag
ossl crl2pkcs7 -nocrl -certfile p256.fullchain -out p256.p7
ossl crl2pkcs7 -nocrl -certfile p256.fullchain -outform DER -out p256.p7.der
# Requests. *.csr were made on the way, without extensions.
ossl req -new -config conf -key p256.key -subj '/C=CN/O=Example/CN=www.example.com' -addext "$SAN" -out request.pem
ossl req -in request.pem -outform DER -out request.der
sed 's/CERTIFICATE REQUEST/NEW CERTIFICATE REQUEST/' request.pem >request.new
ossl req -new -config conf -sm3 -sigopt "$ID" -key sm2-sign.key -subj /CN=sm2.example.com -out request.sm2
ossl req -new -config conf -sm3 -key sm2-sign.key -subj /CN=sm2.example.com -out noid.req
ossl req -new -config conf -key rsa.key -sha384 -subj /CN=rsa.example.com -out request.rsa
ossl req -new -config conf -key ed25519.key -subj /CN=ed.example.com -out request.ed25519
rm -f ext conf log ./*.srl
