"""The writer of LLVM IR: what it writes is what native code then does."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convmill.kernels import ir
from convmill.kernels.lang import F32, F64, I8, I32, I64, POINTER, Emitter
from convmill.runtime import host, machine_code


def run(write, *told: np.ndarray, count: int = 1) -> np.ndarray:
    """What ``write(emitter, *addresses)`` leaves in ``count`` integers."""
    module = ir.Module()
    e = Emitter(module, "run", [POINTER] * (len(told) + 1), 8, exported=True)
    write(e, *e.arguments)
    e.finish()
    engine = machine_code.linked(machine_code.object_code([module.text()], host.machine()))
    left = np.full(count, -1, np.int64)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(told) + 1))
    address = engine.get_function_address("run")
    function(address)(left.ctypes.data, *(one.ctypes.data for one in told))
    return left


@pytest.mark.parametrize(("kind", "dtype"), [(F32, np.float32), (F64, np.float64)])
@given(data=st.data())
def test_constants_keep_every_bit(kind, dtype, data):
    bits = np.dtype(dtype).itemsize * 8
    numbers = data.draw(arrays.arrays(dtype, st.integers(1, 9), elements=st.floats(width=bits)))
    wanted = np.concatenate([numbers, np.array([-0.0, np.inf, -np.inf], dtype)])

    def write(e, left):
        table = e.table([float(one) for one in wanted], kind)
        for place in range(len(wanted)):
            e.store_scalar(e.load_scalar(table, place, kind), left, place, kind)

    left = run(write, count=len(wanted)).view(dtype)[: len(wanted)]
    real = ~np.isnan(wanted)
    np.testing.assert_array_equal(
        left[real].view(f"i{bits // 8}"), wanted[real].view(f"i{bits // 8}")
    )
    np.testing.assert_array_equal(np.isnan(left), ~real)


@pytest.mark.parametrize(("number", "wanted"), [(0, 10), (1, 11), (2, 99), (-1, 99)])
def test_a_switch_goes_to_its_case(number, wanted):
    def write(e, left):
        b = e.builder
        blocks = [b.append_basic_block(name) for name in ("zero", "one", "other", "done")]
        choice = b.switch(e.index(number), blocks[2])
        for case in (0, 1):
            choice.add_case(ir.Constant(I64, case), blocks[case])
        found = []
        for block, value in zip(blocks[:3], (10, 11, 99), strict=True):
            b.position_at_end(block)
            found.append((e.index(value), block))
            b.branch(blocks[3])
        b.position_at_end(blocks[3])
        result = b.phi(I64)
        for one in found:
            result.add_incoming(*one)
        e.store_scalar(result, left, 0, I64)

    assert run(write)[0] == wanted


@pytest.mark.parametrize("number", [-3, 0, 4])
def test_one_of_two_branches_is_taken(number):
    def write(e, left):
        kept = e.variable(e.index(7))
        with e.builder.if_else(e.less(number, 0)) as (then, otherwise):
            with then:
                e.set(kept, e.index(1))
            with otherwise, e.when(e.less(0, number)):
                e.set(kept, e.index(2))
        e.store_scalar(e.get(kept), left, 0, I64)

    assert run(write)[0] == (1 if number < 0 else 2 if number > 0 else 7)


@pytest.mark.parametrize("order", ["==", "!=", "<", "<=", ">", ">=", "ord", "uno"])
def test_floats_are_ordered_as_they_are(order):
    """All pairs of a few numbers, no number among them; ordered in bit 0, unordered in bit 1."""
    numbers = np.array([-np.inf, -1.0, 0.0, 1.0, np.inf, np.nan], np.float32)
    size = len(numbers)

    def write(e, left, told):
        with e.loop(0, size) as i, e.loop(0, size) as j:
            a, b = e.load_scalar(told, i), e.load_scalar(told, j)
            both = [
                e.builder.zext(compare(order, a, b), I64)
                for compare in (e.builder.fcmp_ordered, e.builder.fcmp_unordered)
            ]
            found = e.add(both[0], e.mul(both[1], 2))
            e.store_scalar(e.index(found), left, e.add(e.mul(i, size), j), I64)

    a, b = numbers[:, None], numbers[None]
    none = np.isnan(a) | np.isnan(b)
    plain = {
        "==": a == b, "!=": (a != b) & ~none, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b,
    }  # fmt: skip
    if order in plain:
        wanted = plain[order] + 2 * (plain[order] | none)
    else:
        wanted = 3 * (none if order == "uno" else ~none)
    np.testing.assert_array_equal(run(write, numbers, count=size**2).reshape(size, size), wanted)


def test_what_is_computed_again_is_known_where_it_was_computed():
    """In the block and within it; not beside it, nor behind it, nor where blocks are put by hand.
    """
    e = Emitter(ir.Module(), "run", [POINTER, I64], 8)
    number = e.arguments[1]

    def twice():
        return e.mul(number, 2)

    outside = twice()
    with e.builder.if_else(e.less(number, 3)) as (then, otherwise):
        with then:
            assert twice() is outside
            inside = e.mul(number, 5)
        with otherwise:
            assert e.mul(number, 5) is not inside
    with e.loop(0, number) as index:
        assert twice() is outside
        assert e.add(index, 1) is e.add(index, 1)
        within = e.mul(number, 7)
    assert e.mul(number, 7) is not within
    assert twice() is outside
    assert e.sub(number, 2) is not e.add(number, 2)
    following = e.builder.append_basic_block("following")
    e.builder.branch(following)
    e.builder.position_at_end(following)
    assert twice() is not outside


def test_memory_is_read_again():
    def write(e, left, told):
        before = e.load_scalar(told, 0, I64)
        e.store_scalar(e.index(5), told, 0, I64)
        e.store_scalar(e.builder.add(before, e.load_scalar(told, 0, I64)), left, 0, I64)

    assert run(write, np.array([3], np.int64))[0] == 8


@pytest.mark.parametrize("count", range(1, 9))
def test_vectors_of_bytes_keep_to_their_lanes(count):
    """Narrowed, stored, loaded and widened again, beside bytes that are not theirs."""

    def write(e, left, told):
        b = e.builder
        narrow = b.trunc(e.load(told, 0, None, I32), e.bytes)
        e.store(narrow, left, 0, count, I8)
        wide = b.zext(e.load(left, 0, count, I8), e.integers)
        e.store(wide, left, 4, None, I32)

    numbers = np.arange(1, 9, dtype=np.int32)
    left = run(write, numbers, count=8).view(np.uint8)
    np.testing.assert_array_equal(left[:16], [*range(1, count + 1), *[255] * (16 - count)])
    kept = np.where(np.arange(8) < count, numbers, 0)
    np.testing.assert_array_equal(left[16:48].view(np.int32), kept)


def test_what_does_not_fit_is_found_at_once():
    """Not in LLVM, far from whoever wrote it."""
    module = ir.Module()
    e = Emitter(module, "run", [POINTER], 8)
    with pytest.raises(AssertionError):
        e.builder.add(e.index(1), ir.Constant(F32, 1.0))
    with pytest.raises(AssertionError):
        e.call(e.declare("llvm.fabs.f32", F32, [F32]), 1)
    with pytest.raises(AssertionError):
        Emitter(module, "run", [], 8)
    e.finish()
    with pytest.raises(AssertionError):
        e.index(e.load_scalar(e.arguments[0], 0))


@pytest.mark.parametrize(("number", "by"), [(7, 2), (8, 2), (0, 3), (2, 5)])
def test_constants_are_divided_like_other_numbers(number, by):
    """Beside one whose number is only known when the code runs: it lies in memory."""

    def write(e, left):
        e.store_scalar(e.index(number), left, 0, I64)
        e.store_scalar(e.divide(e.load_scalar(left, 0, I64), by), left, 1, I64)
        e.store_scalar(e.index(e.divide(number, by)), left, 2, I64)

    assert list(run(write, count=3)[1:]) == [number // by] * 2


@pytest.mark.parametrize(("number", "by"), [(-1, 2), (1, -2), (1, 0)])
def test_constants_are_not_divided_where_roundings_part(number, by):
    def write(e, left):
        e.divide(number, by)

    with pytest.raises(AssertionError, match="negative"):
        run(write)
