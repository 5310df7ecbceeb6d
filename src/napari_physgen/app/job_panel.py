"""The frame around every tool: what I have, my instrument, go, what came out, keep it.

A tool's widget subclasses `JobPanel`, adds its lines and turns a click into a `Task`;
everything else (worker, progress, live picture, curve, errors, layers, export) is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import QEvent, QEventLoop, Qt
from qtpy.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_physgen.app.choosers import LayerChooser
from napari_physgen.app.form import Row, SettingsForm
from napari_physgen.app.live_preview import LivePreview
from napari_physgen.app.plots import LiveCurves
from napari_physgen.app.preferences import preference, recall, remember
from napari_physgen.app.result_bar import ResultBar
from napari_physgen.app.results import add_results, is_result
from napari_physgen.app.runner import Ended, JobRunner, Update
from napari_physgen.app.words import Words, duration
from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from qtpy.QtGui import QShowEvent

    from napari_physgen.app.sliders import Span
    from napari_physgen.backend import Job, Progress
    from napari_physgen.outputs import Output
    from napari_physgen.provenance import Record
    from napari_physgen.settings import Settings

FROM_PREFERENCES = ("device", "precision")
SCROLL_BAR = 16


@dataclass(frozen=True)
class Task:
    """One click: the job to run, where it belongs and what to do with its result.

    Parameters
    ----------
    job : callable
        Starts the job; called in the worker thread.
    source : napari.layers.Layer
        The layer that the input was read from, or a `blank` one that only says where the result
        belongs.
    settings : Settings
    done : callable
        Called with the result and its record (None without one); returns a summary.
    origin : (float, float)
        Source pixel that is pixel (0, 0) of the input.
    tunable : bool
        Whether the job takes new values of the form's tunable fields.
    """

    job: Callable[[], Job[Any]]
    source: Layer
    settings: Settings
    done: Callable[[Any, Record | None], str]
    origin: tuple[float, float] = (0, 0)
    tunable: bool = True


class JobPanel(QScrollArea):
    """Dock widget of one tool.

    A tool that makes something from nothing has no `input_title`; then nobody is asked for a
    layer. Curves run over the step or over the figure named in `curves_along`. Fields named in
    `tucked` are in the advanced section whatever they are.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    tool: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    input_title: ClassVar[str]
    model: ClassVar[type[Settings]]
    rows: ClassVar[tuple[Row, ...]] = ()
    hidden: ClassVar[tuple[str, ...]] = ()
    tucked: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[dict[str, dict[str, str]]] = {}
    sliders: ClassVar[dict[str, Span]] = {}
    curves: ClassVar[dict[str, str]] = {}
    curves_along: ClassVar[str] = "step"

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = napari_viewer
        # No child of the panel: it must outlive it until the worker has stopped.
        self.runner = JobRunner()
        self.destroyed.connect(self.runner.abandon)
        self.runner.updated.connect(self._update)
        self.runner.ended.connect(self._end)
        self.live = LivePreview(napari_viewer)
        self._task: Task | None = None
        self._run = 0
        self._starters: list[QPushButton] = []
        self._device = ""
        self._build()
        self._fill()

    # ---- for subclasses -----------------------------------------------------------------

    def accepts(self, layer: Layer) -> bool:
        """Whether a layer is offered as input: images, but none of our own results."""
        from napari.layers import Image

        return isinstance(layer, Image) and not is_result(layer)

    def input_chosen(self, layer: Layer | None) -> None:
        """React to a newly chosen layer (None: there is none)."""

    def setting_changed(self, name: str) -> None:
        """React to an edited field."""

    def fill(self, values: Mapping[str, Any]) -> None:
        """Show settings by name."""
        self.form.put(values)

    def take_settings(self, tool: str, values: Mapping[str, Any], origin: str) -> None:
        """Show the settings of an earlier result; raises UserError for those of another tool."""
        if tool != self.tool:
            raise UserError(f"The settings in {origin} belong to another tool, '{tool}'.")
        self.fill(values)

    def count(self, progress: Progress) -> str:
        """Return what stands behind a job's message, e.g. " 140/250"."""
        return f" {progress.step}/{progress.total}" if progress.total > 1 else ""

    def live_begins(self, layer: Layer) -> None:
        """React to the first live picture of a job."""

    def time_left(self, seconds: float) -> str:
        """Return what stands behind a job's message about the time that it needs."""
        return f", {duration(seconds)} left in this stage"

    def show_pictures(self, pictures: Sequence[Output]) -> None:
        """Show live pictures, the first one on the task's source."""
        first = self.live.layer is None
        self.live.show(pictures, self._run)
        if first and self.live.layer is not None:
            self.live_begins(self.live.layer)

    @property
    def busy(self) -> bool:
        """Whether anything runs that must end with the panel."""
        return self.runner.running

    def add_start(self, layout: QVBoxLayout) -> None:
        """Add what comes before the form; by default the chooser of the input layer."""
        if self.input_title:
            layout.addWidget(QLabel(f"<b>{self.input_title}</b>"))
            layout.addWidget(self.chooser)

    def add_steps(self, layout: QVBoxLayout) -> None:
        """Add the tool's buttons."""
        raise NotImplementedError

    def add_more(self, layout: QVBoxLayout) -> None:
        """Add what follows the progress and the curves."""

    def starter(self, text: str, action: Callable[[], None], tip: str) -> QPushButton:
        """Return a button that starts something, closed while a job runs."""
        button = _button(text, tip, lambda: self.attempt(action))
        self._starters.append(button)
        return button

    def step(
        self,
        layout: QVBoxLayout,
        title: str,
        buttons: dict[str, tuple[Callable[[], None], str]],
        extra: tuple[QWidget, ...] = (),
    ) -> Words:
        """Add a titled line of buttons {text: (action, tooltip)}; return the words below it."""
        if title:
            layout.addWidget(QLabel(f"<b>{title}</b>"))
        line = QHBoxLayout()
        line.setSpacing(4)
        for text, (action, tip) in buttons.items():
            line.addWidget(self.starter(text, action, tip))
        for widget in extra:
            line.addWidget(widget)
        layout.addLayout(line)
        words = Words()
        layout.addWidget(words)
        return words

    @property
    def buttons(self) -> list[QPushButton]:
        """The buttons that start, pause and stop."""
        return [*self._starters, self.pause_button, self.stop_button]

    # ---- running ------------------------------------------------------------------------

    def settings(self) -> Any:
        """Return the form's settings; raises UserError."""
        return self.form.value()

    def source(self) -> Layer:
        """Return the chosen layer; raises UserError where there is none."""
        if self.chooser.layer is None:
            raise UserError(
                f"There is no image to work on: open the {self.input_title.lower()} "
                "or try File > Open Sample > napari-physgen."
            )
        return self.chooser.layer

    def attempt(self, action: Callable[[], object]) -> None:
        """Do what a click asks for; what the user did wrong becomes a notification."""
        try:
            action()
        except UserError as error:
            self.tell_error(error)

    def tell_error(self, error: BaseException) -> None:
        """Show one sentence for a `UserError`, otherwise napari's report with the traceback."""
        from napari.utils.notifications import notification_manager, show_error

        if isinstance(error, UserError):
            said = self.reading.text() == str(error)  # the line below the input already does
            self.message.setText("" if said else str(error))
            show_error(str(error))
        else:
            self.message.setText(
                f"This failed: {error or type(error).__name__}. No layer was changed."
            )
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def launch(self, task: Task) -> None:
        """Run a task in the worker."""
        remember(self.tool, self.form.value())
        self._task = task
        self._run = self.live.begin(task.source, task.origin)
        self.curves_plot.clear()
        self.bar.setRange(0, 0)
        self.message.setText("starting")
        self.lock(True)
        if not task.tunable:
            self.form.setEnabled(False)
        self.runner.start(lambda: self._with_device(task))

    def _with_device(self, task: Task) -> Job[Any]:
        """Say where it will be computed, then start the job; runs in the worker."""
        from napari_physgen.backend import describe_device, resolve_device

        self._device = describe_device(resolve_device(getattr(task.settings, "device", "auto")))
        return task.job()

    def stop(self) -> None:
        """Ask the running job for its best result so far."""
        self.runner.stop()
        self.message.setText("stopping after this step")

    def toggle_pause(self) -> None:
        """Pause the running job or go on."""
        if self.runner.paused:
            self.runner.resume()
        else:
            self.runner.pause()
            self.message.setText(f"paused; {self.message.text()}")
        self.pause_button.setText("Go on" if self.runner.paused else "Pause")

    def show_results(
        self,
        task: Task,
        outputs: Sequence[Output],
        record: Record | None,
        *,
        suffix: str = "",
        renewed: Collection[str] = (),
    ) -> list[Layer]:
        """Make layers of a result, next to the task's source."""
        return add_results(
            self.viewer,
            outputs,
            task.source,
            origin=task.origin,
            record=record.to_dict() if record else None,
            suffix=suffix,
            renewed=renewed,
            live=self.live,
            breathe=breathe,
        )

    def _update(self, update: Update) -> None:
        progress = update.progress
        self.bar.setRange(0, max(progress.total, 1))
        self.bar.setValue(progress.step)
        if not self.runner.paused:
            left = "" if update.seconds_left is None else self.time_left(update.seconds_left)
            self.message.setText(f"{progress.message}{self.count(progress)}{left}")
        self.device_line.setText(self._device)
        self.curves_plot.add(update.figures)
        if update.pictures:
            self.show_pictures(update.pictures)
        self.runner.watch(self.live.looked_at)

    def _end(self, end: Ended) -> None:
        task, self._task = self._task, None
        self.lock(False)
        self.bar.setRange(0, 1)
        self.bar.setValue(int(end.error is None))
        if end.error is not None:
            self.live.clear()
            self.tell_error(end.error)
        elif end.result is not None and task is not None:
            self.attempt(lambda: self._keep(task, end.result))
        self.live.clear()

    def _keep(self, task: Task, finished: Any) -> None:
        from napari_physgen.recipe import Finished

        record = finished.record if isinstance(finished, Finished) else None
        result = finished.result if isinstance(finished, Finished) else finished
        summary = task.done(result, record)
        took = f" in {duration(record.duration_s)}" if record else ""
        self.message.setText(f"done{took}")
        if summary:
            self.results.tell(summary)

    # ---- the frame ----------------------------------------------------------------------

    def _build(self) -> None:
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inner = QWidget()
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(8, 4, 8, 8)
        layout.setSpacing(6)
        self.chooser = LayerChooser(self.viewer, self.accepts)
        self.chooser.setToolTip(f"<p>{self.about}</p>")
        self.add_start(layout)
        self.reading = Words()
        layout.addWidget(self.reading)
        self.form = SettingsForm(
            self.model, self.rows, self.hidden, self.choices, self.sliders, self.tucked
        )
        layout.addWidget(self.form)
        self.pause_button = _button(
            "Pause",
            "Wait after the current step; the image so far stays on view.",
            self.toggle_pause,
        )
        self.stop_button = _button(
            "Stop and keep", "End early and keep the best result so far.", self.stop
        )
        self.add_steps(layout)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        layout.addWidget(self.bar)
        self.message = Words()
        self.device_line = Words()
        layout.addWidget(self.message)
        layout.addWidget(self.device_line)
        self.curves_plot = LiveCurves(self.curves, self.curves_along)
        layout.addWidget(self.curves_plot)
        self.add_more(layout)
        self.results = ResultBar(self)
        layout.addWidget(self.results)
        layout.addStretch(1)
        self.setWidget(inner)
        self._allow_width()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Ask for the width that is needed, now that the viewer's fonts are known."""
        super().showEvent(event)
        self._allow_width()

    def _allow_width(self) -> None:
        """Let the dock be as narrow as the parts allow, never narrower."""
        inner = self.widget()
        assert inner is not None
        self.setMinimumWidth(inner.minimumSizeHint().width() + SCROLL_BAR)

    def _fill(self) -> None:
        """Show last session's settings and listen."""
        self.form.put(recall(self.tool))
        self.form.put({name: preference(name) for name in FROM_PREFERENCES if preference(name)})
        self.form.changed.connect(self._edited)
        self.chooser.chosen.connect(self.input_chosen)
        self.input_chosen(self.chooser.layer)
        self.lock(False)

    def _edited(self, name: str) -> None:
        listens = self._task is not None and self._task.tunable
        if self.runner.running and listens and self.form.tunable(name):
            self.attempt(lambda: self._tune(name))
        self.setting_changed(name)

    def _tune(self, name: str) -> None:
        value = self.form.values()[name]
        assert self._task is not None
        self._task.settings.tuned(**{name: value})  # a wrong value must not end the job
        self.runner.tune(**{name: value})

    def lock(self, running: bool) -> None:
        """Leave open what makes sense while a job runs, or while none does."""
        for button in self._starters:
            button.setEnabled(not running)
        for button in (self.pause_button, self.stop_button):
            button.setEnabled(running)
        self.pause_button.setText("Pause")
        self.chooser.setEnabled(not running)
        self.form.setEnabled(True)
        self.form.lock(running)
        self.results.setEnabled(not running)

    def abandon(self) -> None:
        """Stop the job and forget its result."""
        self.runner.abandon()
        self.live.clear()
        self._task = None
        self.lock(False)

    def event(self, event: QEvent | None) -> bool:
        """Stop the job when the panel is closed."""
        # napari closes a dock widget by taking the widget out of it.
        kind = None if event is None else event.type()
        taken_out = kind == QEvent.Type.ParentChange and self.parent() is None
        if (kind == QEvent.Type.Close or taken_out) and hasattr(self, "runner") and self.busy:
            self.abandon()
        return bool(super().event(event))


def breathe() -> None:
    """Let the window draw between two slow calls, without taking clicks."""
    QApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents)


def _button(text: str, tip: str, action: Callable[..., object]) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(f"<p>{tip}</p>")
    button.clicked.connect(lambda *_: action())
    return button
