import pytest
import torch

from revlm.evaluation.attention_recall import measure_recall, recall_of_queries
from revlm.ops.attention.reference import window_mask
from tests.evaluation.models import lively_scorer, random_text


def random_keys(tokens: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(tokens, 8, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_recall_is_that_of_the_definition() -> None:
    k = random_keys(60)
    bucket = torch.randint(3, (2, 60), generator=torch.Generator().manual_seed(1))
    position = torch.tensor([1, 7, 30, 59])
    found, best, chance, keys = recall_of_queries(k, bucket, position, 4, 6.0)
    seen = window_mask(bucket[None], 4, include_self=False)[0]
    for query, t in enumerate(position.tolist()):
        weight = (6.0 * k[:t] @ k[t]).softmax(-1)
        looked_at = seen[t, :t]
        n = int(looked_at.sum())
        assert keys[query] == n
        assert float(found[query]) == pytest.approx(float(weight[looked_at].sum()), abs=1e-6)
        assert float(best[query]) == pytest.approx(float(weight.sort(descending=True).values[:n].sum()), abs=1e-6)
        assert float(chance[query]) == pytest.approx(n / t)
    assert (found <= best + 1e-6).all()


def test_one_bucket_and_a_wide_window_find_everything() -> None:
    position = torch.arange(1, 50)
    found, best, chance, keys = recall_of_queries(
        random_keys(50), torch.zeros(1, 50, dtype=torch.int32), position, 50, 5.0
    )
    for share in (found, best, chance):
        torch.testing.assert_close(share, torch.ones(49))
    assert torch.equal(keys, position.float())


def test_of_a_model_each_hash_layer_is_looked_at() -> None:
    scorer = lively_scorer("local", "lsh", n_layers=4, window=8)
    recall = measure_recall(scorer, [random_text(300, 1), random_text(40, 2)], queries=50)
    assert recall.queries == 50 + 39
    assert [each.layer for each in recall.layers] == [1, 3]
    for each in recall.layers:
        assert each.chance < each.found < each.best < 1
        assert 1 < each.keys <= 16
    assert not any(module._forward_pre_hooks for module in scorer.model.modules())


def test_of_a_model_whose_tokens_share_a_bucket_everything_is_found() -> None:
    scorer = lively_scorer("lsh", window=300)
    for layer in scorer.model.hash_layers:
        scorer.model.get_buffer(f"rotations_{layer}").zero_()
    for each in measure_recall(scorer, [random_text(300)], queries=50).layers:
        assert each.found == pytest.approx(1, abs=1e-5)
        assert each.chance == pytest.approx(1)


def test_a_model_that_does_not_hash_has_no_recall() -> None:
    assert measure_recall(lively_scorer("local"), [random_text(50)]).layers == []
