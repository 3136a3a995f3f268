"""Work begins at once; what has to wait continues in a task."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_mlops.serving.gateway.http import eager_start


def test_work_that_waits_for_nothing_needs_no_task() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    assert eager_start.start(work()) is None
    assert done == ["done"]


def test_work_that_waits_continues_in_a_task() -> None:
    async def main() -> list[Any]:
        seen: list[Any] = []
        first: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        failing: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            seen.append("begun")
            seen.append(await first)
            await asyncio.sleep(0)
            try:
                await failing
            except ValueError as error:
                seen.append(str(error))
            async with asyncio.timeout(10):
                seen.append(await asyncio.wait_for(asyncio.sleep(0, "timed"), 10))

        rest = eager_start.start(work())
        assert rest is not None
        assert seen == ["begun"]
        task = asyncio.create_task(rest)
        first.set_result(1)
        failing.set_exception(ValueError("two"))
        await task
        return seen

    assert asyncio.run(main()) == ["begun", 1, "two", "timed"]


def test_a_task_can_be_cancelled_and_its_work_sees_it() -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        rest = eager_start.start(work())
        assert rest is not None
        task = asyncio.create_task(rest)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    assert asyncio.run(main()) == ["cancelled"]


def test_what_needs_a_task_asks_for_one() -> None:
    async def main() -> list[bool]:
        in_task: list[bool] = []

        async def work() -> None:
            in_task.append(asyncio.current_task() is not None)
            await eager_start.inside_task()
            in_task.append(asyncio.current_task() is not None)

        loop = asyncio.get_running_loop()
        begun: asyncio.Future[Any] = loop.create_future()
        # As the protocol does: called by the event loop, outside of any task.
        loop.call_soon(lambda: begun.set_result(eager_start.start(work())))
        await asyncio.create_task(await begun)
        return in_task

    assert asyncio.run(main()) == [False, True]
