"""Saving and loading recorded attention: Arrow files in a folder, never pickle.

The folder is `attention_folder.py`, its files are `arrow_files.py`; an attention that is too large
for memory is written as it is recorded, by `spool.py`.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from gat.errors import CorruptDataError, InputError
from gat.inspection.record import Attention, AttentionRecord, in_order
from gat.inspection.storing.arrow_files import read_record, write_record
from gat.inspection.storing.attention_folder import AttentionFolder, Entry, leftovers, read_index
from gat.inspection.storing.mapped_file import arrow

__all__ = ["load_attention", "save_attention"]


def save_attention(
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord, folder: str | Path
) -> None:
    """Write the records of one or more layers to a folder, two Arrow files each.

    Every field is kept, weights in their own dtype; tensors on other devices come back on the CPU.
    An attention that is there already is replaced once this one is whole: until then, whatever
    happens, the old one can be loaded.

    Raises InputError for a folder that holds other things, for two records of one layer, and for
    records without heads; RunLockedError while another process writes there;
    MissingDependencyError without the extra ``arrow``.
    """
    arrow()
    records = in_order(attention)
    if len(Attention(records)) < len(records):
        raise InputError(
            f"there are {len(records)} records of {len(Attention(records))} layers; expected one "
            f"of each: save them to folders of their own"
        )
    with AttentionFolder(folder) as place:
        place.commit([_keep(place, record) for record in records])


def load_attention(folder: str | Path) -> Attention:
    """The attention that `save_attention` or a recording left in ``folder``.

    Nothing is read but the files' ends: the tensors lie on the mapped files, so that attention
    larger than memory can be used by rows. Writing to them changes no file. The files' sizes and
    shapes are checked, not every number in them.

    Raises InputError for a folder without attention, and CorruptDataError, which names the file,
    for one that is damaged.
    """
    arrow()
    path = Path(folder).resolve()
    # Somebody saving may replace the files between our readings of the index and of them.
    for last in (False, True):
        try:
            return Attention([_load(path, entry) for entry in read_index(path)])
        except FileNotFoundError as error:
            if last or not path.is_dir():
                raise _missing(path, error) from None
    raise AssertionError


def _keep(place: AttentionFolder, record: AttentionRecord) -> Entry:
    scratch = place.claim()
    try:
        write_record(scratch, record)
        return place.keep(scratch, record.layer, record.edge_type)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _load(folder: Path, entry: Entry) -> AttentionRecord:
    edges, nodes = entry.files(folder)
    for path, expected in ((edges, entry.edges_bytes), (nodes, entry.nodes_bytes)):
        if (found := path.stat().st_size) != expected:
            raise CorruptDataError(
                f"{path} is damaged: {found} bytes instead of {expected}; restore it from a copy, "
                f"or record the attention again"
            )
    return read_record(edges, nodes)


def _missing(folder: Path, error: FileNotFoundError) -> Exception:
    if (folder / "index.json").exists():
        return CorruptDataError(
            f"{error.filename} is missing, which {folder / 'index.json'} names; restore it from a "
            f"copy, or record the attention again"
        )
    if folder.is_dir() and (left := leftovers(folder)):
        return InputError(
            f"{folder} holds no completed attention, only what a recording that is running or was "
            f"killed has there ({', '.join(left[:3])}); record into this folder again, which "
            f"removes it"
        )
    return InputError(
        f"{folder} is not an attention folder: there is no index.json in it. Name the folder that "
        f"save_attention was given"
    )
