"""Properties of units, tokenizers, draws and the cache, over arbitrary input."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from explorer.corpus import cache
from explorer.corpus.batches import plan_domains, plan_starts, spread_windows
from explorer.corpus.files import pack_units
from explorer.corpus.tokenizer import BpeTokenizer, ByteTokenizer, train_bpe
from explorer.corpus.units import Unit, blocks, select, split
from explorer.errors import CorpusError

texts = st.text(max_size=300)
seeds = st.integers(0, 2**63 - 1)
steps = st.integers(0, 10**7)


@pytest.fixture(scope="module")
def bpe() -> BpeTokenizer:
    words = [
        "the cat sat on the mat\n",
        "for i in range(10):\n    print(i)\n",
        "¿qué señor?\n",
        "0x3f800000,2\n",
    ]
    return train_bpe([word * 40 for word in words], 280)


@given(text=texts)
def test_bpe_round_trip_is_lossless(bpe: BpeTokenizer, text: str) -> None:
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text
    assert bpe.token_lengths[ids].sum() == len(text.encode())
    assert not ids.size or ids.max() < bpe.vocab_size


@given(text=texts)
def test_byte_round_trip_is_lossless(text: str) -> None:
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_lengths[ids].sum() == len(text.encode()) == ids.size


@given(many=st.lists(texts, max_size=5))
def test_encoding_many_is_encoding_each(bpe: BpeTokenizer, many: list[str]) -> None:
    for tokenizer in (bpe, ByteTokenizer()):
        for together, alone in zip(tokenizer.encode_many(many), map(tokenizer.encode, many), strict=True):
            np.testing.assert_array_equal(together, alone)


@given(text=st.text(alphabet="ab\n\r\u2028é", max_size=400), size=st.integers(1, 50))
def test_blocks_lose_nothing_and_have_their_size(text: str, size: int) -> None:
    parts = blocks("t", text, size)
    assert "".join(part.text for part in parts) == text
    assert all(part.num_bytes >= size for part in parts[:-1])
    assert len({part.name for part in parts}) == len(parts)


@given(sizes=st.lists(st.integers(0, 400), max_size=60))
def test_split_is_fair_or_refused(sizes: list[int]) -> None:
    units = [Unit(name=f"u{i}", text=f"{i}:" + "x" * size) for i, size in enumerate(sizes)]
    try:
        domain = split("d", units)
    except CorpusError:
        # Many small units can always be split.
        largest = max((unit.num_bytes for unit in units), default=0)
        assert len(units) < 20 or largest > 0.025 * sum(unit.num_bytes for unit in units)
        return
    train, held_out = ({unit.name for unit in part} for part in (domain.train, domain.held_out))
    assert train.isdisjoint(held_out)
    assert train | held_out == {unit.name for unit in units}
    assert 0.05 <= domain.held_out_share <= 0.10


@given(sizes=st.lists(st.integers(1, 90), max_size=60), cap=st.integers(1, 2000))
def test_selection_never_exceeds_its_cap(sizes: list[int], cap: int) -> None:
    units = [Unit(name=f"u{i}", text="x" * size) for i, size in enumerate(sizes)]
    selected = select(units, cap)
    assert sum(unit.num_bytes for unit in selected) <= cap
    assert [unit for unit in units if unit in selected] == selected


@given(
    units=st.lists(st.tuples(st.text(min_size=1, max_size=9), texts), max_size=6, unique_by=lambda u: u[0])
)
def test_frozen_format_has_one_line_a_file(units: list[tuple[str, str]]) -> None:
    packed = pack_units([Unit(name=name, text=text) for name, text in units])
    assert len(packed.splitlines()) == len(units)


@given(
    seed=seeds, step=steps, num_domains=st.integers(1, 9), size=st.integers(1, 20), parts=st.integers(1, 5)
)
def test_a_position_does_not_depend_on_its_batch(
    seed: int, step: int, num_domains: int, size: int, parts: int
) -> None:
    num_starts = np.arange(1, num_domains + 1, dtype=np.int64) * 1000

    def plan(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids = plan_domains(seed, step, positions, num_domains)
        return ids, plan_starts(seed, step, positions, ids, num_starts)

    whole = plan(np.arange(size * parts))
    pieces = [plan(micro_batch * size + np.arange(size)) for micro_batch in range(parts)]
    for together, separate in zip(whole, zip(*pieces, strict=True), strict=True):
        np.testing.assert_array_equal(together, np.concatenate(separate))


@given(seed=seeds, cycle=st.integers(0, 10**6), num_domains=st.integers(1, 9), size=st.integers(1, 40))
def test_domains_are_exactly_equal_over_a_cycle_of_steps(
    seed: int, cycle: int, num_domains: int, size: int
) -> None:
    total = np.zeros(num_domains, dtype=np.int64)
    for step in range(cycle * num_domains, (cycle + 1) * num_domains):
        counts = np.bincount(plan_domains(seed, step, np.arange(size), num_domains), minlength=num_domains)
        # Within one step they differ by one at most.
        assert counts.max() - counts.min() <= 1
        total += counts
    assert (total == size).all()


@given(seed=seeds, step=steps, sizes=st.lists(st.integers(1, 2**31), min_size=1, max_size=6))
def test_starts_lie_inside_their_domain(seed: int, step: int, sizes: list[int]) -> None:
    positions = np.arange(50)
    num_starts = np.array(sizes, dtype=np.int64)
    ids = plan_domains(seed, step, positions, len(sizes))
    starts = plan_starts(seed, step, positions, ids, num_starts)
    assert (starts >= 0).all()
    assert (starts < num_starts[ids]).all()


@given(num_tokens=st.integers(1, 10**6), length=st.integers(1, 3000), wanted=st.integers(1, 2000))
def test_held_out_windows_fit_and_never_overlap(num_tokens: int, length: int, wanted: int) -> None:
    starts = spread_windows(num_tokens, length, wanted)
    assert starts.size == min(wanted, num_tokens // length)
    assert (np.diff(starts) >= length).all()
    assert not starts.size or starts[0] == 0
    assert not starts.size or starts[-1] + length <= num_tokens


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=arrays.arrays(np.uint16, st.integers(1, 40)),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_flipped_bit_in_the_cache_never_changes_a_token(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, place: float, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flip.npz"
    cache.write(path, {"tokens": array})
    raw = bytearray(path.read_bytes())
    raw[int(place * len(raw))] ^= 1 << bit
    path.write_bytes(raw)
    read = cache.read(path)
    if read is not None and "tokens" in read:
        np.testing.assert_array_equal(read["tokens"], array)
