from __future__ import annotations

from dataclasses import replace

from napari_physgen.backend import Command, Job, Progress, Stop, Tune, run
from napari_physgen.backend.job import relayed


def count(total: int) -> Job[list[object]]:
    """Return the commands that came."""
    commands: list[object] = []
    for step in range(total):
        command = yield Progress(step + 1, total)
        if command is not None:
            commands.append(command)
        if isinstance(command, Stop):
            break
    return commands


def test_run_returns_what_the_job_returns():
    assert run(count(3)) == []


def test_run_hands_commands_to_the_job():
    steps = []

    def listen(progress: Progress) -> Stop | Tune | None:
        steps.append(progress.step)
        return {2: Tune(rate=0.5), 4: Stop()}.get(progress.step)

    assert run(count(10), listen) == [Tune(rate=0.5), Stop()]
    assert steps == [1, 2, 3, 4]


def test_a_relayed_job_is_shown_otherwise_and_heard_before_it_obeys():
    heard: list[Command] = []

    def listen(progress: Progress) -> Command | None:
        assert progress.total == 30
        return {2: Tune(rate=0.5), 3: Stop()}.get(progress.step)

    job = relayed(count(10), lambda inner: replace(inner, total=30), heard.append)
    assert run(job, listen) == heard == [Tune(rate=0.5), Stop()]


def test_who_closes_a_relayed_job_closes_the_inner_one():
    inner = count(3)
    outer = relayed(inner)
    next(outer)
    outer.close()
    assert inner.gi_frame is None


def test_importing_the_backend_does_not_import_torch():
    import subprocess
    import sys

    code = (
        "import sys, napari_physgen.backend as b; b.run; b.describe_device; b.save_model; "
        "b.with_memory_fallback; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
