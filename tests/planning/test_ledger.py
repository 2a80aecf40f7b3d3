import pytest

from revlm.planning.ledger import CATEGORIES, Ledger


def test_a_phase_has_the_categories_of_its_fullest_moment() -> None:
    ledger = Ledger()
    ledger.take("weights", 10)
    with ledger.phase("forward"):
        with ledger.held("streams", 5):
            ledger.moment("tiles", 7)
        ledger.moment("loss", 9)
    with ledger.phase("backward"):
        pass
    assert list(ledger.peaks["forward"]) == list(CATEGORIES)
    assert {name: size for name, size in ledger.peaks["forward"].items() if size} == {
        "weights": 10,
        "streams": 5,
        "tiles": 7,
    }
    assert sum(ledger.peaks["backward"].values()) == 10
    assert ledger.most["loss"] == 9


def test_more_can_not_be_given_back_than_was_taken() -> None:
    ledger = Ledger()
    ledger.take("streams", 5)
    with pytest.raises(AssertionError, match="streams"):
        ledger.give_back("streams", 6)
