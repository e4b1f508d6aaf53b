"""What an engine does before it verifies draft tokens, written by hand."""

import numpy as np

DRAFT, TOPK, PAGE_SIZE = 4, 2048, 64


def prepare(backend, seq_lens, req_pool_indices, req_to_token, max_len):
    """All that one attention backend needs: its arrays by name, written in place."""
    bs = len(seq_lens)
    rows = bs * DRAFT  # every draft token is a row of its own
    pages = -(-max_len // PAGE_SIZE)

    lens = seq_lens + DRAFT
    backend["cache_seqlens"][:bs] = lens
    backend["cu_seqlens_k"][1 : bs + 1] = np.cumsum(lens)

    # Draft token i sees the sequence, the tokens before it and itself.
    seen = np.repeat(seq_lens, DRAFT) + np.tile(np.arange(1, DRAFT + 1), bs)
    clipped = np.minimum(seen, TOPK)
    backend["nsa_cache_seqlens"][:rows] = clipped
    backend["nsa_cu_seqlens_k"][1 : rows + 1] = np.cumsum(clipped)

    tokens = np.repeat(req_to_token[req_pool_indices, :max_len], DRAFT, axis=0)
    backend["page_table_1"][:rows, :max_len] = tokens
    backend["real_page_table"][:rows, :pages] = tokens[:, ::PAGE_SIZE] // PAGE_SIZE


def verify_step(backends, **state):
    for backend in backends:
        prepare(backend, **state)


def make_backend(max_bs, max_columns):
    """Zeros for the largest batch, as an engine allocates them once."""
    rows, pages = max_bs * DRAFT, -(-max_columns // PAGE_SIZE)
    shapes = dict(
        cache_seqlens=max_bs,
        cu_seqlens_k=max_bs + 1,
        nsa_cache_seqlens=rows,
        nsa_cu_seqlens_k=rows + 1,
        page_table_1=(rows, max_columns),
        real_page_table=(rows, pages),
    )
    return {name: np.zeros(shape, np.int32) for name, shape in shapes.items()}
