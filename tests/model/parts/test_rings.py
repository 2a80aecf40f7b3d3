import torch

from revlm.model.parts.rings import Rings

HEADS, BUCKETS, WINDOW, TOKENS = 2, (5, 9, 5), 4, 90
ROUNDS = len(BUCKETS)


def rings() -> Rings:
    return Rings(HEADS, BUCKETS, WINDOW, torch.device("cpu"))


def buckets() -> torch.Tensor:
    # Uneven: some buckets overflow within a run, others stay almost empty.
    drawn = torch.rand((HEADS, ROUNDS, TOKENS), generator=torch.Generator().manual_seed(0))
    return (drawn.sqrt() * torch.tensor(BUCKETS)[:, None]).int()


def expected(bucket: torch.Tensor) -> torch.Tensor:
    """The content of each head's rings, round by round."""
    held = torch.zeros(HEADS, sum(BUCKETS), WINDOW, dtype=torch.int32)
    for head in range(HEADS):
        rings = iter(held[head])
        for round_, of_round in enumerate(BUCKETS):
            for number in range(of_round):
                latest = (bucket[head, round_] == number).nonzero()[-WINDOW:, 0] + 1
                next(rings)[WINDOW - len(latest) :] = latest
    return held


def content(found: Rings, sample: int = 0) -> torch.Tensor:
    return found.slots[found.ring_of].view(-1, HEADS, sum(BUCKETS), WINDOW)[sample]


def test_the_latest_of_each_bucket_stay_oldest_first_however_they_come() -> None:
    bucket = buckets()
    for run in (1, 2, 30, TOKENS):
        found = rings()
        for start in range(0, TOKENS, run):
            found.push_run(bucket[..., start : start + run], first_slot=start + 1)
        assert torch.equal(content(found), expected(bucket))
    one_by_one = rings()
    for token in range(TOKENS):
        of_token = bucket[..., token : token + 1].transpose(1, 2).long()
        one_by_one.push(of_token, torch.tensor([token + 1], dtype=torch.int32))
    assert torch.equal(content(one_by_one), expected(bucket))


def test_an_empty_run_changes_nothing() -> None:
    found = rings()
    found.push_run(buckets()[..., :0], first_slot=1)
    assert not content(found).any()


def test_samples_have_rings_of_their_own() -> None:
    bucket = buckets()
    found = rings()
    found.push_run(bucket, first_slot=1)
    found.fork(2)
    latest = torch.tensor([[[0, 1, 2], [3, 4, 0]]]).expand(HEADS, -1, -1)
    found.push(latest, torch.tensor([91, 92], dtype=torch.int32))
    held = found.of_buckets(latest)
    assert torch.equal(held[..., -1], torch.tensor([91, 92], dtype=torch.int32)[None, :, None].expand(HEADS, 2, ROUNDS))
    assert torch.equal(held[:, 0, 0, :-1], expected(bucket)[:, 0, 1:])
    assert 92 not in content(found, 0)
    assert 91 not in content(found, 1)


def test_only_buckets_with_tokens_have_rings() -> None:
    found = Rings(HEADS, (2**18, 2**18), WINDOW, torch.device("cpu"))
    bucket = torch.tensor([5, 9, 5, 2**18 - 1]).expand(HEADS, 2, 4)
    found.push_run(bucket, first_slot=1)
    assert found.made == 1 + HEADS * 2 * 3
    found.fork(3)
    assert found.made == 1 + 3 * HEADS * 2 * 3
    assert found.of_buckets(torch.full((HEADS, 3, 2), 5))[..., -2:].tolist() == [[[[1, 3]] * 2] * 3] * HEADS
    assert not found.of_buckets(torch.full((HEADS, 3, 2), 6)).any()
    assert not found.slots[0].any()
