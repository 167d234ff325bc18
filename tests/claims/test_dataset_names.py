"""Names of datasets that may be typing errors."""

from attncli.claims.claim_files import read_claim_files
from attncli.claims.dataset_names import describe_near_misses
from tests.claims.case import claims_file


def test_a_name_that_is_nearly_one_is_noted(tmp_path):
    """Of the claim and of its figures; any other name may be that of the user's own images."""
    for name, meant in (("cifra10", "cifar10"), ("imagnet", "imagenet"), ("food101", None), ("cifar10", None)):
        claims = read_claim_files([claims_file(tmp_path, "params(resnet20) > 1", on=name)])
        named = read_claim_files([claims_file(tmp_path, f"params(resnet20, dataset={name}) > 1")])
        expected = [f"c0: '{name}' is no dataset of attncli: did you mean '{meant}'?"] if meant else []
        assert describe_near_misses(claims) == describe_near_misses(named) == expected
