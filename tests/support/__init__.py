# SPDX-License-Identifier: Apache-2.0
"""Servers and programs that the tests, the demo and the benchmarks start: all on loopback, all ended with their parent."""
