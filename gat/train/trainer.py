"""`train` and `evaluate`: a configuration in, a run folder and a RunResult out."""

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gat.data import NodeTask
from gat.errors import BackendError, ConfigError, InputError
from gat.train import checkpoint, generators
from gat.train.batches import check_split
from gat.train.budget import choose
from gat.train.config import TrainConfig
from gat.train.config_files import dump_toml, load_config
from gat.train.distillation import TEACHER, teachings
from gat.train.example_session import ExampleSession
from gat.train.kinds import Config, Task, checked, config_for, load_task, read_config
from gat.train.loop import OnEpoch, fit
from gat.train.optim import Clipper
from gat.train.run import LOCK, RunFolder, RunResult
from gat.train.run_session import RunSession, check_same_data, load_weights
from gat.train.session import Session, build_model

__all__ = ["evaluate", "evaluated", "load_task", "train"]

# What may differ on resuming: these change where and how long a run goes on, not what it computes
# (but the last epoch is always evaluated, also between two that are due).
FREE_ON_RESUME = (
    "epochs",
    "checkpoint",
    "device",
    "data.root",
    "data.download",
    "memory_budget",
    "sampling.prefetch",
)


def train(
    config: Config | None = None,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    task: Task | None = None,
    on_epoch: OnEpoch | None = None,
) -> RunResult:
    """Train a model and return its scores on all parts.

    config: None takes the defaults or, on resuming, the run's own. run_dir: where everything is
    kept; None keeps nothing but the result and its model. resume: continue the run in ``run_dir``
    (or start it, where nothing is saved yet), on the CPU bit for bit. task: trained on instead of
    what ``config.data`` names; its name and options are noted in the configuration. on_epoch:
    called with each evaluated epoch.

    Raises ConfigError and InputError before anything is computed, and DoesNotFitError for what is
    predicted to need more than ``config.memory_budget``; NonFiniteLossError;
    RunLockedError; CorruptDataError for a damaged checkpoint; SaveError on a full disk;
    Interrupted or Terminated after Ctrl-C or SIGTERM, when the run has been saved.
    """
    return trained(config, run_dir, resume=resume, task=task, on_epoch=on_epoch)[0]


def trained(
    config: Config | None = None,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    task: Task | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[RunResult, RunSession]:
    """The result of `train`, and the session with the weights that were kept."""
    if task is not None and not (resume and config is None):
        config = config_for(config, task)
    with ExitStack() as stack:
        folder = saved = None
        if run_dir is not None:
            _refuse_strangers(Path(run_dir), config, resume)
            folder = stack.enter_context(RunFolder(run_dir))
            # Again, now that no other process can start a run here.
            _refuse_strangers(folder.path, config, resume)
            config, saved = _reopened(folder, config, resume)
        elif resume:
            raise InputError("resume=True needs run_dir, the folder of the run to continue")
        config = config or TrainConfig()
        device = _device(config.device)
        if isinstance(config, TrainConfig):
            _check_model(config)
        task = checked(task or load_task(config.data), config)
        stack.enter_context(generators.borrowed())
        session = _session(config, task, device, folder, on_epoch)
        if saved is not None:
            session.restore(saved)
        if folder is not None:
            _open_files(folder, session, resumed=saved is not None)
        fit(session, folder, on_epoch)
        session.use_best()
        result = _result(session, folder.path if folder is not None else None)
        if folder is not None:
            folder.write_json("metrics.json", result.to_dict())
        return result, session


def evaluate(run_dir: str | Path, *, task: Task | None = None) -> RunResult:
    """Score the weights a run kept, on all parts; ``result.model`` has them.

    task: scored on instead of the data of the run's configuration, which must be as it was. A run
    still training may be evaluated; its ``stopped_by`` is "". Raises InputError where there is no
    run, CheckpointMismatchError where its data have changed.
    """
    return evaluated(Path(run_dir), task)[0]


def evaluated(path: Path, task: Task | None = None) -> tuple[RunResult, RunSession]:
    """A run's scores, and the session with the weights it kept; as `evaluate`."""
    if not checkpoint.exists(path):
        raise InputError(f"{path} holds no checkpoint; expected the folder of a run of gat train")
    saved = checkpoint.load(path)
    config = read_config(saved.meta["config"])
    if task is None:
        task = checked(load_task(config.data), config)
        check_same_data(saved, task)
    else:
        task = checked(task, config)
    device = _device("auto" if config.device != "cpu" else "cpu")
    with generators.borrowed():
        session = _plain_session(config, task, device)
    load_weights(session.model, saved.part("best") or saved.part("model"))
    session.at = dataclasses.replace(session.at, **saved.meta["position"])
    return _result(session, path), session


def _refuse_strangers(path: Path, config: Config | None, resume: bool) -> None:
    """Neither train over a run that is there, nor resume from one that is not."""
    has_run = checkpoint.exists(path) or checkpoint.exists(path / TEACHER)
    if has_run and not resume:
        raise InputError(
            f"{path} already holds a run; continue it with resume (gat train --resume {path}) or "
            "choose another folder"
        )
    others = [] if has_run or (path / LOCK).exists() or not path.is_dir() else list(path.iterdir())
    if others:
        raise InputError(
            f"{path} holds files that are not a run's ({others[0].name}), which training could "
            "overwrite; choose a new or an empty folder"
        )
    if resume and config is None and not has_run and not (path / "config.toml").exists():
        raise InputError(f"{path} holds no run to resume; check the path, or give a configuration")


def _reopened(
    folder: RunFolder, config: Config | None, resume: bool
) -> tuple[Config | None, checkpoint.Checkpoint | None]:
    """Configuration and checkpoint to go on from, of a folder that may hold neither."""
    checkpoint.clean(folder.path)
    if resume and checkpoint.exists(folder.path):
        saved = checkpoint.load(folder.path)
        return _resumed_config(config, read_config(saved.meta["config"])), saved
    # Killed before its first checkpoint, a run has its configuration already; what its teacher was
    # trained by is settled.
    begun = folder.path / "config.toml"
    taught = checkpoint.exists(folder.path / TEACHER) and begun.exists()
    if resume and (config is None or taught):
        return _resumed_config(config, load_config(begun)), None
    return config, None


def _resumed_config(asked: Config | None, saved: Config) -> Config:
    """The configuration to go on with. Raises ConfigError where the asked one is another run's."""
    if asked is None:
        return saved
    # The cosine's end is settled.
    settled = saved.schedule.name == "cosine"
    if isinstance(asked, TrainConfig) and isinstance(saved, TrainConfig):
        if asked.sampling.name == "auto":
            # The run settled it when it began.
            asked = asked.updated(sampling=saved.sampling)
        # How long the teacher was trained is settled too.
        settled = settled or saved.distillation.enabled
    free = FREE_ON_RESUME[1:] if settled else FREE_ON_RESUME
    before, now = dict(_flat(saved.to_dict())), dict(_flat(asked.to_dict()))
    differing = [
        f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in sorted(before | now)
        if before.get(key) != now.get(key) and not key.startswith(free)
    ]
    if differing:
        raise ConfigError(
            f"this run was started with another configuration: {'; '.join(differing)}; resume it "
            "without changes, or train in another folder"
        )
    return asked


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check_model(config: TrainConfig) -> None:
    """Let model and clipping refuse their options before data is read, at no cost (meta device)."""
    with generators.borrowed(), torch.device("meta"):
        try:
            # Whether edges have features is not known yet; encoders of them need to be told so.
            model = build_model(config.model, 1, 1, 1 if config.model.edge_embedding else None)
        except (InputError, ValueError, TypeError) as error:
            raise ConfigError(f"model: {error}") from error
        Clipper(config.clip, model)


def _session(
    config: Config,
    task: Any,
    device: torch.device,
    folder: RunFolder | None,
    on_epoch: OnEpoch | None,
) -> RunSession:
    """The session of a run that begins, a student's after its teacher's."""
    if not isinstance(config, TrainConfig):
        return _plain_session(config, task, device)
    _check_task(config, task)
    config = choose(config, task, str(device)).config
    session = Session(config, task, device, _taught(config, task, folder, on_epoch))
    # Made now, since it may refuse the data.
    _ = session.minibatches
    return session


def _plain_session(config: Config, task: Any, device: torch.device) -> RunSession:
    kind: Any = Session if isinstance(config, TrainConfig) else ExampleSession
    return kind(config, task, device)


def _check_task(config: TrainConfig, task: NodeTask) -> None:
    check_split(task, config.data.split)
    if config.correct_and_smooth.enabled and task.inductive:
        raise InputError(
            f"correct_and_smooth spreads training labels over the graph they are in; {task.name} "
            "is several graphs, those of the test nodes without any: set "
            "correct_and_smooth.enabled = false"
        )


def _taught(
    config: TrainConfig, task: NodeTask, folder: RunFolder | None, on_epoch: OnEpoch | None
) -> list[Tensor] | None:
    """A student's teacher's logits of each graph, the teacher trained if it has not been."""
    if not config.distillation.enabled:
        return None

    def train_teacher(own: TrainConfig, path: Path | None) -> Session:
        _, session = trained(own, path, resume=path is not None, task=task, on_epoch=on_epoch)
        assert isinstance(session, Session)
        return session

    if folder is not None and not (folder.path / "config.toml").exists():
        # The student's first checkpoint comes after the teacher.
        folder.write("config.toml", dump_toml(config.to_dict()))
    return teachings(config, task, folder.path if folder is not None else None, train_teacher)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= found:
        raise BackendError(
            f'device {name!r} was asked for, torch sees {found} GPU(s) here; use device = "auto" '
            'or "cpu", or install torch with CUDA'
        )
    return device


def _open_files(folder: RunFolder, session: RunSession, resumed: bool) -> None:
    """Write what is known at the start; a first checkpoint shows that the folder can be used."""
    first = folder.note_versions()
    now = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    was = {name: first.get(name) for name in now}
    if resumed and was != now:
        warnings.warn(
            f"resuming on {now}, the run was started on {was}: the last bits may differ",
            stacklevel=4,
        )
    folder.write("config.toml", dump_toml(session.config.to_dict()))
    folder.cut_log(session.at.epoch)
    folder.open_board(session.at.epoch)
    if not resumed:
        checkpoint.save(folder.path, session.checkpoint())


def _result(session: RunSession, folder: Path | None) -> RunResult:
    """Score the weights that are now in the model."""
    return RunResult(
        metric=session.task.metric,
        **session.scores(),
        best_epoch=session.at.best_epoch,
        epochs=session.at.epoch,
        seconds=session.at.seconds,
        run_dir=folder,
        stopped_by=session.at.stopped_by,
        model=session.model,
    )
