// SPDX-License-Identifier: Apache-2.0
module certsync/tlog

go 1.19

require (
	github.com/transparency-dev/merkle v0.0.2
	golang.org/x/mod v0.17.0
)
