import errno
import multiprocessing
import operator
import os
import signal
from multiprocessing.context import SpawnProcess

import pytest

from revlm.corpus.tokenizing.workers import Workers
from revlm.errors import ResourceError


def test_results_come_in_the_order_of_the_work() -> None:
    with Workers(3, 2, pow) as pool:
        for exponent in range(20):
            pool.submit(exponent)
        assert [pool.next_result() for _ in range(20)] == [2**exponent for exponent in range(20)]


def test_work_and_results_larger_than_any_pipe_wait_for_nobody() -> None:
    """All of it is given before any is taken."""
    with Workers(2, b"shared", operator.concat) as pool:
        for number in range(8):
            pool.submit(bytes([number]) * 3_000_000)
        for number in range(8):
            assert pool.next_result() == b"shared" + bytes([number]) * 3_000_000


def test_an_error_of_the_function_is_raised_where_its_result_is_taken() -> None:
    with Workers(2, 1, operator.truediv) as pool:
        for divisor in (1, 0, 2):
            pool.submit(divisor)
        assert pool.next_result() == 1
        with pytest.raises(ZeroDivisionError):
            pool.next_result()
        assert pool.next_result() == 0.5


def submit_after_all_died(pool: Workers[bytes, bytes], given_before: int) -> None:
    for _ in range(given_before):
        pool.submit(b"x" * 1_000_000)
    for process in multiprocessing.active_children():
        os.kill(process.pid or 0, signal.SIGKILL)
    for _ in range(6):
        pool.submit(b"x" * 1_000_000)
        pool.next_result()


@pytest.mark.parametrize("given_before", [0, 1, 6])
def test_the_death_of_a_worker_is_an_error_and_leaves_no_process(given_before: int) -> None:
    with (
        pytest.raises(ResourceError, match=r"one of 2 worker processes was killed.*fewer --workers"),
        Workers(2, b"", operator.concat) as pool,
    ):
        submit_after_all_died(pool, given_before)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_of_the_parent_s_group_leaves_the_workers_at_work(number: signal.Signals) -> None:
    """From the moment on at which they are started, long before their imports are done."""
    with Workers(2, 2, pow) as pool:
        for process in multiprocessing.active_children():
            os.kill(process.pid or 0, number)
        for exponent in range(4):
            pool.submit(exponent)
        assert [pool.next_result() for _ in range(4)] == [1, 2, 4, 8]
    assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_where_one_cannot_be_started_the_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = SpawnProcess.start, []

    def start_one(process: SpawnProcess) -> None:
        if started:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        start(process)
        started.append(process)

    monkeypatch.setattr(SpawnProcess, "start", start_one)
    with pytest.raises(OSError, match="unavailable"):
        Workers(2, 2, pow)
    assert [process.exitcode for process in started] == [0]


def test_results_that_nobody_takes_keep_no_worker() -> None:
    with Workers(1, b"x" * 1_000_000, operator.concat) as pool:
        for _ in range(3):
            pool.submit(b"more than any pipe holds")
    assert not multiprocessing.active_children()
