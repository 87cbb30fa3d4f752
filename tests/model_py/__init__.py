# SPDX-License-Identifier: Apache-2.0
"""What a log means, computed a second time: an independent model of certsync in Python.

It reads raw records of cert.events and says what must be decided of each (rules.py), what the catalogs hold then, and
which derived events the log must contain; audit.py holds outcomes and catalogs against that. Nothing here calls, or was
written after, the C code that it examines: the design is the common source.
"""
