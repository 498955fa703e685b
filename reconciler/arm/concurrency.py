"""Many requests at once, but not too many: a few workers take items until none is left or one
fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")


async def each(
    items: Iterable[Item], action: Callable[[Item], Awaitable[None]], at_once: int
) -> None:
    """Run `action` for every item, `at_once` at a time. The first error stops the others and is
    raised as it is.
    """
    await together(lambda group: _start(group, items, action, at_once))


async def together(start: Callable[[asyncio.TaskGroup], Awaitable[None]]) -> None:
    """A task group whose first error is raised as it is, not in an exception group."""
    # In a task of its own: before Python 3.13 a group that fails leaves a request for cancellation
    # with its task, and a time limit around it then ends in `CancelledError`.
    try:
        await asyncio.create_task(_grouped(start))
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


async def _grouped(start: Callable[[asyncio.TaskGroup], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        await start(group)


async def beside(first: Coroutine[Any, Any, Item], other: Coroutine[Any, Any, object]) -> Item:
    """The result of `first`, while `other` runs at the same time. The first error stops both and is
    raised as it is.
    """
    tasks: list[asyncio.Task[Item]] = []

    async def start(group: asyncio.TaskGroup) -> None:
        tasks.append(group.create_task(first))
        group.create_task(other)

    await together(start)
    return tasks[0].result()


async def _start(
    group: asyncio.TaskGroup,
    items: Iterable[Item],
    action: Callable[[Item], Awaitable[None]],
    at_once: int,
) -> None:
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await action(item)

    for _ in range(at_once):
        group.create_task(worker())


def _first(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


def failed(task: asyncio.Future[Any]) -> bool:
    """Whether it has ended without a result, so that its answer cannot be shared."""
    return task.done() and (task.cancelled() or task.exception() is not None)
