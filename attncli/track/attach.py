"""Files about many runs, such as the plot of a comparison, in the experiment whose runs they are about."""

from collections.abc import Sequence
from pathlib import Path

from attncli.errors import UserError
from attncli.track import register, store

KIND = "kind"


def attach(
    files: Sequence[Path], *, experiment: str, runs: Path, uri: str | None = None, kind: str = "comparison"
) -> str:
    """Put files into the experiment's one run of this `kind`, made on the first call; its MLflow id.

    Files of the same name are replaced. That run has no digest, so it is none of `rows`. Raises UserError where
    the store does not answer or refuses.
    """
    address = store.address(uri, runs)
    client = store.connect(address, runs)
    try:
        with store.one_at_a_time(address, runs):
            number = store.experiment(client, address, runs, experiment)
            found = client.search_runs([number], f"tags.{KIND} = '{kind}'", max_results=1)
            run = found[0] if found else client.create_run(number, run_name=kind, tags={KIND: kind})
        run_id = str(run.info.run_id)
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id, "FINISHED")
    except UserError:
        raise
    except Exception as error:
        raise store.refused(address, error) from error
    return run_id


def attach_to_run(files: Sequence[Path], digest: str, under: str, *, runs: Path, uri: str | None = None) -> str:
    """Put files into the folder `under` of the run of a digest; its MLflow id. Files of the same name are replaced.

    Raises UserError where the store does not answer or does not have the run.
    """
    address = store.address(uri, runs)
    client = store.connect(address, runs)
    try:
        run = register.find(client, digest)
        if run is None:
            raise UserError(f"run {digest} is not in {store.shown(address)}", "`attncli sync` brings it in; --no-track")
        for file in files:
            client.log_artifact(run.info.run_id, str(file), under)
    except UserError:
        raise
    except Exception as error:
        raise store.refused(address, error) from error
    return str(run.info.run_id)
