#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The model has no I/O, no clock, no environment, no randomness but where it makes keys and signatures: check.sh LIBRARY
# Reads `nm -u` object by object. Exceptions are stated here, one object and what it may call.
set -u
library=$1

# Whole names, as grep -E patterns; _chk are glibc's fortified forms.
denied='
open|open64|openat|openat64|creat|fopen|fopen64|fdopen|freopen|popen|tmpfile|mkstemp|unlink|rename|stat|fstat|lstat|access
read|write|pread|pwrite|readv|writev|fread|fwrite|fgets|fputs|fputc|putc|putchar|puts|getc|fgetc|getline|close|fclose|fflush
v?(f|d)?printf|__v?(f|d)?printf_chk|scanf|fscanf|perror|stdin|stdout|stderr|syslog|openlog
time|clock|clock_gettime|gettimeofday|ftime|localtime(_r)?|gmtime(_r)?|mktime|timegm|strftime|nanosleep|usleep|sleep|select|poll
getenv|secure_getenv|setenv|putenv|environ|setlocale|newlocale|uselocale|localeconv
socket|connect|bind|listen|accept|send|sendto|recv|recvfrom|getaddrinfo|gethostbyname|gethostname|ioctl|fcntl
rand|rand_r|srand|random|srandom|drand48|getrandom|getentropy|arc4random(_buf|_uniform)?
fork|vfork|exec[a-z]*|system|kill|raise|signal|sigaction|exit|_exit|atexit|pthread_create|getpid|getuid|uname
strerror(_r)?|strtok|strcoll|toupper|tolower|isalpha|isspace|isprint|__ctype_[a-z_]+|isalnum|isdigit
BIO_[a-zA-Z0-9_]+|PEM_[a-zA-Z0-9_]+|CONF_[a-zA-Z0-9_]+|OPENSSL_config|OPENSSL_init_[a-z]+|ERR_print_errors[a-z_]*
X509_cmp_current_time|X509_cmp_time|X509_verify_cert|X509_gmtime_adj|ASN1_TIME_diff|ASN1_TIME_adj
RAND_[a-zA-Z0-9_]+|EVP_PKEY_(keygen|generate|Q_keygen|paramgen)[a-z_]*|EVP_PKEY_sign(_init|_init_ex)?|EVP_DigestSign[A-Za-z_]*
'
# OBJECT SYMBOL-PATTERN: what draws random numbers inside of OpenSSL, and where it may.
allowed='
keygen.c.o EVP_PKEY_Q_keygen
seal.c.o EVP_PKEY_Q_keygen
sign.c.o EVP_PKEY_sign|EVP_PKEY_sign_init|EVP_DigestSign|EVP_DigestSignInit_ex
'
pattern=$(printf '%s' "$denied" | grep -v '^$' | tr '\n' '|' | sed 's/|$//')

nm -u "$library" | awk -v denied="^($pattern)\$" -v allowed="$(printf '%s' "$allowed" | tr '\n' ';')" '
BEGIN {
    n = split(allowed, lines, ";")
    for (i = 1; i <= n; i++)
        if (split(lines[i], row, " ") == 2)
            exception[row[1]] = "^(" row[2] ")$"
}
/:$/ { object = substr($0, 1, length($0) - 1); next }
NF == 2 {
    symbol = $2
    sub(/@.*/, "", symbol)
    seen++
    if (symbol !~ denied || ((object in exception) && symbol ~ exception[object]))
        next
    print object " calls " symbol ": the model must not"
    failed = 1
}
END {
    if (seen == 0)
        print "no symbols were read"
    exit failed || seen == 0
}' >&2
