import math

from revlm.runs.trackers.values import markdown_block, numbers, texts


def test_the_numbers_of_a_step_stand_in_groups():
    record = {
        "event": "step",
        "step": 9,
        "loss": 2.5,
        "learning_rate": 3e-4,
        "tokens": 512,
        "tokens_per_second": 99.5,
        "memory_forward_peak_bytes": 2**30,
        "sink_share": 0.25,
        "invented_later": 1,
        "layers": [{"layer": 1, "bucket_fill": 0.5}, {"layer": 11, "bucket_fill": 0.75}],
    }
    assert numbers(record) == {
        "train/loss": 2.5,
        "train/learning_rate": 3e-4,
        "train/invented_later": 1.0,
        "data/tokens": 512.0,
        "speed/tokens_per_second": 99.5,
        "memory/forward_peak_bytes": float(2**30),
        "attention/sink_share": 0.25,
        "bucket_fill/layer_01": 0.5,
        "bucket_fill/layer_11": 0.75,
    }


def test_what_is_no_finite_number_is_left_out():
    record = {"event": "step", "step": 1, "loss": math.nan, "grad_norm": math.inf, "a": None, "b": True, "c": "x"}
    assert numbers(record) == {}


def test_an_evaluation_has_its_own_group():
    record = {"event": "evaluate", "step": 4, "loss": 2.0, "bits_per_byte": None, "seconds": 3}
    assert numbers(record) == {"evaluate/loss": 2.0, "evaluate/seconds": 3.0}
    assert texts(record) == {}


def test_samples_are_texts_by_their_place():
    record = {"event": "samples", "step": 4, "samples": [{"prompt": "It", "text": " is"}, {"prompt": "a", "text": ""}]}
    assert texts(record) == {"samples/1": "It is", "samples/2": "a"}
    assert numbers(record) == {}


def test_markdown_shows_every_line_as_it_is():
    assert markdown_block("*a*\n# b") == "    *a*\n    # b"
