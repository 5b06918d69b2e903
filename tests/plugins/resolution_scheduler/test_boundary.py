from __future__ import annotations

import attrs
import pytest
import synthetic as s
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from resnetbk.errors import UserError
from resnetbk.kinds import Rows, Stack
from resnetbk.model.rows import Packing
from resnetbk.registry.lookup import Registry
from resnetbk.spec.read import read_text
from resnetbk_plugins.resolution_scheduler.boundary import Boundary
from resnetbk_plugins.resolution_scheduler.boundary_module import POOLED, BoundaryResolution, boundaries

WIDTH = 5


def built(longest: int = 16) -> BoundaryResolution:
    """In double precision, with weights that are not zero."""
    torch.manual_seed(0)
    module = Boundary(layers=(1, 2, 1), longest=longest).build(width=WIDTH, depth=4)
    assert isinstance(module, BoundaryResolution)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


def encoded(*texts: bytes) -> Tensor:
    return torch.tensor([list(text) for text in texts])


def rows(batch: int, count: int, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, count, WIDTH, dtype=torch.float64, generator=generator)
    return Rows(x, torch.arange(count).repeat(batch, 1))


def marked(text: bytes, longest: int = 16) -> bytes:
    """The text with a bar before each byte that begins a row."""
    actual = boundaries(encoded(text), longest)[0].tolist()
    return b"".join(b"|" * begins + bytes([byte]) for byte, begins in zip(text, actual, strict=True))


def oracle(text: bytes, longest: int) -> list[bool]:
    """By the definition, byte by byte."""
    word = [chr(b).isalnum() if b < 128 else b < 0xC0 for b in text]
    actual: list[bool] = []
    since = 0
    for i in range(len(text)):
        begins = i == 0 or (not word[i] and word[i - 1]) or since == longest
        since = 1 if begins else since + 1
        actual.append(begins)
    return actual


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"the cat, sat", b"|the| cat|, sat"),
        (b" the cat", b"| the| cat"),
        (b"a", b"|a"),
        (b"x1 = f(y)\n\nx2", b"|x1| = f|(y|)\n\nx2"),
        (b"'tis 1606.", b"|'tis| 1606|."),
        (b"     ", b"|     "),
        ("né à".encode(), "|n|é| à".encode()),
    ],
)
def test_a_row_begins_where_a_word_ends(text: bytes, expected: bytes) -> None:
    assert marked(text) == expected


def test_each_character_of_several_bytes_begins_a_row_where_it_begins() -> None:
    assert marked("日本語".encode()) == b"".join(b"|" + letter.encode() for letter in "日本語")
    assert marked("ab🙂c".encode()) == b"|ab|" + "🙂c".encode()


def test_a_row_begins_after_the_longest_stretch_without_one() -> None:
    assert marked(b"abcdefgh ij", longest=3) == b"|abc|def|gh| ij"
    assert marked(b" " * 7, longest=3) == b"|   |   | "
    assert marked(b"a b", longest=1) == b"|a| |b"


TEXTS = st.lists(st.sampled_from([*"aZ09 ,\né日🙂".encode(), 0, 127, 255]), min_size=1, max_size=40)


@given(text=TEXTS.map(bytes), longest=st.integers(1, 9))
def test_boundaries_are_those_of_the_definition(text: bytes, longest: int) -> None:
    assert boundaries(encoded(text), longest)[0].tolist() == oracle(text, longest)


def test_every_byte_is_a_word_or_not_as_defined() -> None:
    every = bytes(byte for other in range(256) for byte in (ord("a"), other))
    assert boundaries(encoded(every), 1000)[0].tolist() == oracle(every, 1000)


def test_boundaries_do_not_see_the_future() -> None:
    text = b"To be, or not to be:  that"
    for cut in range(1, len(text)):
        other = text[:cut] + b" ,a " * 9
        actual = boundaries(encoded(text, other[: len(text)]), 3)
        assert torch.equal(actual[0, :cut], actual[1, :cut])


def test_the_three_stacks() -> None:
    assert built().stacks == (Stack(0, (0,)), Stack(1, (1, 2)), Stack(0, (3,)))


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 40), longest=st.integers(1, 9), seed=st.integers(0, 99))
def test_down_and_up_by_the_definition(count: int, longest: int, seed: int) -> None:
    module, fine = built(longest), rows(3, count)
    letters = torch.tensor(list(b"ab ,"))
    known = letters[torch.randint(4, (3, count), generator=torch.Generator().manual_seed(seed))]
    coarse = module.down(1, fine, known)
    actual = module.up(1, fine, coarse)
    assert coarse.length is not None
    assert coarse.x.shape[1] == int(coarse.length.max())
    assert bool((coarse.position.diff(dim=1) > 0).all())
    for b in range(3):
        begins = [i for i, each in enumerate(oracle(bytes(known[b].tolist()), longest)) if each]
        assert coarse.length[b] == len(begins)
        assert coarse.position[b, : len(begins)].tolist() == begins
        assert bool((coarse.position[b, len(begins) :] >= count).all())
        for p in range(count):
            last = max(i for i in begins if i <= p)
            window = F.pad(fine.x[b], (0, 0, POOLED - 1, 0))[last : last + POOLED]
            read = module.pool @ window.flatten()
            torch.testing.assert_close(coarse.x[b, begins.index(last)], read)
            normed = F.rms_norm(read, (WIDTH,))
            torch.testing.assert_close(actual.x[b, p], fine.x[b, p] + module.spread @ normed)


def test_ragged_coarse_rows_equal_one_by_one() -> None:
    module, fine = built(), rows(4, 12)
    known = encoded(b"one two, six", b"abcdefghijkl", b"a b c d e f ", b"            ")
    packed = module.down(1, fine, known)
    assert packed.length is not None
    assert packed.length.tolist() == [3, 1, 7, 1]
    up = module.up(1, fine, packed).x
    for b, real in enumerate(packed.length.tolist()):
        alone = Rows(fine.x[b : b + 1], fine.position[b : b + 1])
        coarse = module.down(1, alone, known[b : b + 1])
        torch.testing.assert_close(packed.x[b : b + 1, :real], coarse.x)
        torch.testing.assert_close(up[b : b + 1], module.up(1, alone, coarse).x)


def test_what_stands_in_padding_is_never_read() -> None:
    module, fine = built(), rows(2, 9)
    known = encoded(b"a b c d e", b"abcdefghi")
    coarse = module.down(1, fine, known)
    assert coarse.length is not None
    assert not coarse.x[1, 1:].any()
    spoiled = coarse.x.clone()
    spoiled[1, 1:] = float("nan")
    expected = module.up(1, fine, coarse).x
    assert torch.equal(module.up(1, fine, Rows(spoiled, coarse.position, coarse.length)).x, expected)


def test_ragged_fine_rows_begin_no_row_in_their_padding() -> None:
    module, fine = built(), rows(3, 8)
    known = encoded(b"a b c d ", b"a b c d ", b"a b c d ")
    ragged = Rows(fine.x, fine.position, torch.tensor([8, 2, 0]))
    coarse = module.down(1, ragged, known)
    assert coarse.length is not None
    assert coarse.length.tolist() == [5, 2, 0]
    alone = Rows(fine.x[1:2, :2], fine.position[1:2, :2])
    expected = module.up(1, alone, module.down(1, alone, known[1:2, :2])).x
    torch.testing.assert_close(module.up(1, ragged, coarse).x[1:2, :2], expected)


def test_layers_run_one_row_a_word() -> None:
    resolution = Boundary(layers=(1, 2, 1)).build(width=s.WIDTH, depth=4)
    model = s.build(resolution=resolution)
    model.embedding.weight = nn.Parameter(torch.randn(256, s.WIDTH, dtype=torch.float64))
    known = encoded(b"the cat, sat", b"on the table")
    assert model(known).rows == (24, 6, 6, 24)


def test_half_precision_begins_the_same_rows() -> None:
    """So many that spare rows are computed (`Packing.spare`), which belong to no token."""
    tokens = torch.randint(97, 110, (16, 128), generator=torch.Generator().manual_seed(0))
    tokens[torch.rand(16, 128, generator=torch.Generator().manual_seed(1)) < 0.2] = 32
    fine, module = rows(16, 128), built().float()
    fine = attrs.evolve(fine, x=fine.x.float())
    whole = module.down(1, fine, tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = module.down(1, fine, tokens)
        assert Packing(boundaries(tokens, 16)).spare > 0
    for i, real in enumerate(whole.length.tolist()):
        assert torch.equal(half.position[i, :real], whole.position[i, :real])
        torch.testing.assert_close(half.x[i, :real], whole.x[i, :real], rtol=0.02, atol=0.1)


def test_steps_begin_the_same_rows() -> None:
    module, text = built(longest=4), b"A rose, by any other name  would smell..."
    state, actual = module.initial_state(2), []
    known = encoded(text, text[::-1])
    for i, column in enumerate(known.unbind(1)):
        row = Rows(torch.randn(2, 1, WIDTH).double(), torch.full((2, 1), i))
        coarse, begins, state = module.down_step(1, row, column[:, None], state)
        assert torch.equal(coarse.position, row.position)
        actual.append(begins)
    assert torch.equal(torch.stack(actual, 1), boundaries(known, 4))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layers": (1, 0, 1)}, "at least 1 in the middle stack"),
        ({"layers": (-1, 2, 1)}, "at least 0 in each stack"),
        ({"layers": (1, 2, 1), "longest": 0}, "longest"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Boundary(**keys)
    assert "\n" not in str(caught.value)


def spec(resolution: str, tokenizer: str = "bytes") -> str:
    model = f'[model]\nwidth = 8\ndepth = 4\nmixer = "bk-causal"\nresolution = {resolution}\n'
    data = f'[data]\ncorpus = "python-docs"\ntokenizer = "{tokenizer}"\n'
    return f'name = "t"\n{data}{model}[train]\nsteps = 1\n'


def test_tokens_that_are_no_bytes_are_refused() -> None:
    text = '{ use = "boundary", layers = [1, 2, 1] }'
    read_text(spec(text), Registry.discover())
    with pytest.raises(UserError, match=r"needs data.tokenizer = 'bytes' .*, which 'chars' does not"):
        read_text(spec(text, "chars"), Registry.discover())


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        ('"boundary"', "missing key 'layers'"),
        ('{ use = "boundary", layers = [1, 1, 1] }', "are 3 layers, but model.depth is 4"),
        ('{ use = "boundary", layers = [1, 1, 1, 1] }', "expects an array of 3, found one of 4"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(resolution: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_text(spec(resolution), Registry.discover())
    assert message in str(caught.value)
