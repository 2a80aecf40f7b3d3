import pytest

from revlm.planning.ledger import CATEGORIES, Ledger


def test_a_phase_has_the_categories_of_its_fullest_moment() -> None:
    ledger = Ledger()
    ledger.allocate("weights", 10)
    with ledger.phase("forward"):
        with ledger.held("streams", 5):
            ledger.transient("tiles", 7)
        ledger.transient("loss", 9)
    with ledger.phase("backward"):
        pass
    assert list(ledger.peaks["forward"]) == list(CATEGORIES)
    assert {name: size for name, size in ledger.peaks["forward"].items() if size} == {
        "weights": 10,
        "streams": 5,
        "tiles": 7,
    }
    assert sum(ledger.peaks["backward"].values()) == 10


def test_what_was_given_back_to_the_heap_stays_until_it_is_trimmed() -> None:
    ledger = Ledger(["tiles", "loss"])
    ledger.allocate("weights", 10)
    ledger.transient("tiles", 7)
    ledger.transient("streams", 100)  # comes from the system, and goes back
    with ledger.phase("forward"):
        ledger.transient("tiles", 3)  # in the place of the tiles before
        ledger.transient("loss", 4)  # beside them: blocks of another size
    assert ledger.peaks["forward"] == dict.fromkeys(CATEGORIES, 0) | {"weights": 10, "loss": 4, "allocator": 7}
    with ledger.phase("backward"):
        pass
    assert ledger.peaks["backward"]["allocator"] == 11
    ledger.trim()
    with ledger.phase("optimizer"):
        pass
    assert sum(ledger.peaks["optimizer"].values()) == 10


def test_what_is_held_while_the_heap_is_trimmed_stays() -> None:
    ledger = Ledger(["tiles"])
    ledger.transient("tiles", 9)
    with ledger.held("tiles", 7):
        ledger.trim()
    with ledger.phase("forward"):
        pass
    assert sum(ledger.peaks["forward"].values()) == 7


def test_more_can_not_be_given_back_than_was_taken() -> None:
    ledger = Ledger()
    ledger.allocate("streams", 5)
    with pytest.raises(AssertionError, match="streams"):
        ledger.free("streams", 6)
