"""The fused ConvLSTM cell against hand-computed values, extended precision and finite differences."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_lesionseg.models import reference_ops
from hf_lesionseg.ops import backend, convlstm_cell

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
#: (gate activation, forget gate, with a cell state)
VARIANTS = [
    (activation, forget_gate, with_state)
    for activation in reference_ops.GATE_ACTIVATIONS
    for forget_gate, with_state in ((True, True), (True, False), (False, False))
]


@pytest.fixture(autouse=True)
def compiled():
    """Nothing here may compare the reference with itself."""
    assert backend()["convlstm_cell"]["cpu"] == "compiled"


def random_cell(filters, *, batch=2, height=7, width=5, dtype=torch.float32, forget_gate=True, with_state=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    channels = (4 if forget_gate else 3) * filters
    gates = 3 * torch.randn(batch, channels, height, width, generator=generator, dtype=torch.float64)
    state = torch.randn(batch, filters, height, width, generator=generator, dtype=torch.float64)
    return gates.to(dtype), state.to(dtype) if with_state else None


def test_hand_computed_values():
    # One filter, four pixels. tanh(0.5493061443) = 0.5; hard sigmoid: 0 -> 0.5, 1 -> 0.7, 2.5 -> 1, -2.5 -> 0.
    candidate = 0.5493061443340549
    gates = torch.tensor(
        [
            [0.0, 2.5, -2.5, 1.0],  # input
            [2.5, 0.0, 1.0, -9.0],  # forget
            [candidate] * 4,
            [1.0, 1.0, 9.0, 0.0],  # output
        ],
        dtype=torch.float64,
    ).reshape(1, 4, 2, 2)
    state = torch.full((1, 1, 2, 2), 2.0, dtype=torch.float64)
    hidden, cell = convlstm_cell(gates, state)
    # 1 * 2 + 0.5 * 0.5; 0.5 * 2 + 1 * 0.5; 0.7 * 2 + 0; 0 + 0.7 * 0.5
    torch.testing.assert_close(cell.flatten().tolist(), [2.25, 1.5, 1.4, 0.35], rtol=0, atol=1e-15)
    # 0.7 tanh(2.25), 0.7 tanh(1.5), 1 tanh(1.4), 0.5 tanh(0.35)
    expected = [0.684618280317170, 0.633603777551407, 0.885351648202263, 0.168187772168166]
    torch.testing.assert_close(hidden.flatten().tolist(), expected, rtol=0, atol=1e-12)


def test_hand_computed_sigmoid():
    # One pixel: sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4, sigmoid(0) = 1/2, tanh(ln 3 / 2) = 1/2.
    ln3 = 1.0986122886681098
    gates = torch.tensor([ln3, -ln3, ln3 / 2, 0.0], dtype=torch.float64).reshape(1, 4, 1, 1)
    hidden, cell = convlstm_cell(gates, torch.ones(1, 1, 1, 1, dtype=torch.float64), gate_activation="sigmoid")
    assert cell.item() == pytest.approx(1 / 4 + 3 / 8, abs=1e-15)
    assert hidden.item() == pytest.approx(0.5 * 0.554599722349, abs=1e-12)


def test_hand_computed_without_a_forget_gate():
    candidate = 0.5493061443340549
    gates = torch.tensor([1.0, candidate, 0.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    hidden, cell = convlstm_cell(gates, forget_gate=False)
    assert cell.item() == pytest.approx(0.35, abs=1e-15)
    assert hidden.item() == pytest.approx(0.168187772168166, abs=1e-12)


def test_gates_of_several_filters_lie_in_blocks():
    # The input gates of both filters, then their forget gates, and so on: channel = gate * filters + filter.
    gates = torch.tensor([9.0, -9.0, -9.0, 9.0, 20.0, 20.0, 9.0, 9.0]).reshape(1, 8, 1, 1)
    _, cell = convlstm_cell(gates, torch.full((1, 2, 1, 1), 5.0))
    assert cell.flatten().tolist() == [1.0, 5.0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "forget_gate", "with_state"), VARIANTS)
def test_values_are_as_exact_as_pytorch(
    dtype, activation, forget_gate, with_state, extended_precision, assert_as_exact
):
    gates, state = random_cell(6, dtype=dtype, height=29, width=31, forget_gate=forget_gate, with_state=with_state)
    options = {"gate_activation": activation, "forget_gate": forget_gate}
    results = convlstm_cell(gates, state, **options)
    reference = reference_ops.convlstm_cell(gates, state, **options)
    truths = extended_precision(gates, state, **options).results()
    for result, plain, truth in zip(results, reference, truths, strict=True):
        assert result.dtype == dtype
        assert_as_exact(result, plain, truth)


def gradients(cell, gates, state, options, weights):
    arguments = [t.detach().clone().requires_grad_() for t in (gates, state) if t is not None]
    hidden, new_cell = cell(*arguments, **options)
    loss = (hidden * weights[0].to(hidden.dtype)).sum() + (new_cell * weights[1].to(hidden.dtype)).sum()
    return torch.autograd.grad(loss, arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "forget_gate", "with_state"), VARIANTS)
def test_gradients_are_as_exact_as_autograd(
    dtype, activation, forget_gate, with_state, extended_precision, assert_as_exact
):
    gates, state = random_cell(6, dtype=dtype, height=29, width=31, forget_gate=forget_gate, with_state=with_state)
    options = {"gate_activation": activation, "forget_gate": forget_gate}
    # Weights that every dtype holds exactly: all three computations then differentiate the same loss.
    weights = torch.randint(-8, 9, (2, 2, 6, 29, 31), generator=torch.Generator().manual_seed(1)) / 4
    truth = extended_precision(gates, state, **options).gradients(*weights)
    ours = gradients(convlstm_cell, gates, state, options, weights)
    plain = gradients(reference_ops.convlstm_cell, gates, state, options, weights)
    for kernel, reference, true in zip(ours, plain, truth[: len(ours)], strict=True):
        assert kernel.dtype == dtype
        assert_as_exact(kernel, reference, true)


@pytest.mark.parametrize(("activation", "forget_gate", "with_state"), VARIANTS)
def test_gradients_equal_finite_differences(activation, forget_gate, with_state):
    gates, state = random_cell(2, dtype=torch.float64, height=2, width=3, forget_gate=forget_gate)
    # Finite differences mean nothing across the corners of the hard sigmoid, at -2.5 and 2.5.
    gates[(gates.abs() - 2.5).abs() < 1e-3] += 0.01

    def cell(gates, state=None):
        return convlstm_cell(gates, state, gate_activation=activation, forget_gate=forget_gate)

    arguments = [t.requires_grad_() for t in ((gates, state) if with_state else (gates,))]
    assert torch.autograd.gradcheck(cell, arguments)
    assert torch.autograd.gradgradcheck(cell, arguments)


@pytest.mark.parametrize("used", [0, 1])
def test_gradients_of_one_output_alone(used):
    gates, state = random_cell(3, dtype=torch.float64)
    arguments = (gates.requires_grad_(), state.requires_grad_())
    ours = torch.autograd.grad(convlstm_cell(*arguments)[used].sum(), arguments)
    plain = torch.autograd.grad(reference_ops.convlstm_cell(*arguments)[used].sum(), arguments)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-14)


def test_backward_twice_gives_the_same():
    gates, state = random_cell(3)
    gates.requires_grad_()
    hidden, _ = convlstm_cell(gates, state)
    first = torch.autograd.grad(hidden.sum(), gates, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(hidden.sum(), gates)[0])


def test_gradient_of_a_state_that_was_computed_from_the_gates():
    # Second derivatives must not count the way from gates to state twice.
    gates, _ = random_cell(2, dtype=torch.float64, height=2, width=2)

    def chained(cell):
        def run(gates):
            _, state = cell(gates, gate_activation="sigmoid")
            return cell(gates, state, gate_activation="sigmoid")

        gates_ = gates.clone().requires_grad_()
        (first,) = torch.autograd.grad(sum(out.pow(2).sum() for out in run(gates_)), gates_, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), gates_)[0]

    torch.testing.assert_close(chained(convlstm_cell), chained(reference_ops.convlstm_cell), rtol=1e-11, atol=1e-12)


def _layouts():
    def expanded(tensor):
        return tensor[:1].expand_as(tensor)

    return {
        "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
        "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
        "strided": lambda t: t.repeat_interleave(2, dim=3)[..., ::2],
        "expanded": expanded,
        "offset": lambda t: torch.cat([t.flatten()[:1], t.flatten()])[1:].view_as(t),
    }


@pytest.mark.parametrize("layout", _layouts())
@pytest.mark.parametrize("filters", [1, 3, 16])
def test_memory_layouts_give_the_same_bytes(layout, filters):
    gates, state = (_layouts()[layout](t) for t in random_cell(filters, height=6, width=9))
    expected = convlstm_cell(gates.contiguous().clone(), state.contiguous().clone())
    results = convlstm_cell(gates, state)
    for result, plain in zip(results, expected, strict=True):
        assert torch.equal(result, plain)
    if layout == "channels_last" and filters > 1:
        assert all(result.is_contiguous(memory_format=torch.channels_last) for result in results)
    weight = torch.randn(results[0].shape, generator=torch.Generator().manual_seed(2))
    grads = []
    for arguments in ((gates, state), (gates.contiguous(), state.contiguous())):
        arguments = [t.detach().requires_grad_() for t in arguments]
        grads.append(torch.autograd.grad((convlstm_cell(*arguments)[0] * weight).sum(), arguments))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("shape", [(0, 8, 3, 3), (2, 0, 3, 3), (2, 8, 0, 3), (2, 8, 3, 0)])
@pytest.mark.parametrize("with_state", [True, False])
def test_nothing_in_nothing_out(shape, with_state):
    gates = torch.zeros(shape, requires_grad=True)
    cell_shape = (shape[0], shape[1] // 4, *shape[2:])
    state = torch.zeros(cell_shape, requires_grad=True) if with_state else None
    hidden, cell = convlstm_cell(gates, state)
    assert hidden.shape == cell.shape == cell_shape
    (hidden.sum() + cell.sum()).backward()
    assert gates.grad.shape == shape


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch=st.integers(0, 3),
    filters=st.sampled_from([1, 2, 3, 8, 15, 16, 17, 33]),
    height=st.integers(0, 9),
    width=st.sampled_from([1, 2, 5, 16, 31, 70, 2300]),
    layout=st.sampled_from(["contiguous", *_layouts()]),
    dtype=st.sampled_from(DTYPES),
    variant=st.sampled_from(VARIANTS),
    seed=st.integers(0, 2**16),
)
def test_random_shapes(extended_precision, batch, filters, height, width, layout, dtype, variant, seed):
    activation, forget_gate, with_state = variant
    options = {"gate_activation": activation, "forget_gate": forget_gate}
    gates, state = random_cell(
        filters,
        batch=batch,
        height=height,
        width=width if filters < 4 else min(width, 70),
        dtype=dtype,
        forget_gate=forget_gate,
        with_state=with_state,
        seed=seed,
    )
    # Inside its corners: there the slope of the hard sigmoid jumps, and a rounding decides the gradient.
    gates[(gates.abs() - 2.5).abs() < 1e-2] = 2.0
    if layout != "contiguous":
        gates, state = (None if t is None else _layouts()[layout](t) for t in (gates, state))
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(-8, 9, (2, batch, filters, *gates.shape[2:]), generator=generator) / 4
    exact = extended_precision(gates, state, **options)
    truths = [*exact.results(), *exact.gradients(*weights)]
    computed = []
    for cell in (convlstm_cell, reference_ops.convlstm_cell):
        arguments = [t.detach().requires_grad_() for t in (gates, state) if t is not None]
        outputs = cell(*arguments, **options)
        computed.append([*outputs, *torch.autograd.grad(outputs, arguments, [w.to(dtype) for w in weights])])
    for ours, plain, truth in zip(*computed, truths[: len(computed[0])], strict=True):
        errors = [abs(t.detach().double().numpy() - truth).max(initial=0) for t in (ours, plain)]
        # In a handful of elements plain PyTorch may happen to be exact: three roundings are nobody's fault.
        roundings = 3 * torch.finfo(dtype).eps * abs(truth).max(initial=0) / 2
        assert errors[0] <= 2 * max(errors[1], roundings)


@pytest.mark.parametrize("activation", reference_ops.GATE_ACTIVATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_spread_as_in_pytorch(activation, dtype):
    special = [
        0.0,
        -0.0,
        1e-30,
        -1e-6,
        88.0,
        -104.0,
        709.5,
        -745.0,
        1e4,
        -1e4,
        float("inf"),
        float("-inf"),
        float("nan"),
    ]
    rows = torch.tensor(list(itertools.product(special, repeat=2)), dtype=dtype)
    gates = torch.zeros(1, 4, len(rows), 5, dtype=dtype)
    for place in range(4):
        gates[0, place, :, place] = rows[:, 0]
    gates[0, :, :, 4] = rows[:, 0]
    state = rows[:, 1].reshape(1, 1, -1, 1).expand(1, 1, len(rows), 5)
    ours = convlstm_cell(gates, state, gate_activation=activation)
    # Plain PyTorch in float32 or more: inside the kernel too, nothing is rounded to 16 bits before the end.
    wide = torch.promote_types(dtype, torch.float32)
    plain = reference_ops.convlstm_cell(gates.to(wide), state.to(wide), gate_activation=activation)
    for result, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(
            result, expected.to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-7, equal_nan=True
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 16, 56, 44), (3, 5, 33, 31), (1, 1, 1, 40001)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_one_and_two_threads_give_equal_bytes(dtype, shape, memory_format):
    batch, filters, height, width = shape
    gates, state = random_cell(filters, batch=batch, height=height, width=width, dtype=dtype)
    gates = gates.contiguous(memory_format=memory_format)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            arguments = [gates.clone().requires_grad_(), state.clone().requires_grad_()]
            outputs = convlstm_cell(*arguments)
            grads = torch.autograd.grad([o.float().square().sum() for o in outputs], arguments)
            results.append([*outputs, *grads])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((torch.zeros(1, 8, 2, 2),), {"gate_activation": "relu"}, ValueError, "'relu'; use one of hard_sigmoid"),
        ((torch.zeros(1, 6, 2, 2),), {}, ValueError, r"shape \(1, 6, 2, 2\); with forget_gate=True"),
        ((torch.zeros(1, 8, 2, 2),), {"forget_gate": False}, ValueError, r"3 \* filters"),
        ((torch.zeros(8, 2, 2),), {}, ValueError, r"must be \(batch, 4 \* filters, height, width\)"),
        ((torch.zeros(1, 8, 2, 2, dtype=torch.int64),), {}, TypeError, "int64; give float32"),
        ((torch.zeros(1, 8, 2, 2, dtype=torch.complex64),), {}, TypeError, "complex64; give float32"),
        ((torch.zeros(1, 8, 2, 2), torch.zeros(1, 2, 2, 3)), {}, ValueError, r"need \(1, 2, 2, 2\)"),
        ((torch.zeros(2, 8, 2, 2), torch.zeros(1, 2, 2, 2)), {}, ValueError, r"need \(2, 2, 2, 2\)"),
        ((torch.zeros(1, 8, 2, 2), torch.zeros(1, 2, 2, 2).double()), {}, TypeError, "convert one of them"),
        ((torch.zeros(1, 8, 2, 2), torch.zeros(1, 2, 2, 2, device="meta")), {}, ValueError, "move one of them"),
        ((torch.zeros(1, 6, 2, 2), torch.zeros(1, 2, 2, 2)), {"forget_gate": False}, ValueError, "cell_state=None"),
    ],
)
@pytest.mark.parametrize("cell", [convlstm_cell, reference_ops.convlstm_cell], ids=["compiled", "reference"])
def test_wrong_arguments(cell, arguments, options, error, message):
    with pytest.raises(error, match=message):
        cell(*arguments, **options)


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(1, 7, 2, 2), None, True, True),
        (torch.zeros(8, 2, 2), None, True, True),
        (torch.zeros(1, 8, 2, 2), torch.zeros(1, 2, 2, 1), True, True),
        (torch.zeros(1, 8, 2, 2), torch.zeros(1, 2, 2, 2).double(), True, True),
        (torch.zeros(1, 6, 2, 2), torch.zeros(1, 2, 2, 2), True, False),
        (torch.zeros(1, 8, 2, 2, dtype=torch.int32), None, True, True),
    ],
)
def test_the_op_itself_refuses_what_it_would_read_out_of_bounds(arguments):
    with pytest.raises(RuntimeError, match="convlstm_cell: "):
        torch.ops.hf_lesionseg.convlstm_cell(*arguments)
