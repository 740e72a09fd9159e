"""Progress of a download, on standard error: a bar on a terminal, else one line a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

Advance = Callable[[int], None]


@contextmanager
def shown(name: str, url: str, total: int | None) -> Iterator[Advance]:
    """Shows that `name` comes from `url`; yields what to call with the number of new bytes.

    Args:
        total: bytes that will come, None when the server does not say.
    """
    host = urlsplit(url).hostname or url
    if sys.stderr is None or not sys.stderr.isatty():
        size = f" ({total:,} bytes)" if total else ""
        print(f"downloading {name}{size} from {host}", file=sys.stderr, flush=True)
        yield lambda count: None
        return

    # rich is slow to import, and most runs download nothing.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(f"{name} from {host}", total=total)
        yield lambda count: bars.advance(task, count)
