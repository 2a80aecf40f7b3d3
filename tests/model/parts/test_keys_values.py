import torch

from revlm.model.parts.keys_values import KeysValues


def kept() -> KeysValues:
    return KeysValues(heads=2, head_dim=4, dtype=torch.float32, device=torch.device("cpu"))


def some(new: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, new, 4, generator=generator), torch.randn(2, new, 4, generator=generator)


def test_records_stay_where_they_are_while_room_is_made() -> None:
    store = kept()
    keys, values = [], []
    for seed in range(40):
        k, v = some(17, seed)
        store.append(k, v)
        keys.append(k)
        values.append(v)
    assert store.tokens == 680
    every = torch.arange(1, 681, dtype=torch.int32).expand(2, -1)
    found = store.gather(every)
    assert torch.equal(found[:, :, 0], torch.cat(keys, dim=1))
    assert torch.equal(found[:, :, 1], torch.cat(values, dim=1))
    assert not store.gather(torch.zeros(2, 1, dtype=torch.int32)).any()


def test_a_slot_takes_its_keys_and_values_and_an_eighth_of_room() -> None:
    store = kept()
    store.append(*some(10_000, 0))
    (records,) = store.tensors()
    assert records.nbytes <= 10_001 * 9 / 8 * 2 * 2 * 4 * 4
    store.reserve(50_000)
    (records,) = store.tensors()
    before = records.data_ptr()
    store.append(*some(50_000, 1))
    assert store.tensors()[0].data_ptr() == before


def test_samples_share_all_but_the_latest_token() -> None:
    store = kept()
    store.append(*some(5, 0))
    store.fork(3)
    assert (store.shared, store.tokens) == (4, 5)
    assert torch.equal(store.latest, store.records[5:6].expand(3, -1, -1, -1))
    assert store.latest_slots.tolist() == [5, 6, 7]
    store.latest[1] += 1
    store.append(*some(3, 1))
    assert store.tokens == 6
    assert store.latest_slots.tolist() == [8, 9, 10]
    assert not torch.equal(store.records[6], store.records[5])
    assert torch.equal(store.records[7], store.records[5])
