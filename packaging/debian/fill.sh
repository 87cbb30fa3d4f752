#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fill.sh PROGRAM TEMPLATE: the template, with each line "@@ WORD..." replaced by what PROGRAM WORD... prints.
# So that manual pages and example settings say what the program's own tables say.
set -eu
program=$1
while IFS= read -r line; do
    case $line in
    '@@ '*)
        # Word splitting is meant.
        # shellcheck disable=SC2086
        "$program" ${line#@@ }
        ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$2"
