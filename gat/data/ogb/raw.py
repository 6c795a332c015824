"""Raw files through ogb's own loader, whose result is caught in memory.

ogb would save what it made as a pickle beside the raw files and load that again. Here nothing is
written there; a processed file that ogb left is opened only where the raw files are gone.
"""

import errno
import pickle
import tempfile
from pathlib import Path
from typing import Any

from gat.data.ogb.files import Folder
from gat.data.ogb.package import guarded, master_row, require
from gat.data.tables import unreadable
from gat.errors import CorruptDataError, InputError

__all__ = ["read_raw"]

# Faults of the place for temporary files, which is no fault of the data.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def read_raw(folder: Folder) -> tuple[Any, dict[str, Any]]:
    """PyG's ``Data`` as ogb fills it, and the node numbers of "train", "valid" and "test".

    Raises CorruptDataError for damaged files, and for a processed file that holds anything but
    PyG's classes and tensors, none of which was run; InputError where there is no room for
    temporary files.
    """
    require()
    try:
        with guarded(), tempfile.TemporaryDirectory() as aside:
            dataset = _dataset(folder, Path(aside))
            return dataset.caught or dataset._data, dataset.get_idx_split()
    except MemoryError:
        raise
    except PermissionError as error:
        raise unreadable(Path(error.filename or folder.path), error) from None
    except OSError as error:
        if error.errno not in NO_ROOM and "temporary directory" not in str(error):
            raise _damaged(folder, error) from error
        raise InputError(
            f"no temporary file could be written to read {folder.card.name}: {error}; free space, "
            "or name another folder with the environment variable TMPDIR"
        ) from error
    # SystemExit: ogb's way of refusing, in versions to come as in 1.3.6.
    except (Exception, SystemExit) as error:
        raise _damaged(folder, error) from error


def _dataset(folder: Folder, aside: Path) -> Any:
    """ogb's data set object over ``folder``; ``aside`` takes the little it insists on writing."""
    from ogb.nodeproppred.dataset_pyg import PygNodePropPredDataset

    class Caught(PygNodePropPredDataset):
        """ogb's loader without its download and its copy on disk.

        PyG's own ``_process`` is left out: it opens two small files with an unsafe torch.load.
        """

        caught: Any = None
        processed_dir = property(
            lambda self: str(folder.processed.parent if folder.processed else aside)
        )

        def _download(self) -> None:
            pass

        def _process(self) -> None:
            if folder.processed is None:
                self.process()

        def collate(self, data_list: list[Any]) -> tuple[None, None]:
            # Called for what is to be saved: a pair of None is saved instead.
            self.caught = data_list[0]
            return None, None

    return Caught(folder.card.name, meta_dict=_meta(folder))


def _meta(folder: Folder) -> dict[str, str]:
    """What ogb's constructor takes in place of a row of its table."""
    row = master_row(folder.card.name)
    year = folder.hetero and (not folder.binary or (folder.path / "raw/node_year.npz").is_file())
    row |= {
        "dir_path": str(folder.path),
        "binary": str(folder.binary),
        # Not used here; and for ogbn-proteins ogb would rename a raw file to read it.
        "additional node files": "node_year" if year else "None",
        "additional edge files": "None",
    }
    if folder.binary:
        # Binary files hold both directions already; ogb's reader refuses to add them.
        row["add_inverse_edge"] = "False"
    release = folder.path / f"RELEASE_v{row['version']}.txt"
    if not release.is_file():
        raise CorruptDataError(
            f"{release} is missing: the installed ogb expects that version of {folder.card.name}; "
            f"{folder.remedy}"
        )
    return row


def _damaged(folder: Folder, error: BaseException) -> Exception:
    if isinstance(error, CorruptDataError):
        return error
    said = str(error).strip().partition("\n")[0] or "no reason given"
    if folder.processed is not None:
        why = "was refused" if isinstance(error, pickle.UnpicklingError) else "cannot be used"
        return CorruptDataError(
            f"{folder.processed} {why}: {type(error).__name__}: {said}. Expected what ogb saves, "
            f"PyG's Data of tensors and nothing else; nothing of it was run. Mend: {folder.remedy}"
        )
    return CorruptDataError(
        f"the files of {folder.card.name} in {folder.path} could not be read by ogb: "
        f"{type(error).__name__}: {said}; {folder.remedy}"
    )
