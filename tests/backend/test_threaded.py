"""Plain functions as jobs: progress, stopping, errors."""

from __future__ import annotations

import time

import pytest

from napari_physgen.backend.job import Progress, Stop, Stopped, run, threaded
from napari_physgen.errors import UserError


def test_its_result_and_its_reports_come_out():
    seen = []

    def work(report):
        for step in range(3):
            report(Progress(step, 3, "counting"))
            time.sleep(0.02)
        return "done"

    assert run(threaded(work, "starting"), lambda p: seen.append(p.message)) == "done"
    assert seen[0] == "starting"
    assert "counting" in seen


def test_stop_ends_it_between_two_checks_and_keeps_what_it_has():
    def work(report):
        done = 0
        try:
            while True:
                time.sleep(0.01)
                report.check()
                done += 1
        except Stopped:
            return done

    began = time.perf_counter()
    calls = iter(range(100))
    done = run(threaded(work, "", patience=0.05), lambda _: Stop() if next(calls) == 2 else None)
    assert 0 < done < 1000
    assert time.perf_counter() - began < 5


def test_errors_arrive_where_the_job_runs():
    def work(report):
        raise UserError("this does not work")

    with pytest.raises(UserError, match="does not work"):
        run(threaded(work, ""))


def test_an_abandoned_job_ends_its_thread():
    ended = []

    def work(report):
        try:
            while True:
                time.sleep(0.01)
                report.check()
        finally:
            ended.append(True)

    job = threaded(work, "", patience=0.05)
    next(job)
    job.close()
    assert ended == [True]
