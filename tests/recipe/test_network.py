"""The training network computes what diffusers computes, adapter included. Needs the `train` extra."""

# mypy: disable-error-code="untyped-decorator"

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from salon.models.mini.recipe.adapter import refit, strengthen
from salon.models.mini.recipe.batches import lengthened
from salon.models.mini.recipe.captions import ROWS
from salon.models.mini.recipe.config import TransformerConfig
from salon.models.mini.recipe.network import (
    Velocity,
    build,
    fold_empty,
    logistic_gelu,
    pack,
    position_ids,
    unpack,
)
from salon.models.mini.recipe.style import StyleAdapter, StyleEncoder

CONFIG = TransformerConfig(heads=2, head_width=16, double=2, single=1)


def make(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = build(CONFIG, 8).eval()
    with torch.no_grad():  # the start is close to zero everywhere: stir it, or nothing would be compared
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model


def inputs(b: int = 3, h: int = 6, w: int = 4) -> tuple[Any, ...]:
    x, tokens = torch.randn(b, h // 2 * (w // 2), 32), torch.randn(b, ROWS, 384)
    return x, tokens, torch.randn(b, 384), torch.rand(b)


def diffusers_forward(model: Any, given: tuple[Any, ...], h: int, w: int, vectors: Any = None) -> Any:
    x, tokens, pooled, t = given
    image, text = position_ids(h, w)
    kwargs = None if vectors is None else {"ip_adapter_image_embeds": [vectors[:, None]]}
    return model(
        hidden_states=x,
        encoder_hidden_states=tokens,
        pooled_projections=pooled,
        timestep=t,
        img_ids=image,
        txt_ids=text,
        joint_attention_kwargs=kwargs,
        return_dict=False,
    )[0]


def close(a: Any, b: Any) -> None:
    assert torch.isfinite(a).all()
    assert float((a - b).abs().max()) <= 1e-4 * float(b.abs().max())


@torch.no_grad()
@pytest.mark.parametrize(("h", "w"), [(6, 4), (4, 10), (2, 2)])
def test_velocity_equals_diffusers(h: int, w: int) -> None:
    model = make()
    given = inputs(h=h, w=w)
    expected = diffusers_forward(model, given, h, w)
    assert float(expected.std()) > 0.01
    net = Velocity(model)
    close(net(*given, net.rotary(h, w)), expected)


@torch.no_grad()
def test_folded_empty_rows_give_the_same_picture() -> None:
    net, (x, tokens, pooled, t) = Velocity(make()), inputs(4)
    for i, gaps in enumerate((range(2, ROWS), range(0, 4), range(5, ROWS, 2), range(ROWS))):
        tokens[i, list(gaps)] = 0
    room = int((tokens.abs().amax(-1) > 0).sum(1).max()) + 1
    assert room < ROWS
    rows, bias = fold_empty(tokens, room)
    assert rows.shape == (4, room, 384)
    expected = net(x, tokens, pooled, t, net.rotary(6, 4))
    assert float(expected.std()) > 0.01
    close(net(x, rows, pooled, t, net.rotary(6, 4), text_bias=bias), expected)
    assert float((net(x, rows, pooled, t, net.rotary(6, 4)) - expected).abs().max()) > 1e-3  # the bias matters


def test_folded_empty_rows_give_the_same_gradients() -> None:
    x, tokens, pooled, t = inputs(2)
    tokens[0, 4:] = 0
    tokens[1, 1:7] = 0
    found = []
    for fold in (False, True):
        model = make()
        net = Velocity(model)
        rows, bias = fold_empty(tokens, ROWS - 5) if fold else (tokens, None)
        (net(x, rows, pooled, t, net.rotary(6, 4), text_bias=bias) ** 2).mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    close(found[1], found[0])


def adapter_for(model: Any) -> StyleAdapter:
    adapter = StyleAdapter(256, 4, 32, CONFIG.double)
    with torch.no_grad():
        for p in adapter.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return adapter


def nested(adapter: StyleAdapter) -> dict[str, dict[str, Any]]:
    """The file's flat names as diffusers' loader sees them."""
    out: dict[str, dict[str, Any]] = {"image_proj": {}, "ip_adapter": {}}
    for name, value in adapter.layout().items():
        part, _, rest = name.partition(".")
        out[part][rest] = value
    return out


@torch.no_grad()
def test_adapter_equals_diffusers_from_the_file_layout() -> None:
    model, given = make(), inputs()
    adapter, vectors = adapter_for(model), torch.randn(3, 256)
    plain = diffusers_forward(model, given, 6, 4)
    theirs = make()
    theirs._load_ip_adapter_weights([nested(adapter)], low_cpu_mem_usage=False)
    expected = diffusers_forward(theirs, given, 6, 4, vectors)
    assert float((expected - plain).abs().max()) > 1e-3  # the adapter does something
    net = Velocity(model, list(adapter.blocks))
    ones = torch.ones(3)
    close(net(*given, net.rotary(6, 4), adapter.project(vectors), ones), expected)


@torch.no_grad()
def test_weight_zero_is_no_adapter_at_all() -> None:
    model, given = make(), inputs()
    adapter = adapter_for(model)
    plain_net = Velocity(model)
    plain = plain_net(*given, plain_net.rotary(6, 4))
    net = Velocity(model, list(adapter.blocks))
    tokens = adapter.project(torch.randn(3, 256))
    assert torch.equal(net(*given, net.rotary(6, 4), tokens, torch.zeros(3)), plain)
    mixed = net(*given, net.rotary(6, 4), tokens, torch.tensor([0.0, 1.0, 0.0]))
    close(mixed[[0, 2]], plain[[0, 2]])
    assert float((mixed[1] - plain[1]).abs().max()) > 1e-3


@pytest.mark.parametrize(("h", "w"), [(16, 16), (12, 22), (2, 4)])
def test_packing_is_undone(h: int, w: int) -> None:
    z = torch.randn(2, 8, h, w)
    assert pack(z).shape == (2, h // 2 * (w // 2), 32)
    assert torch.equal(unpack(pack(z), h, w), z)


@torch.no_grad()
def test_no_layout_leaks_through_the_style_encoder() -> None:
    torch.manual_seed(0)
    encoder = StyleEncoder(8, 256).eval()
    z = torch.randn(1, 8, 1, 1).expand(1, 8, 16, 16) * torch.ones(1, 1, 16, 16)
    z = z + 0.01 * torch.randn_like(z)
    one, other = z.clone(), z.clone()
    one[..., 2:8, 2:8] += 2  # the same patch somewhere else
    other[..., 8:14, 6:12] += 2
    vectors = encoder(torch.cat([one, other, -one]))
    assert torch.isfinite(vectors).all()
    assert np.allclose(vectors.pow(2).mean(1), 1, atol=1e-3)
    near, far = float((vectors[0] - vectors[1]).norm()), float((vectors[0] - vectors[2]).norm())
    assert near < 0.05 * far


@torch.no_grad()
def test_a_strengthened_adapter_does_at_weight_1_what_it_did_at_more() -> None:
    model, given = make(), inputs()
    adapter = adapter_for(model)
    net, tokens = Velocity(model, list(adapter.blocks)), adapter.project(torch.randn(3, 256))
    wanted = net(*given, net.rotary(6, 4), tokens, torch.full((3,), 1.5))
    strengthen(adapter, 1.5)
    close(net(*given, net.rotary(6, 4), tokens, torch.ones(3)), wanted)


@torch.no_grad()
def test_an_adapter_is_refitted_to_another_style_encoder() -> None:
    torch.manual_seed(0)
    old, new = StyleEncoder(8, 32).eval(), StyleEncoder(8, 32).eval()
    new.load_state_dict(old.state_dict())
    turn = torch.linalg.qr(torch.randn(32, 32)).Q
    new.out[2].weight.copy_(turn @ old.out[2].weight)  # the same vectors, turned
    new.out[2].bias.copy_(turn @ old.out[2].bias)
    adapter = StyleAdapter(32, 4, 32, CONFIG.double)
    torch.nn.init.normal_(adapter.null)
    z = torch.randn(64, 8, 6, 6) * torch.rand(64, 8, 1, 1) * 4
    wanted, null = adapter.project(old(z)), adapter.project(adapter.null[None])
    assert float((adapter.project(new(z)) - wanted).abs().max()) > 0.5
    refit(adapter, old, new, z)
    assert torch.allclose(adapter.project(new(z)), wanted, atol=0.02)
    assert torch.allclose(adapter.project(adapter.null[None]), null, atol=0.02)


def test_the_logistic_gelu_is_the_tanh_one_and_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.linspace(-30, 30, 4001, dtype=torch.float64, requires_grad=True)
    plain, results = torch.nn.functional.gelu(x, approximate="tanh"), []
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda compiling=compiling: compiling)
        results.append(logistic_gelu(x))
        assert float((results[-1] - plain).abs().max().detach()) < 1e-12
        slopes = [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in (results[-1], plain)]
        assert float((slopes[0] - slopes[1]).abs().max()) < 1e-12
    assert not torch.equal(*results)  # two formulas indeed
    model = make()
    given = inputs()
    with torch.no_grad():
        before = diffusers_forward(model, given, 6, 4)
        close(Velocity(model)(*given, Velocity(model).rotary(6, 4)), before)
    kinds = [type(m).__name__ for m in model.modules() if getattr(m, "approximate", "") == "tanh"]
    assert set(kinds) == {"SigmoidGELU", "SigmoidGELUProjection"}


@pytest.mark.parametrize(("h", "w"), [(14, 18), (18, 14), (12, 22), (2, 4)])
def test_a_lengthened_picture_is_the_same_with_more_background(h: int, w: int) -> None:
    z = torch.randn(2, 8, h, w)
    x, tall, wide = lengthened(pack(z), h, w)
    assert (tall, wide) == ((h + 2, w) if h > w else (h, w + 2))
    new = unpack(x, tall, wide)
    new, old = (new.mT, z.mT) if h > w else (new, z)
    assert torch.equal(new[..., [0, 1]], old[..., [0, 1]])
    assert torch.equal(new[..., [1, -2]], new[..., [2, -3]])  # each stands twice
    assert torch.equal(new[..., 2:-2], old[..., 1:-1])
    assert torch.equal(new[..., [-2, -1]], old[..., [-2, -1]])
