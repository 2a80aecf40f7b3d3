"""One-sentence errors: why a dataset cannot be opened or read further, and what to do about it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from revlm.corpus.reading.hub.address import HubAddress
from revlm.corpus.reading.readers.parquet import ParquetError
from revlm.corpus.reading.readers.raw import UnusableFileError, printable, why
from revlm.corpus.reading.readers.rows import NAME_THE_COLUMN, no_column
from revlm.errors import DataError, RevlmError, UsageError

_COPY = "or fetch its files once with `hf download` and read them as hf:/folder"
_LOG_IN = "log in with `hf auth login` or HF_TOKEN"


@contextmanager
def opening(address: HubAddress) -> Iterator[None]:
    """Turns an exception inside into a `RevlmError` that says why the dataset cannot be opened."""
    import pyarrow
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError
    from huggingface_hub.utils import httpx

    try:
        yield
    except DatasetNotFoundError as error:
        raise _not_there(address) from error
    except (DataFilesNotFoundError, EmptyDatasetError) as error:
        raise DataError(f"{address} has no files of a format that can be read; name another dataset") from error
    except (httpx.HTTPError, ConnectionError) as error:
        raise _unreachable(address, error) from error
    except FileNotFoundError as error:
        if address.is_local:
            raise DataError(
                f"{address} names files that cannot be found ({why(error)}); check its README.md"
            ) from error
        # what `datasets` raises when the hub answers with a server error
        raise DataError(f"the hub does not answer for {address} ({why(error)}); try again later, {_COPY}") from error
    except OSError as error:
        remedy = "set HF_HOME to a folder that can be written"
        raise DataError(f"{address} cannot be opened ({why(error)}); {remedy}") from error
    except RuntimeError as error:
        raise DataError(
            f"{address} cannot be opened without running the dataset's own code, which revlm refuses ({why(error)}); "
            "try --revision refs/convert/parquet, where the hub keeps a copy of many datasets without code"
        ) from error
    except (ValueError, pyarrow.ArrowException) as error:
        raise _no_such_config(address, error) from error
    except RevlmError:
        raise
    except Exception as error:
        remedy = "name another revision with --revision, or tell its owner"
        raise DataError(f"{address} cannot be opened ({type(error).__name__}: {why(error)}); {remedy}") from error


@contextmanager
def reading_on(address: HubAddress, place: Callable[[], str]) -> Iterator[None]:
    """Turns an exception inside into a `RevlmError` that says why reading stopped, and after which row."""
    from huggingface_hub.utils import httpx

    try:
        yield
    except (httpx.HTTPError, ConnectionError) as error:
        after = f" after {place()}" if place() else ""
        reason = f"the connection to the hub broke{after} ({_said(error)})"
        raise DataError(f"{address} cannot be read further: {reason}; run the same command again to resume") from error
    except RevlmError:
        raise
    except Exception as error:  # whatever the libraries raise for damaged bytes
        after = f", after {place()}" if place() else ""
        if isinstance(error, UnusableFileError):
            raise DataError(f"{address}, {printable(str(error.path))} {error.reason}{after}; {error.remedy}") from error
        remedy = "fetch it again" if address.is_local else "name another revision with --revision, or tell its owner"
        if isinstance(error, ParquetError):
            raise DataError(f"{address} {error}{after}; {error.remedy or remedy}") from error
        raise DataError(f"{address} is damaged{after} ({why(error)}); {remedy}") from error


def require_access(address: HubAddress) -> None:
    """Checks access once: `datasets` does not report why access fails, and retries for long without a network.

    Raises:
        DataError: the dataset does not exist, is private or gated.
        UsageError: it has no such revision.
        ConnectionError, huggingface_hub.utils.httpx.HTTPError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi().auth_check(address.id, repo_type="dataset")
        HfApi().dataset_info(address.id, revision=address.revision)
    except GatedRepoError as error:
        remedy = f"ask at https://huggingface.co/datasets/{address.id}, then {_LOG_IN}"
        raise DataError(f"{address} is gated: its owner grants access on request; {remedy}") from error
    except RepositoryNotFoundError as error:
        raise _not_there(address) from error
    except RevisionNotFoundError as error:
        reason = f"{address} has no revision {address.revision!r}"
        raise UsageError(f"{reason}; name a branch, tag or commit that it has") from error
    except HfHubHTTPError:
        return  # a busy hub: `datasets` retries


def no_such_split(address: HubAddress, there: Iterable[str]) -> UsageError:
    """Returns the error for a split that a dataset does not have."""
    splits = ", ".join(repr(str(each)) for each in there) or "none"
    return UsageError(
        f"{replace(address, split='train')} has no split {address.split!r} (it has {splits}); name one with --split"
    )


def no_such_column(address: HubAddress, column: str, there: Iterable[str]) -> DataError:
    """Returns the error for a dataset without the text column."""
    return DataError(f"{address} {no_column(column, there)}; {NAME_THE_COLUMN}")


def _not_there(address: HubAddress) -> DataError:
    return DataError(f"{address} is not on the hub, or is private; check the name, or {_LOG_IN}")


def _unreachable(address: HubAddress, error: Exception) -> DataError:
    from datasets import config

    if config.HF_HUB_OFFLINE:
        return DataError(f"{address} cannot be opened: HF_HUB_OFFLINE is set; unset it, {_COPY}")
    reason = f"the hub cannot be reached at {config.HF_ENDPOINT} ({_said(error)})"
    return DataError(f"{address} cannot be opened: {reason}; check the network and HF_ENDPOINT, {_COPY}")


def _no_such_config(address: HubAddress, error: Exception) -> RevlmError:
    import datasets

    try:
        configs = datasets.get_dataset_config_names(address.path, revision=address.revision)
    except ValueError:
        configs = [address.config]
    if address.config in configs or (len(configs) < 2 and address.config is None):
        return DataError(f"{address} cannot be opened ({why(error)}); name another revision with --revision")
    there = ", ".join(map(repr, configs))
    lacks = f"no configuration {address.config!r} (it has {there})" if address.config else f"configurations: {there}"
    return UsageError(f"{replace(address, config=None)} has {lacks}; name one with --config")


def _said(error: Exception) -> str:
    response = getattr(error, "response", None)
    return why(error) if response is None else f"it answers {response.status_code}"
