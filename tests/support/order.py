# SPDX-License-Identifier: Apache-2.0
"""The order of test files that run side by side: the longest begin first, since the last one to begin decides when all end."""


def first(items, files):
    """Sorts collected tests: those of these files, in this order; then the others as they were."""
    ranks = {name: rank for rank, name in enumerate(files)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))
