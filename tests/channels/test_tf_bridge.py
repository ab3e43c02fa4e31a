"""TensorFlow functions under PyTorch's autograd, and the operator contract over channels made of them."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError

from channels import seeding
from channels.tensorflow import call as tf_call
from channels.tensorflow.call import tensorflow_call
from channels.tensorflow.channel import TensorFlowChannel
from linksim.jscc.layout import SymbolLayout
from tests.contracts import operator_checks as checks
from tests.contracts.operators import Case

tf = pytest.importorskip("tensorflow")


def normal(*shape, dtype=torch.complex128, seed=1):
    return seeding.complex_normal(shape, seeding.generator(seed), dtype)


def pointer(tensor) -> int:
    """Where a TensorFlow tensor lies in memory."""
    return torch.from_dlpack(tensor).data_ptr()


# ---------------------------------------------------------------- the call


def test_memory_is_shared_both_ways():
    seen = {}

    def fn(a, b):
        seen["in"] = (pointer(a), pointer(b))
        y = tf.sqrt(tf.cast(tf.abs(a), tf.float32) + b)
        seen["out"] = pointer(y)
        return y

    a, b = normal(8, 64, dtype=torch.complex64), torch.rand(8, 64)
    for grad in (False, True):
        y = tensorflow_call(fn, a.requires_grad_(grad), b)
        assert seen["in"] == (a.data_ptr(), b.data_ptr())
        assert seen["out"] == y.data_ptr()
        assert torch.allclose(y, (a.abs() + b).sqrt())


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, 1:],
        lambda x: x[1:],  # 5 values of 8 bytes: begins where TensorFlow would abort the process
        lambda x: x.t(),
        lambda x: x.conj(),
        lambda x: x.conj().imag,
        lambda x: torch._neg_view(x.real.contiguous()),  # in order already, its sign still to be turned
        lambda x: x[0, 0],
        lambda x: x[:0],
        lambda x: x[:1, :1],
        lambda x: x[:, :1].expand(-1, 7),
    ],
)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_any_view_arrives_with_its_values(view, dtype):
    x = view(normal(3, 5, dtype=dtype))
    assert torch.equal(tensorflow_call(lambda t: -t, x), -x)  # a kernel, which tf.identity is not


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.bool,
     torch.complex64, torch.complex128],
)  # fmt: skip
def test_dtypes_stay(dtype):
    x = torch.tensor([[0, 1, 1]]).to(dtype)
    y = tensorflow_call(tf.identity, x)
    assert y.dtype == dtype
    assert torch.equal(y, x)


def holomorphic(a, b, c):
    return a * b * b + tf.exp(a * tf.cast(c, a.dtype))


def anything(a, b, c):
    """Neither holomorphic nor even in its arguments."""
    return tf.math.conj(a) * tf.cast(tf.abs(b) ** 2, a.dtype) + tf.complex(c * c, tf.math.real(a) * c)


def to_real(a, b, c):
    return tf.abs(a * b) + c * tf.math.imag(b)


@pytest.mark.parametrize("fn", [holomorphic, anything, to_real])
@pytest.mark.parametrize("traced", [False, True])
def test_gradcheck_over_several_inputs(fn, traced):
    inputs = (normal(2, 3).requires_grad_(), normal(2, 3, seed=2).requires_grad_(),
              torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3).requires_grad_())  # fmt: skip
    call = tf.function(fn) if traced else fn
    assert torch.autograd.gradcheck(lambda *args: tensorflow_call(call, *args), inputs)


def test_gradcheck_sees_a_conjugated_gradient():
    @tf.custom_gradient
    def wrong(a):
        return a * a, lambda g: tf.math.conj(2 * a * g)

    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(lambda a: tensorflow_call(wrong, a), (normal(3).requires_grad_(),))


def test_gradient_is_that_of_the_same_function_in_pytorch():
    a, b = normal(4, 5).requires_grad_(), normal(4, 5, seed=2).requires_grad_()
    c = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    here = a.conj() * b.abs() ** 2 + torch.complex(c * c, a.real * c)
    there = tensorflow_call(anything, a, b, c)
    upstream = normal(4, 5, seed=3)
    for x, y in zip(
        torch.autograd.grad(here, (a, b, c), upstream),
        torch.autograd.grad(there, (a, b, c), upstream),
        strict=True,
    ):
        assert torch.allclose(x, y, rtol=1e-12, atol=1e-12)


def test_only_tensors_that_require_grad_get_one():
    a, b = normal(3), normal(3, seed=2).requires_grad_()
    tensorflow_call(tf.multiply, a, b).abs().square().sum().backward()
    assert a.grad is None
    assert torch.allclose(b.grad, 2 * a.conj() * a * b.detach())


def test_without_need_for_gradients_nothing_is_recorded(monkeypatch):
    def no_tape(**arguments):
        raise AssertionError("recorded")

    monkeypatch.setattr(tf, "GradientTape", no_tape)
    x = normal(3).requires_grad_()
    with torch.no_grad():
        assert not tensorflow_call(tf.identity, x).requires_grad
    assert not tensorflow_call(tf.identity, x.detach()).requires_grad
    with pytest.raises(AssertionError, match="recorded"):
        tensorflow_call(tf.identity, x)


def test_weights_inside_are_not_recorded():
    weight, x = tf.Variable(3.0), torch.ones(2, requires_grad=True)
    y = tensorflow_call(lambda t: t * weight, x)
    assert y.grad_fn.recorded.tape.watched_variables() == ()


def test_backward_comes_twice_only_when_asked_for():
    x = normal(3).requires_grad_()
    y = tensorflow_call(tf.square, x)
    upstream = torch.ones_like(y)
    first = torch.autograd.grad(y, x, upstream, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(y, x, upstream)[0])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y, x, upstream)


@pytest.mark.parametrize("which", ["input", "output"])
def test_memory_overwritten_before_backward_is_an_error(which):
    """The tape reads it again, and would give a wrong gradient."""
    x = normal(3).requires_grad_()
    sent = x * 1
    y = tensorflow_call(tf.exp, sent)
    with torch.no_grad():
        (sent if which == "input" else y).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.abs().sum().backward()


@pytest.mark.parametrize("fn", [tf.identity, lambda t: tf.reshape(t, (2, 8))[:1], lambda t: t])
def test_result_never_shares_memory_with_an_argument(fn):
    for x in (normal(16), normal(16).requires_grad_()):
        before = x.detach().clone()
        tensorflow_call(fn, x).detach().zero_()
        assert torch.equal(x.detach(), before)


def test_gradients_do_not_share_memory():
    """The gradient of a sum is one tensor for both terms, and autograd adds to gradients in place."""
    a, b = normal(16).requires_grad_(), normal(16, seed=2).requires_grad_()
    y = tensorflow_call(tf.add, a, b)
    upstream = normal(16, seed=3)
    kept = upstream.clone()
    in_a, in_b = torch.autograd.grad(y, (a, b), upstream)
    in_a.zero_()
    assert torch.equal(in_b, kept)
    assert torch.equal(upstream, kept)


def test_sparse_gradient_becomes_dense():
    x = torch.arange(5.0, requires_grad=True)
    y = tensorflow_call(lambda t: tf.gather(t, [1, 1, 3]), x)
    y.sum().backward()
    assert x.grad.tolist() == [0, 2, 0, 1, 0]


@pytest.mark.parametrize("backward", [True, False])
def test_memory_of_the_tape_is_free_after_backward_or_with_the_graph(backward):
    x = normal(3).requires_grad_()
    y = tensorflow_call(tf.exp, x)
    tape = weakref.ref(y.grad_fn.recorded.tape)
    assert tape() is not None
    if backward:
        y.abs().sum().backward()
    else:
        del y
    gc.collect()
    assert tape() is None


@pytest.mark.parametrize("cut", [tf.stop_gradient, lambda t: tf.cast(tf.cast(t, tf.int32), tf.float32)])
def test_function_without_gradient_is_named(cut):
    x, scale = torch.rand(3, requires_grad=True), torch.ones(3, requires_grad=True)
    y = tensorflow_call(lambda s, t: s * cut(t), scale, x)
    with pytest.raises(RuntimeError, match=r"fn: no gradient, got None for tensor 2 of 2, .*tf\.round"):
        y.sum().backward()


@pytest.mark.parametrize("fn", [lambda t: [t], lambda t: None, lambda t: t.numpy(), tf.Variable])
def test_wrong_result_is_refused(fn):
    for x in (torch.ones(2), torch.ones(2, requires_grad=True)):
        with pytest.raises(TypeError, match=r"fn: wrong result, got \w+, expected one tf\.Tensor"):
            tensorflow_call(fn, x)


def test_second_derivative_is_refused():
    x = torch.ones(2, requires_grad=True)
    (first,) = torch.autograd.grad(tensorflow_call(tf.exp, x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_tensorflow_may_be_imported_before_or_after():
    """Both bring an LLVM along, as Triton, which Sionna loads: a process that mixes them up crashes."""
    use = "print(tensorflow_call(tf.function(lambda t: 2 * t, jit_compile=True), torch.ones(3)).tolist())"
    imports = [
        "import tensorflow as tf",
        "import torch; from channels.tensorflow.call import tensorflow_call",
    ]
    for order in (imports, imports[::-1]):
        code = "; ".join([*order, "torch.compile(lambda t: t)", use])
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.split() == ["[2.0,", "2.0,", "2.0]"]


def test_first_call_leaves_the_global_generators_alone():
    """In a new process: importing TensorFlow reseeds Python's generator."""
    code = """
import random, numpy as np, torch
from channels.tensorflow.call import tensorflow_call
states = lambda: (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
before = states()
tensorflow_call(lambda t: 2 * t, torch.ones(3, requires_grad=True)).sum().backward()
print(before == states())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["True"]


# ---------------------------------------------------------------- the operator


def constant_fade(num_sent: int, generator: torch.Generator) -> list[torch.Tensor]:
    return [seeding.complex_normal((1,), generator, torch.complex128)]


def block_fade(num_sent: int, generator: torch.Generator) -> list[torch.Tensor]:
    """A gain per 2 pilots and 20 data symbols, and a tensor that is neither complex nor a gain."""
    blocks = seeding.complex_normal((-(-num_sent // 22),), generator, torch.complex128)
    return [torch.arange(num_sent), blocks.repeat_interleave(22)[:num_sent]]


def rotation(precision, learned=False):
    """A Keras layer: rotation by one radian, or two random layers that bend."""
    dtype = "float32" if precision == "single" else "float64"
    keras = tf.keras
    if not learned:
        c, s = math.cos(1.0), math.sin(1.0)
        layer = keras.layers.Conv1D(2, 1, use_bias=False, dtype=dtype)
        layer.build((None, None, 2))
        layer.kernel.assign(tf.constant([[[c, s], [-s, c]]], dtype))
        return layer
    return keras.Sequential(
        [
            keras.Input((None, 2), dtype=dtype),
            keras.layers.Conv1D(8, 5, padding="causal", activation="tanh", dtype=dtype,
                                kernel_initializer=keras.initializers.GlorotUniform(seed=1)),
            keras.layers.Conv1D(2, 5, padding="causal", dtype=dtype,
                                kernel_initializer=keras.initializers.GlorotUniform(seed=2)),
        ]
    )  # fmt: skip


def _perfect(precision):
    return TensorFlowChannel(tf.multiply, draw=constant_fade, gain=lambda h: h, precision=precision)


def _ls(precision):
    return TensorFlowChannel(
        lambda x, places, h: h * x, draw=block_fade, gain=lambda places, h: h, csi="ls", pilots_per_block=2,
        coherence_symbols=20, precision=precision,
    )  # fmt: skip


def _noise_inside(precision):
    return TensorFlowChannel(
        lambda x, noise, no, h: h * x + noise + 0 * tf.cast(no, x.dtype), draw=constant_fade, gain=lambda h: h,
        extra=("noise", "noise_variance"), precision=precision,
    )  # fmt: skip


def _keras(precision):
    gain = torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    return TensorFlowChannel(rotation(precision), symbols="pairs", gain=lambda: gain, precision=precision)


def _learned(precision, **arguments):
    settings = {"csi": "ls", "pilots_per_block": 4, "coherence_symbols": 100, "symbols": "pairs", **arguments}
    return TensorFlowChannel(rotation(precision, learned=True), precision=precision, **settings)


def _batched(precision):
    return TensorFlowChannel(
        tf.multiply, draw=constant_fade, gain=lambda h: h, per_image=False, precision=precision
    )


OPERATORS = {
    "function-perfect": Case(_perfect, estimated=False),
    "function-ls": Case(_ls, estimated=True),
    "function-noise-inside": Case(_noise_inside, estimated=False),
    "function-batched": Case(_batched, estimated=False),
    "keras-perfect": Case(_keras, estimated=False, fades=False),
    "keras-learned-ls": Case(_learned, estimated=True, fades=False, scalar=False, linear=False),
}
CASES = [pytest.param(case, id=name) for name, case in OPERATORS.items()]
ESTIMATED = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.estimated]
SCALAR = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.scalar]
FADING = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.fades]
FIRST = {"single": torch.complex64, "double": torch.complex128}


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("case", CASES)
def test_shapes_and_dtypes(case, precision):
    checks.check_shapes(case.make(precision))


@pytest.mark.parametrize("case", CASES)
def test_randomness_is_the_seeds(case):
    checks.check_same_seed_same_bits(case.make("single"))
    checks.check_instances_agree(case.make)


@pytest.mark.parametrize("case", [case for case in CASES if "keras" not in case.id])
def test_global_generators_untouched(case):
    """Not over Keras: building a layer draws a seed from Python's generator, before a channel is made of it."""
    checks.check_global_rng_untouched(case.make)


@pytest.mark.parametrize("parts", [(3, 5), (1, 7)])
@pytest.mark.parametrize("case", CASES)
def test_batch_split_is_bit_identical(case, parts):
    checks.check_batch_split(case.make("single"), parts)


@pytest.mark.parametrize("case", FADING)
def test_mean_gain_power_is_one(case):
    """N = 1000 independent fades."""
    checks.check_unit_mean_gain(case.make("single"), num_draws=1000)


@pytest.mark.parametrize("case", SCALAR)
def test_noise_variance_equals_no(case):
    checks.check_noise_variance(case.make("double"))
    checks.check_noise_is_circular(case.make("double"))


@pytest.mark.parametrize("case", SCALAR)
def test_linear_and_autograd_is_the_adjoint(case):
    checks.check_linear(case.make("double"))
    checks.check_adjoint(case.make("double"))


@pytest.mark.parametrize("case", CASES)
def test_gradcheck(case):
    checks.check_gradient(case.make("double"))


@pytest.mark.parametrize("case", SCALAR)
def test_csi_is_the_gain_or_an_estimate_of_it(case):
    checks.check_csi(case.make("double"), estimated=case.estimated)


@pytest.mark.parametrize("case", ESTIMATED)
def test_estimated_csi_never_peeks(case):
    """NaN in place of the gain, of the whole state and of the noise changes nothing."""
    operator = case.make("single")
    x, no = checks.symbols(2, checks.N, torch.complex64), torch.full((2, 1), 0.1)
    draw = operator.draw(checks.N, checks.SEEDS[:2])
    blind = replace(
        draw,
        h=None if draw.h is None else draw.h * float("nan"),
        state=tuple(torch.zeros_like(t) for t in draw.state),
        noise=draw.noise * float("nan"),
    )
    y_raw = operator.propagate(x, draw, no)
    pairs = zip(
        checks.tensors(operator.observe(y_raw, draw, no)),
        checks.tensors(operator.observe(y_raw, blind, no)),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("case", CASES)
def test_uses_add_up(case):
    checks.check_uses(case.make("single"))


def test_pilots_stand_ahead_of_every_block():
    seen = []

    def fn(x):
        seen.append(x.numpy())
        return x

    tf.config.run_functions_eagerly(True)
    try:
        channel = TensorFlowChannel(fn, csi="ls", pilots_per_block=2, coherence_symbols=3)
        x = checks.symbols(1, 7, torch.complex64)
        channel(x, torch.tensor([10.0]), [1])
    finally:
        tf.config.run_functions_eagerly(False)
    sent = torch.from_numpy(seen[0])[0]
    assert sent.shape == (13,)
    assert torch.equal(sent[[2, 3, 4, 7, 8, 9, 12]], x[0])
    pilots = sent[[0, 1, 5, 6, 10, 11]]
    assert torch.allclose(pilots.abs(), torch.ones(6))
    assert len(set(pilots.tolist())) > 1


def test_bits_and_gradients_of_an_image_do_not_depend_on_a_large_batch():
    """37 images take three graphs (16, 16 and 5)."""
    channel = _learned("single")
    x, snr_db, seeds = checks.symbols(37, 200, torch.complex64), torch.full((37,), 9.0), list(range(37))

    def run(rows):
        part = x[rows].clone().requires_grad_()
        y = channel(part, snr_db[rows], seeds[rows]).y
        (y.real.square() + y.imag.square()).sum().backward()  # abs() rounds by its place in a vector register
        return y.detach(), part.grad

    whole = run(slice(0, 37))
    for rows in (slice(0, 1), slice(15, 17), slice(30, 37)):
        assert all(torch.equal(a[rows], b) for a, b in zip(whole, run(rows), strict=True))


def mixing(x, h):
    """A function that looks at its batch mates."""
    return h * x - tf.reduce_mean(x, 0)


def test_image_by_image_keeps_batch_mates_apart():
    apart = TensorFlowChannel(mixing, draw=constant_fade, gain=lambda h: h)
    checks.check_batch_split(apart, (3, 5))
    together = TensorFlowChannel(mixing, draw=constant_fade, gain=lambda h: h, per_image=False)
    with pytest.raises(AssertionError, match="batch mates"):
        checks.check_batch_split(together, (3, 5))


def test_function_is_traced_once_for_each_number_of_symbols():
    traces = []

    def fn(x):
        traces.append(x.shape)
        return tf.identity(x)

    channel = TensorFlowChannel(fn, gain=lambda: torch.ones(()))
    for batch, n in ((8, 64), (3, 64), (40, 64), (8, 64), (8, 65)):
        channel(checks.symbols(batch, n, torch.complex64), torch.zeros(batch), list(range(batch)))
    assert traces == [(1, 64), (1, 65)]


def test_new_weights_take_effect_after_tracing():
    layer = rotation("single")
    channel = TensorFlowChannel(layer, symbols="pairs", gain=lambda: torch.ones(()))
    x, snr_db = checks.symbols(1, 64, torch.complex64), torch.tensor([90.0])
    before = channel(x, snr_db, [1]).y
    layer.kernel.assign(-layer.kernel)
    assert torch.allclose(channel(x, snr_db, [1]).y, -before, atol=1e-3)


def test_selected_images_keep_their_state():
    channel = _ls("single")
    x, no = checks.symbols(4, 60, torch.complex64), torch.full((4, 1), 0.1)
    draw, rows = channel.draw(60, [1, 2, 3, 4]), torch.tensor([3, 1])
    y = channel.propagate(x, draw, no)
    assert torch.equal(channel.propagate(x[rows], draw.select(rows), no[rows]), y[rows])


def echoes(x):
    """One path and an echo of a tenth of the power, one symbol late."""
    late = tf.pad(x, [[0, 0], [1, 0]])[:, :-1]
    return tf.cast(0.9**0.5, x.dtype) * x + tf.cast(0.1**0.5, x.dtype) * late


def test_distortion_is_what_comes_beside_the_gain():
    """Echo of mean power 0.1 over N = 8 x 2000 samples: |x|² is exponential, so 4 sigma = 4 x 0.1 / sqrt(N)."""
    channel = TensorFlowChannel(echoes, csi="ls", pilots_per_block=8, precision="double")
    assert abs(channel.measure_distortion(2000) - 0.1) < 4 * 0.1 / (8 * 2000) ** 0.5
    known = TensorFlowChannel(echoes, gain=lambda: torch.tensor(0.9**0.5), precision="double")
    assert abs(known.measure_distortion(2000) - 0.1) < 4 * 0.1 / (8 * 2000) ** 0.5
    assert _ls("double").measure_distortion(200) < 1e-25
    flat = TensorFlowChannel(
        tf.multiply,
        draw=constant_fade,
        csi="ls",
        pilots_per_block=1,
        coherence_symbols=50,
        precision="double",
    )
    assert flat.measure_distortion(130) < 1e-25  # the last block is shorter


def test_receiver_knows_the_error_of_a_channel_with_echoes():
    """With the distortion told, |y - h_hat x|² is what the receiver counts; untold, more than a third is missing
    at 20 dB. Twenty-five independent estimates per image and eight images."""
    told = {"csi": "ls", "pilots_per_block": 4, "coherence_symbols": 12, "precision": "double"}
    distortion = TensorFlowChannel(echoes, **told).measure_distortion(1200)
    checks.check_receiver_knows_its_error(TensorFlowChannel(echoes, distortion=0.1, **told))
    assert 0.08 < distortion < 0.1  # a fit over twelve symbols takes its share
    with pytest.raises(AssertionError):
        checks.check_receiver_knows_its_error(TensorFlowChannel(echoes, **told))


def test_gain_unknown_is_refused_with_its_cure():
    channel = _learned("single")
    with pytest.raises(ValueError, match=r"gain: missing, .*transmitter CSI"):
        channel.gain(channel.draw(10, [1]), torch.ones(1, 1))


@pytest.mark.parametrize(
    ("fn", "arguments", "error", "message"),
    [
        (lambda x: x[:, :-1], {}, ValueError, r"fn: wrong shape, got \[2, 29\] for x \[2, 30\], expected"),
        (
            tf.math.real,
            {},
            TypeError,
            r"fn: wrong type, got float32, expected complex64",
        ),
        (lambda x: (x, x), {}, TypeError, "fn: wrong result, got tuple, expected one tf.Tensor"),
        (lambda x: x, {"gain": lambda: torch.ones(3)}, ValueError, r"gain: wrong shape, got \[3\]"),
        (lambda x: x, {"draw": lambda m, gen: torch.ones(2)}, TypeError, "draw: wrong result, got Tensor"),
        (lambda x: x, {"draw": lambda m, gen: [1.0]}, TypeError, "draw: wrong result"),
        (
            lambda x: x / tf.zeros_like(x),
            {},
            ValueError,
            r"fn: not finite, got \(?nan\+nanj\)? at \[0, 0\], expected",
        ),
        (lambda x: x, {"gain": lambda: torch.tensor(math.inf)}, ValueError, r"gain: not finite, got \(?inf"),
        (
            lambda x, h: x,
            {"draw": lambda m, gen: [torch.tensor([1.0, math.nan])], "gain": lambda h: h[:, :1]},
            ValueError,
            r"draw: not finite, got nan at \[1\]",
        ),
    ],
)
def test_wrong_parts_of_a_channel_are_refused(fn, arguments, error, message):
    channel = TensorFlowChannel(fn, **{"gain": lambda: torch.ones(()), **arguments})
    with pytest.raises(error, match=message):
        channel(checks.symbols(2, 30, torch.complex64), torch.zeros(2), [1, 2])


def test_large_numbers_are_numbers():
    """Each is finite, and their sum is not: refused is what is no number, wherever it stands."""
    x = torch.ones(2, 30, dtype=torch.complex64)
    channel = TensorFlowChannel(lambda x: 1e38 * x, gain=lambda: torch.ones(()))
    draw = channel.draw(30, [1, 2])
    y = channel.propagate(x, draw, torch.ones(2, 1))
    assert bool(torch.isfinite(y).all())
    assert not bool(torch.isfinite(y.real.sum()))
    last = tf.concat([tf.zeros([1, 29], tf.complex64), tf.fill([1, 1], tf.complex(0.0, math.nan))], 1)
    with pytest.raises(ValueError, match=r"not finite, got .* at \[0, 29\]"):
        TensorFlowChannel(lambda x: x + last, gain=lambda: torch.ones(())).propagate(
            x, draw, torch.ones(2, 1)
        )


def test_gradients_through_a_channel_warn_of_nothing(caplog):
    """Symbols and noise are complex; TensorFlow warns where a gradient discards an imaginary part."""
    channel = TensorFlowChannel(lambda x, h: h * x, draw=constant_fade, gain=lambda h: h)
    x = checks.symbols(2, 30, torch.complex64).requires_grad_()
    channel(x, torch.zeros(2), [1, 2]).y.abs().sum().backward()
    assert x.grad.abs().max() > 0
    assert "imaginary" not in caplog.text


def test_keras_layer_of_another_precision_is_refused_with_its_cure():
    channel = TensorFlowChannel(
        rotation("single"), symbols="pairs", gain=lambda: torch.ones(()), precision="double"
    )
    with pytest.raises(TypeError, match=r"got float32, expected float64. Keras layers compute"):
        channel(checks.symbols(1, 30, torch.complex128), torch.zeros(1), [1])


def test_transmitter_learns_through_a_channel_that_bends():
    """Ten steps of gradient descent on the symbols lower the error behind a saturating function."""
    channel = TensorFlowChannel(
        lambda x: x / tf.cast(tf.sqrt(1 + 0.3 * tf.abs(x) ** 2), x.dtype), gain=lambda: torch.ones(())
    )
    target = checks.symbols(2, 100, torch.complex64)
    sent = target.clone().requires_grad_()
    errors = []
    for _ in range(10):
        y = channel(SymbolLayout.normalize(sent), torch.full((2,), 40.0), [1, 2]).y
        error = (y - 0.8 * target).abs().square().mean()
        (gradient,) = torch.autograd.grad(error, sent)
        sent = (sent - 20 * gradient).detach().requires_grad_()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.7 * errors[0]


# ---------------------------------------------------------------- a GPU


@pytest.mark.gpu
def test_gpu_tensors_stay_there_and_agree_with_the_cpu():
    assert tf.config.list_physical_devices("GPU"), "TensorFlow sees no GPU"
    seen = []

    def fn(a, b):
        seen.append((a.device, pointer(a)))
        return a * tf.cast(tf.abs(b), a.dtype)

    a, b = normal(64, 4096), normal(64, 4096, seed=2)
    results = []
    for device in ("cpu", "cuda"):
        inputs = [t.to(device).requires_grad_() for t in (a, b)]
        y = tensorflow_call(fn, *inputs)
        results.append([y, *torch.autograd.grad(y.abs().sum(), inputs)])
        assert {t.device.type for t in results[-1]} == {device}
        assert seen[-1][1] == inputs[0].data_ptr()
    assert "CPU" in seen[0][0]
    assert "GPU" in seen[1][0]
    for here, there in zip(*results, strict=True):
        assert torch.allclose(here, there.cpu(), rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
def test_gpu_frameworks_wait_for_each_other():
    """A long queue on either side first: results are those of finished inputs, a hundred times over."""
    for i in range(100):
        x = torch.full((2048, 2048), float(i), device="cuda")
        for _ in range(5):
            x = (x @ torch.eye(2048, device="cuda")).requires_grad_()
        y = tensorflow_call(lambda t: tf.linalg.matmul(t, tf.eye(2048)) + 1, x)
        assert torch.equal(y.detach(), torch.full_like(y, i + 1.0))


@pytest.mark.gpu
def test_gpu_channel_gives_the_values_of_the_cpu():
    x, snr_db = checks.symbols(4, 300, torch.complex64), torch.full((4,), 10.0)
    here, there = (
        TensorFlowChannel(tf.multiply, draw=constant_fade, gain=lambda h: h, device=device)
        for device in ("cpu", "cuda")
    )
    assert torch.allclose(here(x, snr_db, [1, 2, 3, 4]).y, there(x, snr_db, [1, 2, 3, 4]).y.cpu(), atol=1e-5)


def test_missing_gpu_is_named(monkeypatch):
    """TensorFlow from the package index has no GPU support without [and-cuda]."""

    class Gpu:
        device = torch.device("cuda", 0)

    monkeypatch.setattr(tf_call, "_sees_gpu", lambda: False)
    with pytest.raises(RuntimeError, match=r"device: no GPU, got cuda:0, .*tensorflow\[and-cuda\]"):
        tf_call.exported(Gpu())
