from revlm.records import Sample, Samples, Step, Validation
from revlm.runs.trackers.values import markdown_block, numbers, texts
from tests.journal_records import step_record, validation_record


def test_the_numbers_of_a_step_stand_in_groups():
    layers = [
        {"layer": layer, "bucket_fill": fill, "empty_query_share": None, "sink_share": None}
        for layer, fill in ((1, 0.5), (11, 0.75))
    ]
    step = Step.model_validate(step_record(9, loss=2.5, grad_norm=None, sink_share=0.25, layers=layers))
    assert numbers(step) == {
        "train/loss": 2.5,
        "train/bits_per_byte": 4 / 9,
        "train/learning_rate": 3e-4,
        "train/stream_max": 1.5,
        "data/epoch": 1.0,
        "data/tokens": 512.0,
        "data/documents": 2.0,
        "speed/seconds": 0.5,
        "speed/tokens_per_second": 1024.0,
        "speed/data_seconds": 0.01,
        "memory/baseline_bytes": float(2**28),
        "memory/forward_peak_bytes": float(2**30),
        "memory/backward_peak_bytes": float(2**31),
        "memory/optimizer_peak_bytes": float(2**29),
        "memory/peak_bytes": float(2**31),
        "attention/sink_share": 0.25,
        "bucket_fill/layer_01": 0.5,
        "bucket_fill/layer_11": 0.75,
    }
    assert texts(step) == {}


def test_a_validation_has_its_own_group():
    record = Validation.model_validate(validation_record(4, bits_per_byte=None))
    assert numbers(record) == {
        "evaluate/loss": 9.0,
        "evaluate/tokens": 1024.0,
        "evaluate/documents": 3.0,
        "evaluate/seconds": 0.25,
    }
    assert texts(record) == {}


def test_samples_are_texts_by_their_place():
    samples = [Sample(prompt="It", text=" is"), Sample(prompt="a", text="")]
    record = Samples(step=4, samples=samples)
    assert texts(record) == {"samples/1": "It is", "samples/2": "a"}
    assert numbers(record) == {}


def test_markdown_shows_every_line_as_it_is():
    assert markdown_block("*a*\n# b") == "    *a*\n    # b"
