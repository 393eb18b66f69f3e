"""A progress bar with the time left, on standard error; nothing where rich is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(
    what: str, total: int, done: int = 0, *, shown: bool = True
) -> Iterator[Callable[..., None]]:
    """Yields `tick`, to be called once per picture or step, with a new text if there is one."""
    if not shown:
        yield lambda *_: None
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        yield lambda *_: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as progress:
        task = progress.add_task(what, total=total, completed=done)

        def tick(text: str | None = None) -> None:
            if text is not None:
                progress.update(task, description=text)
            progress.advance(task)

        yield tick
