"""The worker forwards what the window can take, and every end of a job arrives."""

from __future__ import annotations

import itertools
import time
import warnings

import pytest

from napari_physgen.app.runner import Control, Ended, JobRunner, Update, relay
from napari_physgen.backend import Progress, Stop, Tune


def job(steps=5, seconds=0.0, heard=None, metrics=True):
    for step in range(steps):
        time.sleep(seconds)
        figures = {"loss": 1.0 / (step + 1)} if metrics else {}
        command = yield Progress(step, steps, "fitting", figures)
        if heard is not None and command is not None:
            heard.append((step, command))
        if isinstance(command, Stop):
            break
    return "result"


def drain(generator, control=None, hear=True):
    updates = []
    while True:
        try:
            update = next(generator)
        except StopIteration as end:
            return [u for u in updates if u], end.value
        if hear and control:
            control.hear()
        updates.append(update)


def test_the_result_arrives():
    control = Control()
    _, end = drain(relay(job, control), control)
    assert end == Ended("result")


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ValueError("no"), MemoryError()])
def test_every_error_arrives_also_those_a_worker_would_swallow(error):
    def failing():
        yield Progress(0, 1)
        raise error

    _, end = drain(relay(failing, Control()))
    assert end.error is error


def test_a_job_that_cannot_start_is_an_error_too():
    def broken():
        raise ImportError("no torch")

    _, end = drain(relay(broken, Control()))
    assert isinstance(end.error, ImportError)


def test_a_slow_window_gets_no_backlog():
    control = Control()
    updates, _ = drain(relay(lambda: job(40, 0.01), control), control, hear=False)
    assert len(updates) == 1


def test_updates_are_at_least_a_tenth_of_a_second_apart_and_lose_no_figure():
    control, times, figures = Control(), [], []
    for update in relay(lambda: job(300, 0.002), control):
        control.hear()
        if isinstance(update, Update):
            times.append(time.monotonic())
            figures += update.figures
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.099
    assert [step for step, _ in figures] == list(range(len(figures)))


def test_commands_given_before_the_first_step_are_kept_in_order_and_joined():
    control, heard = Control(), []
    control.commands.put(Tune(a=1))
    control.commands.put(Tune(b=2, a=3))
    drain(relay(lambda: job(3, heard=heard), control), control)
    assert heard == [(0, Tune(a=3, b=2))]


def test_a_stop_overtakes_tunings():
    control, heard = Control(), []
    control.commands.put(Tune(a=1))
    control.commands.put(Stop())
    drain(relay(lambda: job(3, heard=heard), control), control)
    assert heard == [(0, Stop())]


def test_a_stop_that_one_stage_does_not_hear_reaches_the_next():
    heard = []

    def stages():
        for stage in ("patterns", "variational"):
            for step in range(3):
                command = yield Progress(step, 3, stage)
                heard.append((stage, command))
                if stage == "variational" and isinstance(command, Stop):
                    return "so far"

    control = Control()
    control.commands.put(Stop())
    _, end = drain(relay(stages, control), control)
    assert heard == [
        ("patterns", Stop()),
        ("patterns", None),
        ("patterns", None),
        ("variational", Stop()),
    ]
    assert end == Ended("so far")


def test_a_costly_picture_takes_a_small_part_of_the_time():
    made = []

    def costly():
        made.append(time.monotonic())
        time.sleep(0.05)
        return []

    def showing():
        for step in range(60):
            time.sleep(0.01)
            yield Progress(step, 60, preview=costly)

    control = Control()
    drain(relay(showing, control), control)
    assert len(made) <= 3
    assert min(b - a for a, b in itertools.pairwise(made)) >= 0.25


def test_a_window_that_draws_slowly_gets_fewer_pictures():
    drawn = []

    def showing():
        for step in range(120):
            time.sleep(0.01)
            yield Progress(step, 120, preview=list)

    control = Control()
    for update in relay(showing, control):
        if isinstance(update, Update) and update.pictures is not None:
            time.sleep(0.06)
            drawn.append(time.monotonic())
        control.hear()
    assert len(drawn) >= 2
    assert min(b - a for a, b in itertools.pairwise(drawn)) >= 5 * 0.06


def test_an_abandoned_job_is_closed():
    closed = []

    def lasting():
        try:
            while True:
                time.sleep(0.01)
                yield Progress(0, 1)
        finally:
            closed.append(True)

    control = Control()
    generator = relay(lasting, control)
    next(generator)
    control.abandoned.set()
    drain(generator, control)
    assert closed == [True]


def test_the_time_left_forgets_the_stage_before_though_both_have_the_same_name():
    def stages():
        for seconds, steps in ((0.0, 1000), (0.01, 150)):
            for step in range(steps):
                time.sleep(seconds)
                yield Progress(step, 200, "network")

    control = Control()
    updates, _ = drain(relay(stages, control), control)
    last = updates[-1]
    assert last.seconds_left == pytest.approx((200 - last.progress.step) * 0.011, rel=0.4)


def test_the_time_left_follows_the_steps_of_the_current_stage():
    def stages():
        for step in range(100):
            yield Progress(step, 100, "quick")
        for step in range(150):
            time.sleep(0.01)
            yield Progress(step, 200, "slow")

    control = Control()
    updates, _ = drain(relay(stages, control), control)
    last = updates[-1]
    assert last.seconds_left == pytest.approx((200 - last.progress.step) * 0.011, rel=0.4)


@pytest.fixture
def shown(monkeypatch):
    """What the viewer would show as a warning."""
    seen = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *where: seen.append(str(message)))
    monkeypatch.setattr(warnings, "filters", [("always", None, Warning, None, 0)])
    return seen


def warning_job(seconds):
    warnings.warn("a library has changed", FutureWarning, stacklevel=1)
    time.sleep(seconds)
    yield Progress(0, 1)
    warnings.warn("once more", FutureWarning, stacklevel=1)
    return "result"


def test_warnings_of_a_job_go_to_the_log_and_all_others_are_shown(qtbot, shown, caplog):
    runner = JobRunner()
    with qtbot.waitSignal(runner.ended, timeout=5000) as told:
        runner.start(lambda: warning_job(0.1))
        qtbot.wait(50)
        warnings.warn("look here", UserWarning, stacklevel=1)
    assert told.args[0] == Ended("result")
    assert shown == ["look here"]
    assert [record.message for record in caplog.records] == ["a library has changed", "once more"]


def test_workers_that_overlap_leave_warnings_as_they_were(qtbot, shown):
    """As with a restart: the abandoned worker ends after the next one has begun."""
    runner = JobRunner()
    for _ in range(3):
        runner.abandon()
        runner.start(lambda: warning_job(0.15))
        qtbot.wait(60)
    with qtbot.waitSignal(runner.ended, timeout=5000):
        pass
    qtbot.wait(100)
    warnings.warn("look here", UserWarning, stacklevel=1)
    assert shown == ["look here"]
