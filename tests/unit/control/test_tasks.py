"""Tasks end when they are told to, whatever else happens in the same turn of the loop."""

from __future__ import annotations

import asyncio

import pytest

from fastlb.control.tasks import end, within


@pytest.mark.parametrize("turns", range(8))
def test_a_cancellation_beside_the_result_is_not_lost(turns: int) -> None:
    async def main() -> None:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def ask() -> str:
            return await answer

        async def circle() -> None:
            while True:
                await within(60, ask())
                await asyncio.sleep(60)

        task = asyncio.create_task(circle())
        await asyncio.sleep(0.001)
        answer.set_result("late")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        _, left = await asyncio.wait({task}, timeout=30)
        assert not left and task.cancelled()

    asyncio.run(main())


def test_within_gives_the_result_the_error_and_a_timeout() -> None:
    ended: list[str] = []

    async def works() -> int:
        return 1

    async def fails() -> int:
        raise OSError("no")

    async def lasts() -> int:
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append("lasts")

    async def main() -> None:
        assert await within(60, works()) == 1
        with pytest.raises(OSError, match="no"):
            await within(60, fails())
        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, lasts())
        assert ended == ["lasts"]

    asyncio.run(main())


def test_end_insists() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
        raise OSError("nobody asked")

    async def main() -> None:
        tasks = [asyncio.create_task(stubborn()) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.wait_for(end(tasks), 30)
        assert all(task.done() for task in tasks)
        await end([])

    asyncio.run(main())
