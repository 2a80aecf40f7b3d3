import pytest

from tests.recipe.texts import problem


def test_all_errors_are_reported_at_once_with_suggestions(write):
    path = write("data: {path: x, packing: half}\nmodel: {widnow: 3, d_model: wide}\nlr: 0.1\n")
    message = problem(path, "train.max_step=3", "nonsense", "optimizer.lr=[", "seed.x=1")
    assert str(path) in message
    assert "8 problems" in message
    for part in (
        "data.packing: should be 'whole', 'interleaved' or 'fixed', not 'half'",
        "model.widnow: unknown key, did you mean model.window?",
        "model.d_model: should be a valid integer, not 'wide'",
        "lr: unknown key, did you mean optimizer.lr?",
        "train.max_step: unknown key, did you mean train.max_steps?",
        "'nonsense' should be key=value",
        "'optimizer.lr=[' has no YAML value: line 1, column 2",
        "seed: should be a valid integer, not {'x': 1}",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.d_model=130", "d_model 130 should be a multiple of n_heads 8"),
        ("model.d_model=24", "should be even"),
        ("model.layers=[local, lhs]", "model.layers.1: should be 'local', 'lsh' or 'full', not 'lhs'"),
        ("model.layers=[]", "model.layers: should have at least 1 item"),
        ("model.layers=local", "model.layers: should be a list, not 'local'"),
        ("model.window=0", "model.window: should be greater than or equal to 1, not 0"),
        ("model.window=3.0", "model.window: should be a valid integer, not 3.0"),
        (
            "model.n_buckets=6",
            "model.n_buckets: should be auto, a power of two from 4 to 262144, or a list",
        ),
        ("model.n_buckets=[64, 6, 64, 64]", "a list of them, one for each round, not [64, 6, 64, 64]"),
        ("model.n_buckets=[64, true, 64, 64]", "a list of them, one for each round, not [64, True, 64, 64]"),
        ("model.n_buckets=[auto, 64, 64, 64]", "a list of them, one for each round, not ['auto', 64, 64, 64]"),
        ("model.n_buckets={a: 64}", "a list of them, one for each round"),
        ("model.pair_rounds=5", "pair_rounds 5 should be at most n_rounds 4"),
        ("model.n_buckets=[64, 512, 4096]", "n_buckets has 3 numbers for 4 rounds: give one for each of the n_rounds"),
        ("model.n_buckets=[]", "n_buckets has 0 numbers for 4 rounds"),
        ("model.n_buckets=2", "power of two"),
        ("model.n_buckets=true", "power of two"),
        ("model.stream_fraction_bits=27", "less than or equal to 26"),
        ("model.reversible=1", "model.reversible: should be true or false, not 1"),
        ("model.reversible=yes", "model.reversible: should be true or false, not 'yes'"),
        ("optimizer.sharded='true'", "optimizer.sharded: should be true or false, not 'true'"),
        ("model.layers=local,lsh", "model.layers: should be a list, not 'local,lsh': write [local, lsh]"),
        ("evaluate.prompts=It was", "evaluate.prompts: should be a list, not 'It was': write [It was]"),
        ("output_dir=" + "x" * 300, "output_dir: should be a path of names of at most 255 bytes, and one has 300"),
        ("data.path=[a, 'b\\0']".replace("'", '"'), "data.path.1: should be a path without a NUL"),
        (
            "data.path=[{path: a/" + "é" * 128 + ", weight: 1}]",
            "data.path.0.path: should be a path of names of at most",
        ),
        ("output_dir=a\udcff", "output_dir=a\\udcff' has no YAML value"),
        ("data.stream=" + "a/" * 3000, "data.stream.corpus: should be a path of at most 4,095 bytes"),
        ("model.dropout=1.0", "model.dropout: should be less than 1"),
        ("data.path=", "data: should have either path (a token store) or stream (texts"),
        ("data.path=3", "data.path: should be a path, not 3"),
        ("data.path=''", "data.path: should be a path"),
        ("data.path=[]", "data.path: should have at least 1 item"),
        ("data.path=[a, 3]", "data.path.1: should be a path, not 3"),
        ("data.path={path: a, weight: 1}", "data.path: should be a list, not {'path': 'a', 'weight': 1}"),
        ("data.path=[a, {path: b, weight: 1}]", "data.path.0: should be a section of keys, not 'a'"),
        ("data.path=[{path: b}]", "data.path.0.weight: missing, it has no default"),
        ("data.path=[{path: b, weight: 0}]", "data.path.0.weight: should be greater than 0, not 0"),
        ("data.path=[{path: b, weight: .inf}]", "data.path.0.weight: should be a finite number"),
        ("data.path=[{path: b, weight: heavy}]", "data.path.0.weight: should be a valid number, not 'heavy'"),
        ("data.path=[{path: b, weight: 1, wieght: 1}]", "data.path.0.wieght: unknown key, did you mean data.path.N.w"),
        ("data.workers=-1", "data.workers: should be greater than or equal to 0, not -1"),
        ("data.validation=1", "data.validation: should be less than 1, not 1"),
        ("data.seq_len=1", "data.seq_len: should be greater than or equal to 2"),
        ("optimizer.lr=.nan", "optimizer.lr: should be a finite number"),
        ("optimizer.betas=[0.9]", "optimizer.betas"),
        ("train.precision=fp16", "train.precision: should be 'auto', 'bf16' or 'fp32'"),
        ("train.device=gpu", "train.device: should be auto, cpu, cuda or cuda:N, not 'gpu'"),
        ("train.on_nonfinite=pass", "train.on_nonfinite: should be 'stop' or 'skip'"),
        ("checkpoint.every_minutes=-1", "checkpoint.every_minutes"),
        ("train.tile=0", "train.tile: should be auto or a number of tokens"),
        ("train=3", "train: should be a section of keys, not 3"),
        ("evaluate.prompts=['']", "evaluate.prompts.0"),
        ("evaluate.every=-1", "evaluate.every"),
        ("memory.limit=4 gigs", "memory.limit: should be a size such as 4GB"),
        ("model.d_model.x=3", "model.d_model: should be a valid integer, not {'x': 3}"),
        ("qqqqqq=1", "qqqqqq: unknown key, see `revlm recipes --schema`"),
        ("=1", "should be key=value"),
    ],
)
def test_bad_values_are_named(write, override, expected):
    message = problem(write(), override)
    assert expected in message
    assert "\n" not in message  # a single problem is one sentence
