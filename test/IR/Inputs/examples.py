# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints the examples of all operations as a module, a step for each.

examples.py SOURCE_DIR

An example uses values that it does not define; PORTS and VALUES say what they are.
"""

import re
import sys
from pathlib import Path

V, T = "tensor<?xi32>", "tensor<?x?xi32>"
PORTS = {
    **{
        name: f"in %{name} : index"
        for name in ("bs", "max_len", "bound", "topk", "queries", "c_max", "rows")
    },
    "seq_lens": "in %seq_lens[%bs] : tensor<?xi64>",
    "extend_seq_lens": f"in %extend_seq_lens[%bs] : {V}",
    "pool": "in %pool[%bs] : tensor<?xi64>",
    "ids": "in %ids : tensor<?xi64>",
    "lens": f"in %lens[%bs] : {V}",
    "counts": f"in %counts[%bs] : {V}",
    "parts": "in %parts : index",
    "weights": "in %weights[%bs] : tensor<?xi64>",
    "workspace": "inout %workspace : memref<?xi64>",
    "flags": "in %flags[%bs, ?] : tensor<?x64xi32>",
    "tokens": f"in %tokens : {V}",
    "full_to_swa": "in %full_to_swa : tensor<?xi64>",
    "query_start_loc": f"in %query_start_loc[%bs + 1] : {V}",
    "compressed_bases": f"in %compressed_bases[%bs] : {V}",
    "window_bases": f"in %window_bases[%bs] : {V}",
    "req_to_token": f"in %req_to_token : {T}",
    "page_table": f"in %page_table : {T}",
    "topk_indices": f"in %topk_indices : {T}",
    "cache": "in %cache : tensor<?x?xi8>",
    "drafts": "in %drafts[%bs, ?] : tensor<?x4xi32>",
    "is_draft": "in %is_draft[%bs, ?] : tensor<?x4xi8>",
    "ends": "in %ends[%bs, ?] : tensor<?x4xi64>",
    "input_ids": "out %input_ids : memref<?xi32>",
    "b0_cache_seqlens": "out %b0_cache_seqlens : memref<?xi32>",
    "b1_cache_seqlens": "out %b1_cache_seqlens : memref<?xi32, strided<[?]>>",
    "b0_cu_seqlens_k": "out %b0_cu_seqlens_k : memref<?xi32>",
}
VALUES = {
    "len": f"nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> {V}",
    "extend": f"nsa.seqlens %extend_seq_lens plus 0 : {V} -> {V}",
    "first": f"nsa.window_starts %len, %extend window 128 : {V}, {V}",
    "gather": f"nsa.window_lens %len, %extend window 128 : {V}, {V}",
    "cu": f"nsa.cu_seqlens %len : {V} -> {V}",
    "tab": f"nsa.page_table %req_to_token[%pool] columns %max_len : {T}, tensor<?xi64> -> {T}",
    "verify": "nsa.expansion by 4",
    "ragged": f"nsa.expansion by %extend_seq_lens within %bound : {V}",
}


def examples(text: str) -> list[tuple[str, str]]:
    """(operation, example) of a file of operations."""
    found = []
    for mnemonic, body in re.findall(
        r'^def NSA_\w+ : NSA_(?:Value)?Op<"(\w+)"(.*?)^}', text, re.MULTILINE | re.DOTALL
    ):
        blocks = re.findall(r"```mlir\n(.*?)```", body, re.DOTALL)
        if not blocks:
            print(f"// nsa.{mnemonic} has no example")
        found += [(mnemonic, block) for block in blocks]
    return found


def step(name: str, example: str) -> str:
    """A step around the example, with all that it uses and does not define."""
    lines, ports, defined = [], {}, set(re.findall(r"%(\w+) =", example))
    for arguments in re.findall(r"nsa\.(?:map|iterate)\(([^)]*)\)", example):
        defined |= set(re.findall(r"%(\w+)", arguments))

    def need(text: str) -> None:
        for used in re.findall(r"%(\w+)", text):
            if used in defined:
                continue
            defined.add(used)
            if used in PORTS:
                need(PORTS[used])
                ports[used] = PORTS[used]
            else:
                need(VALUES[used])
                lines.append(f"%{used} = {VALUES[used]}")

    need(example)
    body = "\n".join([*lines, example])
    return f"nsa.step @{name}({', '.join(ports.values())}) {{\n{body}}}\n"


def main() -> None:
    folder = Path(sys.argv[1]) / "include/nsa/IR"
    text = "".join(path.read_text() for path in sorted(folder.glob("NSA*Ops.td")))
    for number, (mnemonic, example) in enumerate(examples(text)):
        is_step = example.lstrip().startswith("nsa.step")
        print(f"// {mnemonic}")
        print(example if is_step else step(f"{mnemonic}_{number}", example))


if __name__ == "__main__":
    main()
