"""Triton kernels of one step at batch 1: products of a matrix with a few vectors, attention to a cache, and the draw.

A product of a matrix with a vector is bound by memory, so that what counts is how few instructions a weight takes and
how many bytes are under way. Tiles of weights come through shared memory, several under way; the tensor cores multiply
them, with up to eight vectors as the columns that an instruction has anyway; weights of 8 bits are widened in registers
to the 16 bits of the vectors, exactly. LayerNorm needs no kernel: the products take the stream times the norm's gain,
and what its mean and deviation do to the result is laid on at the end. Every sum has a fixed order, so that a reply can
be repeated.
"""

# no `from __future__ import annotations`: Triton reads the annotations of kernels

import triton
import triton.language as tl


@triton.jit
def _widen(w, TO: tl.constexpr, HAS_PTX: tl.constexpr):
    """Weights as the type of the vectors, without rounding. Of int8 four at once: 1024 + 128 + w is bits put together.

    The compiler's own conversion takes an instruction of a quarter of the rate for each weight.
    """
    if HAS_PTX and w.dtype == tl.int8:
        w = tl.inline_asm_elementwise(
            """{
            .reg .b32 shifted, base;
            xor.b32 shifted, $2, 0x80808080;
            mov.b32 base, 0x64806480;
            prmt.b32 $0, shifted, 0x64646464, 0x4140;
            prmt.b32 $1, shifted, 0x64646464, 0x4342;
            sub.rn.f16x2 $0, $0, base;
            sub.rn.f16x2 $1, $1, base;
            }""",
            "=r,=r,r",
            [w],
            dtype=tl.float16,
            is_pure=True,
            pack=4,
        )
    return w.to(TO)


@triton.jit
def _add_tile(
    acc,
    h_ptr,
    w_ptr,
    rows,
    is_row,
    start,
    K,
    B: tl.constexpr,
    BK: tl.constexpr,
    HAS_PTX: tl.constexpr,
):
    """acc (S, R, N) += rows of W (out, K) times h (B, K), over S * BK columns from `start`: BK for each of S warps."""
    S: tl.constexpr = acc.shape[0]
    N: tl.constexpr = acc.shape[2]
    n = tl.arange(0, N)
    k = start + tl.arange(0, S)[:, None] * BK + tl.arange(0, BK)[None, :]  # (S, BK)
    w = tl.load(
        w_ptr + rows[None, :, None] * K + k[:, None, :],
        mask=is_row[None, :, None] & (k < K)[:, None, :],
        other=0.0,
        eviction_policy="evict_first",  # read once a token: what is read often stays in the cache
    )
    h = tl.load(
        h_ptr + n[None, None, :] * K + k[:, :, None], mask=(n < B)[None, None, :] & (k < K)[:, :, None], other=0.0
    )
    return tl.dot(_widen(w, h.dtype, HAS_PTX), h, acc, input_precision="ieee")


@triton.jit
def embed(
    ids_ptr,
    table_ptr,
    gain_ptr,
    x_ptr,
    h_ptr,
    part_ptr,
    C: tl.constexpr,
    R: tl.constexpr,
):
    """x (B, C) = the embeddings of ids (B,), and what the norm in front of the first block needs; R columns each."""
    at, b = tl.program_id(0), tl.program_id(1)
    c = at * R + tl.arange(0, R)
    is_in = c < C
    x = tl.load(table_ptr + tl.load(ids_ptr + b) * C + c, mask=is_in, other=0.0).to(tl.float32)
    gain = tl.load(gain_ptr + c, mask=is_in, other=0.0).to(tl.float32)
    tl.store(x_ptr + b * C + c, x, mask=is_in)
    tl.store(h_ptr + b * C + c, _fit(x * gain, h_ptr), mask=is_in)
    where = part_ptr + (b * tl.num_programs(0) + at) * 2
    tl.store(where, tl.sum(x, 0))
    tl.store(where + 1, tl.sum(x * x, 0))


@triton.jit
def _fit(y, ptr):
    """y as the pointer's type; what is beyond fp16 stays finite."""
    if ptr.dtype.element_ty == tl.float16:
        y = tl.minimum(tl.maximum(y, -65504.0), 65504.0)
    return y.to(ptr.dtype.element_ty)


@triton.jit
def product(
    h_ptr,
    part_ptr,
    w_ptr,
    scale_ptr,
    of_gain_ptr,
    of_shift_ptr,
    out_ptr,
    n_out,
    eps,
    C: tl.constexpr,
    P: tl.constexpr,
    P_POW2: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
    BK: tl.constexpr,
    STAGES: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_GELU: tl.constexpr,
    HAS_PTX: tl.constexpr,
):
    """out (B, n_out) = activation(LayerNorm(x) W'); each program takes R rows of W (n_out, C).

    h (B, C) is x times the norm's gain, part (B, P, 2) the sums of x and of its squares over P parts, of_gain and
    of_shift (n_out,) are W times the norm's gain and shift:

        LayerNorm(x) W' = (h W' - mean of_gain) / deviation + of_shift
    """
    rows = tl.program_id(0) * R + tl.arange(0, R)
    is_row = rows < n_out
    n = tl.arange(0, N)
    acc = tl.zeros((S, R, N), tl.float32)
    for start in tl.range(0, C, S * BK, num_stages=STAGES):
        acc = _add_tile(acc, h_ptr, w_ptr, rows, is_row, start, C, B, BK, HAS_PTX)
    y = tl.sum(acc, 0)
    if HAS_SCALE:
        y = y * tl.load(scale_ptr + rows, mask=is_row, other=0.0)[:, None]
    p = tl.arange(0, P_POW2)
    mean = tl.zeros((N,), tl.float32)
    over_deviation = tl.zeros((N,), tl.float32)
    for b in tl.static_range(B):
        total = tl.sum(tl.load(part_ptr + (b * P + p) * 2, mask=p < P, other=0.0), 0) / C
        squares = tl.sum(tl.load(part_ptr + (b * P + p) * 2 + 1, mask=p < P, other=0.0), 0) / C
        mean = tl.where(n == b, total, mean)
        over_deviation = tl.where(n == b, 1 / tl.sqrt(tl.maximum(squares - total * total, 0.0) + eps), over_deviation)
    of_gain = tl.load(of_gain_ptr + rows, mask=is_row, other=0.0)
    of_shift = tl.load(of_shift_ptr + rows, mask=is_row, other=0.0)
    y = (y - of_gain[:, None] * mean[None, :]) * over_deviation[None, :] + of_shift[:, None]
    if HAS_GELU:
        y = 0.5 * y * (1 + tl.erf(y * 0.7071067811865476))
    tl.store(out_ptr + n[None, :] * n_out + rows[:, None], _fit(y, out_ptr), mask=(n < B)[None, :] & is_row[:, None])


@triton.jit
def add_products(
    x_ptr,
    a_ptr,
    w_ptr,
    scale_ptr,
    g_ptr,
    v_ptr,
    v_scale_ptr,
    gain_ptr,
    h_ptr,
    part_ptr,
    C: tl.constexpr,
    K: tl.constexpr,
    L: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
    BK: tl.constexpr,
    STAGES: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_PTX: tl.constexpr,
):
    """x (B, C) += a (B, K) W' + g (B, L) V'; each program takes R rows of W (C, K) and V (C, L).

    Leaves h = x times the gain of the norm that follows, and the sums over R columns that this norm needs.
    """
    rows = tl.program_id(0) * R + tl.arange(0, R)
    is_row = rows < C
    n = tl.arange(0, N)
    T_V: tl.constexpr = (L + S * BK - 1) // (S * BK)
    T: tl.constexpr = T_V + (K + S * BK - 1) // (S * BK)
    acc = tl.zeros((S, R, N), tl.float32)
    for t in tl.range(0, T, num_stages=STAGES):  # one loop over both matrices: weights never stop coming
        is_v = t < T_V
        start = tl.where(is_v, t, t - T_V) * (S * BK)
        h = tl.where(is_v, g_ptr, a_ptr)
        w = tl.where(is_v, v_ptr, w_ptr)
        acc = _add_tile(acc, h, w, rows, is_row, start, tl.where(is_v, L, K), B, BK, HAS_PTX)
        if HAS_SCALE:  # noqa: SIM102  # settled when it is compiled
            if t == T_V - 1:
                acc = acc * tl.load(v_scale_ptr + rows, mask=is_row, other=0.0)[None, :, None]
                acc = acc / tl.load(scale_ptr + rows, mask=is_row, other=1.0)[None, :, None]
    y = tl.sum(acc, 0)
    if HAS_SCALE:
        y = y * tl.load(scale_ptr + rows, mask=is_row, other=0.0)[:, None]
    is_mine = (n < B)[None, :] & is_row[:, None]
    at = n[None, :] * C + rows[:, None]
    x = tl.load(x_ptr + at, mask=is_mine, other=0.0) + y
    x = tl.where(is_mine, x, 0.0)
    gain = tl.load(gain_ptr + rows, mask=is_row, other=0.0).to(tl.float32)
    tl.store(x_ptr + at, x, mask=is_mine)
    tl.store(h_ptr + at, _fit(x * gain[:, None], h_ptr), mask=is_mine)
    where = part_ptr + (n * tl.num_programs(0) + tl.program_id(0)) * 2
    tl.store(where, tl.sum(x, 0), mask=n < B)
    tl.store(where + 1, tl.sum(x * x, 0), mask=n < B)


@triton.jit
def attend(
    qkv_ptr,
    cos_ptr,
    sin_ptr,
    k_ptr,
    v_ptr,
    position_ptr,
    seen_ptr,
    stat_ptr,
    count_ptr,
    a_ptr,
    row_stride,
    scale,
    N_HEAD: tl.constexpr,
    N_PADDED: tl.constexpr,
    N_SPLIT: tl.constexpr,
    D: tl.constexpr,
    BS: tl.constexpr,
    BH: tl.constexpr,
):
    """a (B, heads, D): rotate q and k, put k and v into the cache, and attend to it. A program takes BS positions.

    Each leaves unnormalised sums in seen (B, splits, heads, D) and maximum and weight in stat (B, splits, heads, 2);
    the last to arrive of those that share their heads, by count (B, blocks of heads), weighs them together.
    """
    split, block, b = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    position = tl.load(position_ptr)
    if split * BS <= position:
        H: tl.constexpr = D // 2
        heads = block * BH + tl.arange(0, BH)
        d = tl.arange(0, H)
        full = tl.arange(0, D)
        at = split * BS + tl.arange(0, BS)
        is_old = (at < position)[:, None]
        is_new = (at == position)[:, None]
        keys = k_ptr + b * row_stride + at[:, None] * D
        values = v_ptr + b * row_stride + at[:, None] * D
        old1 = tl.load(keys + d[None, :], mask=is_old, other=0.0)
        old2 = tl.load(keys + H + d[None, :], mask=is_old, other=0.0)
        v = tl.load(values + full[None, :], mask=is_old, other=0.0)
        cos = tl.load(cos_ptr + position * H + d)
        sin = tl.load(sin_ptr + position * H + d)
        mine = qkv_ptr + b * (N_HEAD + 2) * D
        is_head = (heads < N_HEAD)[:, None]
        q1 = tl.load(mine + heads[:, None] * D + d[None, :], mask=is_head, other=0.0)
        q2 = tl.load(mine + heads[:, None] * D + H + d[None, :], mask=is_head, other=0.0)
        kind = k_ptr.dtype.element_ty
        r1 = (q1 * cos[None, :] - q2 * sin[None, :]).to(kind)
        r2 = (q2 * cos[None, :] + q1 * sin[None, :]).to(kind)
        k1 = tl.load(mine + N_HEAD * D + d)
        k2 = tl.load(mine + N_HEAD * D + H + d)
        new1 = (k1 * cos - k2 * sin).to(kind)
        new2 = (k2 * cos + k1 * sin).to(kind)
        new_v = tl.load(mine + (N_HEAD + 1) * D + full).to(kind)
        if block == 0 and position < (split + 1) * BS:
            tl.store(k_ptr + b * row_stride + position * D + d, new1)
            tl.store(k_ptr + b * row_stride + position * D + H + d, new2)
            tl.store(v_ptr + b * row_stride + position * D + full, new_v)
        old1 = tl.where(is_new, new1[None, :], old1)
        old2 = tl.where(is_new, new2[None, :], old2)
        v = tl.where(is_new, new_v[None, :], v)
        scores = (tl.dot(r1, tl.trans(old1)) + tl.dot(r2, tl.trans(old2))) * scale
        scores = tl.where((at <= position)[None, :], scores, float("-inf"))
        top = tl.max(scores, 1)
        p = tl.exp(scores - top[:, None])
        where = (b * N_SPLIT + split) * N_PADDED + heads
        tl.store(stat_ptr + where * 2, top)
        tl.store(stat_ptr + where * 2 + 1, tl.sum(p, 1))
        tl.store(seen_ptr + where[:, None] * D + full[None, :], tl.dot(p.to(kind), v))
        tl.debug_barrier()
        count = count_ptr + b * tl.num_programs(1) + block
        n_splits = position // BS + 1
        if tl.atomic_add(count, 1, sem="acq_rel") == n_splits - 1:
            tl.store(count, 0)  # for the next layer
            best = tl.full((BH,), float("-inf"), tl.float32)
            weight = tl.zeros((BH,), tl.float32)
            y = tl.zeros((BH, D), tl.float32)
            for i in range(n_splits):  # others' words, past the first cache, which may hold what stood there before
                from_ = (b * N_SPLIT + i) * N_PADDED + heads
                top = tl.load(stat_ptr + from_ * 2, cache_modifier=".cg")
                higher = tl.maximum(best, top)
                fade, share = tl.exp(best - higher), tl.exp(top - higher)
                best = higher
                weight = weight * fade + tl.load(stat_ptr + from_ * 2 + 1, cache_modifier=".cg") * share
                seen = tl.load(seen_ptr + from_[:, None] * D + full[None, :], cache_modifier=".cg")
                y = y * fade[:, None] + seen * share[:, None]
            y = y / weight[:, None]
            tl.store(a_ptr + (b * N_HEAD + heads[:, None]) * D + full[None, :], _fit(y, a_ptr), mask=is_head)


# What the draw is told, in a row of fp32 on the device: a recorded step must not bake it in.
OVER_TEMPERATURE, TOP_K, TOP_P, MOST_BEHIND, N_SETTINGS = (tl.constexpr(i) for i in range(5))
FEW: tl.constexpr = tl.constexpr(64)  # candidates that a block hands on where top-k is no more than this


@triton.jit
def _behind(scores_ptr, i, n, top):
    """How far the scores at i lie behind the top, >= 0; infinite beyond n."""
    return top - tl.load(scores_ptr + i, mask=i < n, other=float("-inf"))


@triton.jit
def _top(scores_ptr, n: tl.constexpr, CHUNK: tl.constexpr):
    top = float("-inf")
    for start in range(0, n, CHUNK):
        i = start + tl.arange(0, CHUNK)
        top = tl.maximum(top, tl.max(tl.load(scores_ptr + i, mask=i < n, other=float("-inf")), 0))
    return top


@triton.jit
def _mass(scores_ptr, n: tl.constexpr, top, most, IS_COUNT: tl.constexpr, CHUNK: tl.constexpr):
    """How many scores lie at most so far behind the top, and their number or weight, exp(-behind)."""
    count = 0
    mass = 0.0
    for start in range(0, n, CHUNK):
        i = start + tl.arange(0, CHUNK)
        behind = _behind(scores_ptr, i, n, top)
        is_in = behind <= most
        count += tl.sum(is_in.to(tl.int32), 0)
        if not IS_COUNT:
            mass += tl.sum(tl.where(is_in, tl.exp(-behind), 0.0), 0)
    if IS_COUNT:
        mass = count.to(tl.float32)
    return count, mass


@triton.jit
def _reach(scores_ptr, n: tl.constexpr, top, most, goal, IS_COUNT: tl.constexpr, CHUNK: tl.constexpr):
    """The smallest distance behind the top within which the scores reach the goal; at most `most`.

    Floats that are not negative are ordered as their bits are, so that halving an interval of bits is exact; it ends
    as soon as one score alone is left in it.
    """
    low = -1  # the goal is not reached there, and is at `high`
    n_low = 0
    high = most.to(tl.int32, bitcast=True)
    n_high, _ = _mass(scores_ptr, n, top, most, IS_COUNT, CHUNK)
    while high - low > 1 and n_high - n_low > 1:
        middle = low + (high - low) // 2
        count, mass = _mass(scores_ptr, n, top, middle.to(tl.float32, bitcast=True), IS_COUNT, CHUNK)
        is_enough = mass >= goal
        high = tl.where(is_enough, middle, high)
        n_high = tl.where(is_enough, count, n_high)
        low = tl.where(is_enough, low, middle)
        n_low = tl.where(is_enough, n_low, count)
    return high.to(tl.float32, bitcast=True)


@triton.jit
def _draw(scores_ptr, n: tl.constexpr, k, top_p, most_behind, uniform, CHUNK: tl.constexpr):
    """Where in scores (n,) the draw falls: top-k, then top-p on what is left, then min-p."""
    top = _top(scores_ptr, n, CHUNK)
    most = 3.0e38 + top * 0.0
    if k < n:
        most = _reach(scores_ptr, n, top, most, k.to(tl.float32), True, CHUNK)
    if top_p < 1:
        _, mass = _mass(scores_ptr, n, top, most, False, CHUNK)
        most = _reach(scores_ptr, n, top, most, top_p * mass, False, CHUNK)
    most = tl.minimum(most, most_behind)
    _, mass = _mass(scores_ptr, n, top, most, False, CHUNK)
    goal = uniform * mass
    before = 0.0
    first = n
    best = n - 1  # where rounding leaves the goal beyond the last
    for start in range(0, n, CHUNK):
        i = start + tl.arange(0, CHUNK)
        behind = _behind(scores_ptr, i, n, top)
        weight = tl.where(behind <= most, tl.exp(-behind), 0.0)
        is_past = (before + tl.cumsum(weight, 0) > goal) & (weight > 0)
        first = tl.minimum(first, tl.min(tl.where(is_past, i, n), 0))
        best = tl.minimum(best, tl.min(tl.where(behind == 0, i, n), 0))
        before += tl.sum(weight, 0)
    return tl.where(first < n, first, best)


@triton.jit
def weigh(
    logits_ptr,
    never_ptr,
    settings_ptr,
    uniforms_ptr,
    position_ptr,
    start_ptr,
    scores_ptr,
    few_ptr,
    where_ptr,
    uniform_ptr,
    step_ptr,
    V: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """scores (B, V) = (logits + never) / temperature; where top-k is small, also each block's best FEW and their ids.

    The k best of a block of ids hold all of it that can be among the k best of all.
    """
    block, b = tl.program_id(0), tl.program_id(1)
    v = block * BLOCK + tl.arange(0, BLOCK)
    is_in = v < V
    k = tl.load(settings_ptr + TOP_K).to(tl.int32)
    logits = tl.load(logits_ptr + b * V + v, mask=is_in, other=float("-inf"))
    scores = logits + tl.load(never_ptr + v, mask=is_in, other=float("-inf"))
    scores = scores * tl.load(settings_ptr + OVER_TEMPERATURE)
    if block == 0:
        step = tl.load(position_ptr) - tl.load(start_ptr)
        tl.store(uniform_ptr + b, tl.load(uniforms_ptr + step * tl.num_programs(1) + b))
        tl.store(step_ptr + b, step)
    if k > FEW:
        tl.store(scores_ptr + b * V + v, scores, mask=is_in)
    else:
        top = tl.max(scores, 0)
        behind = tl.where(is_in, top - scores, float("inf"))
        low = -1
        high = 0x7F7FFFFF
        n_high = tl.sum((behind < float("inf")).to(tl.int32), 0)
        while high - low > 1 and n_high > k:
            middle = low + (high - low) // 2
            count = tl.sum((behind <= middle.to(tl.float32, bitcast=True)).to(tl.int32), 0)
            is_enough = count >= k
            high = tl.where(is_enough, middle, high)
            n_high = tl.where(is_enough, count, n_high)
            low = tl.where(is_enough, low, middle)
        is_kept = behind <= high.to(tl.float32, bitcast=True)
        slot = tl.cumsum(is_kept.to(tl.int32), 0) - 1
        at = (b * tl.num_programs(0) + block) * FEW
        tl.store(few_ptr + at + slot, scores, mask=is_kept & (slot < FEW))
        tl.store(where_ptr + at + slot, v, mask=is_kept & (slot < FEW))
        slots = tl.arange(0, FEW)
        tl.store(few_ptr + at + slots, tl.full((FEW,), float("-inf"), tl.float32), mask=slots >= n_high)


@triton.jit
def draw(
    scores_ptr,
    few_ptr,
    where_ptr,
    settings_ptr,
    uniform_ptr,
    step_ptr,
    ids_ptr,
    told_ptr,
    position_ptr,
    V: tl.constexpr,
    N_FEW: tl.constexpr,
    CHUNK: tl.constexpr,
    FEW_CHUNK: tl.constexpr,
):
    """ids (B,) and told (steps, B) at this step = drawn from the scores; a program a row. The first moves on."""
    b = tl.program_id(0)
    k = tl.load(settings_ptr + TOP_K).to(tl.int32)
    top_p = tl.load(settings_ptr + TOP_P)
    most_behind = tl.load(settings_ptr + MOST_BEHIND)
    uniform = tl.load(uniform_ptr + b)
    if k > FEW:
        chosen = _draw(scores_ptr + b * V, V, k, top_p, most_behind, uniform, CHUNK)
    else:
        at = _draw(few_ptr + b * N_FEW, N_FEW, k, top_p, most_behind, uniform, FEW_CHUNK)
        chosen = tl.load(where_ptr + b * N_FEW + at)
    tl.store(ids_ptr + b, chosen.to(tl.int64))
    tl.store(told_ptr + tl.load(step_ptr + b) * tl.num_programs(0) + b, chosen.to(tl.int64))
    if b == 0:
        tl.store(position_ptr, tl.load(position_ptr) + 1)
