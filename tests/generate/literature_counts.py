"""Count the networks that claims and published figures name, beyond the mechanisms on the common backbones."""

import tempfile
from collections import defaultdict
from pathlib import Path

from attncli.analysis.count_cache import CountCache
from attncli.analysis.deviation import collect_figures
from attncli.analysis.network_key import ImageSpec, make_image_network_key
from attncli.analysis.shipped_counts import find_shipped_counts
from attncli.claims.claim_files import load_claims
from attncli.claims.evidence import Evidence
from attncli.claims.judge import judge_claims
from attncli.claims.throughput import SpeedStore
from attncli.errors import UserError
from attncli.literature import published
from attncli.recipe import Recipe

LiteratureCounts = dict[str, dict[str, int | str]]  # by `make_image_network_key`, then by quantity


class RecordedCounts(CountCache):
    """Counts that remember what was asked for and does not stand among the common networks."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.counts: LiteratureCounts = defaultdict(dict)

    def get_count(self, name: str, recipe: Recipe, images: ImageSpec) -> int:
        """Return a quantity as the base class does, and remember it, or why there is none."""
        problem = ""
        try:
            return (count := super().get_count(name, recipe, images))
        except UserError as error:
            problem = error.problem
            raise
        finally:
            if find_shipped_counts(recipe.model, (images.size, images.size), images.classes, images.frames) is None:
                self.counts[make_image_network_key(recipe.model, images)][name] = problem or count


def collect_literature_counts() -> LiteratureCounts:
    """Return the counts of all networks that judging every claim and listing every published figure asks for.

    What the file has of today's code is taken from there.
    """
    with tempfile.TemporaryDirectory() as folder:
        counts = RecordedCounts(Path(folder) / "counts.json")
        collect_figures(published.load_published_rows(), counts)
        judge_claims(load_claims(), Evidence(counts=counts, speeds=SpeedStore(Path(folder), False)))
    return {key: counts.counts[key] for key in sorted(counts.counts)}
