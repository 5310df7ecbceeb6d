from __future__ import annotations

from napari_physgen.backend import Job, Progress, Stop, Tune, run


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


def test_importing_the_backend_does_not_import_torch():
    import subprocess
    import sys

    code = (
        "import sys, napari_physgen.backend as b; b.run; b.describe_device; b.save_model; "
        "b.with_memory_fallback; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
