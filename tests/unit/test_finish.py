"""What is brought to its end, whoever interrupts meanwhile."""

import asyncio

import anyio
import anyio.lowlevel
import pytest
import trio

from rollback.finish import to_the_end


def test_a_cancelled_task_of_asyncio_gives_the_result_all_the_same() -> None:
    """Ctrl-C cancels the task itself, which no shield keeps off."""

    async def scene() -> list[str]:
        done: list[str] = []

        async def work() -> str:
            task.cancel()
            await anyio.sleep(0.01)
            done.append("kept")
            return "ended"

        task = asyncio.create_task(to_the_end(work))
        done.append(await task)
        return done

    assert asyncio.run(scene()) == ["kept", "ended"]


def test_a_cancelled_scope_waits_for_the_end() -> None:
    """Also where a deadline or another task interrupts."""

    async def scene() -> list[str]:
        done: list[str] = []

        async def work() -> None:
            scope.cancel()
            await anyio.sleep(0.01)
            done.append("kept")

        with anyio.CancelScope() as scope:
            await to_the_end(work)
        return done

    assert trio.run(scene) == ["kept"]


def test_an_error_goes_through() -> None:
    """What fails is not taken for done."""

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was"):
        asyncio.run(to_the_end(work))
