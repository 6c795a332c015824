"""How every case is measured: checked, then memory, then time, each in processes of their own.

A kind of case is a module of this room with the functions ``check`` and ``times``, and ``memory``
where that is asked for; they run over there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gat.bench import process
from gat.bench.check import refuse_wrong
from gat.bench.record import Bandwidth, Case, Checked, Figure, Held, Record, provenance
from gat.checks import check_sizes
from gat.errors import DoesNotFitError, InputError
from gat.ops.cpu import notice_if_missing

__all__ = ["Plan", "Say"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How to measure: the peers, samples, threads, malloc modes and device; ``say`` hears what is
    done."""

    peers: tuple[str, ...]
    repeats: int = 7
    threads: int | None = None
    malloc: Sequence[str] = tuple(process.MALLOC)
    say: Say = field(default=lambda text: None, repr=False)
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_sizes(repeats=self.repeats, threads=self.threads)
        for mode in self.malloc:
            process.check_malloc(mode)
        if self.device != "cpu" and tuple(self.malloc) != ("default",):
            raise InputError(
                f"malloc is {','.join(self.malloc)} on {self.device}; expected default alone: the "
                "C library's memory is not a GPU's, so there is one mode"
            )
        if self.threads is None:
            import torch

            object.__setattr__(self, "threads", torch.get_num_threads())

    def record(self, kind: str, title: str, what: dict[str, Any], cases: list[Case]) -> Record:
        """What was measured of ``what``, with all that is needed to judge it."""
        assert self.threads is not None
        options = {**what, "peers": list(self.peers), "malloc": list(self.malloc)}
        options |= {"repeats": self.repeats, "threads": self.threads}
        facts = provenance(self.threads, self.device)
        return Record(kind=kind, title=title, options=options, cases=cases, **facts)

    def case(
        self,
        kind: str,
        name: str,
        title: str,
        what: dict[str, Any],
        *,
        memory: bool = False,
    ) -> Case:
        """Measure ``what``, the arguments of the functions of module ``kind``.

        Raises WrongResultError before any figure is taken.
        """
        # Said here once; the processes that are started keep silent about it.
        notice_if_missing()
        self.say(f"{title}: checking {', '.join(self.peers)}")
        found = self._run(f"{kind}.check", {**what, "names": list(self.peers)})
        absent = found["absent"]
        checked = Checked(**{key: found[key] for key in Checked.model_fields})
        refuse_wrong(title, checked.errors, checked.tolerance)
        held = self._memory(kind, title, what, absent) if memory else []
        figures, bandwidth = [], []
        present = [peer for peer in self.peers if peer not in absent]
        for mode in self.malloc if present else ():
            self.say(f"{title}: time of {', '.join(present)} in turn, malloc {mode}")
            arguments = {**what, "names": present, "repeats": self.repeats}
            answer = self._run(f"{kind}.times", arguments, mode)
            figures += [Figure(peer=p, malloc=mode, parts=s) for p, s in answer["samples"].items()]
            for peer in present:
                if peer not in answer["samples"]:
                    absent[peer] = f"did not fit in memory, malloc {mode}"
            if answer.get("bandwidth"):
                bandwidth.append(Bandwidth(malloc=mode, **answer["bandwidth"]))
        return Case(
            name=name,
            facts=found["facts"],
            checked=checked,
            figures=figures,
            memory=held,
            bandwidth=bandwidth,
            floor=found.get("floor", {}),
            absent=absent,
        )

    def _memory(
        self, kind: str, title: str, what: dict[str, Any], absent: dict[str, str]
    ) -> list[Held]:
        """One process per peer; one that does not fit joins ``absent``."""
        held = []
        for peer in [peer for peer in self.peers if peer not in absent]:
            self.say(f"{title}: memory of {peer}")
            try:
                answer = self._run(f"{kind}.memory", {**what, "name": peer})
                held.append(Held(peer=peer, **answer))
            except DoesNotFitError:
                absent[peer] = "did not fit in memory"
        return held

    def _run(self, function: str, arguments: dict[str, Any], malloc: str = "default") -> Any:
        assert self.threads is not None
        # A driver maps more than it takes, and what is short there is the GPU's own memory.
        held = self.device == "cpu"
        return process.run(function, arguments, threads=self.threads, malloc=malloc, held=held)
