# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/API.md, from the docstrings of the Python package; see generate_docs.py.

Sources are read, not imported: the page needs neither torch nor an engine. The classes of the
extension are read from the stub that the build makes.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

Node = ast.FunctionDef | ast.ClassDef

# (title, module, names or None for all of its __all__)
SECTIONS = (
    ("Compiling and loading", "nsa", ("compile", "load", "warmup", "config", "has_compiler")),
    ("Steps", "nsa", ("Module", "Step", "Binding", "GraphNode")),
    ("Errors", "nsa", ("CompileError", "DriverError")),
    ("nsa.ops", "nsa.ops", None),
    ("nsa.vllm", "nsa.vllm", None),
    ("nsa.build", "nsa.build", None),
    ("nsa.steps", "nsa.steps", None),
    ("nsa.plan", "nsa.plan", None),
    ("nsa.layouts", "nsa.layouts", None),
    ("nsa.tvm_ffi", "nsa.tvm_ffi", None),
    ("nsa.torch", "nsa.torch", ()),
    ("nsa.integrations.sglang", "nsa.integrations.sglang", None),
    ("nsa.integrations.vllm", "nsa.integrations.vllm", None),
)


class Package:
    def __init__(self, root: Path, stub: Path) -> None:
        self.root, self.stub = root, stub
        self.parsed: dict[Path, ast.Module] = {}

    def parse(self, path: Path) -> ast.Module:
        if path not in self.parsed:
            self.parsed[path] = ast.parse(path.read_text())
        return self.parsed[path]

    def file(self, module: str) -> Path:
        path = self.root.joinpath(*module.split(".")[1:])
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def find(self, path: Path, name: str) -> Node | None:
        """The definition of a name, in a file or where that has it from."""
        for node in self.parse(path).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
                return node
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                if any(alias.name == name for alias in node.names) and node.module:
                    if node.module == "_nsa_runtime":
                        return self.find(self.stub, name)
                    return self.find(path.parent / f"{node.module}.py", name)
        return None

    def public(self, path: Path) -> list[str]:
        for node in self.parse(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return list(ast.literal_eval(node.value))
        return []

    def constant(self, path: Path, name: str) -> object:
        for node in self.parse(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return ast.literal_eval(node.value)
        raise KeyError(name)


def markdown_table(match: re.Match[str]) -> str:
    """A simple table of reStructuredText, in Markdown."""
    rule, *lines, _ = match[0].rstrip("\n").split("\n")
    starts = [m.start() for m in re.finditer("=+", rule)]
    ends = [*starts[1:], None]
    rows = []
    for line in lines:
        if re.fullmatch(r"[= ]+", line):
            rows.append("|" + " --- |" * len(starts))
        else:
            cells = [line[begin:end].strip() for begin, end in zip(starts, ends)]
            # Markup inside of cells would need no escape, but for this.
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def text_of(docstring: str | None) -> str:
    text = inspect.cleandoc(docstring or "")
    text = re.sub(
        r"^=+( +=+)+\n(?:.*\n)*?=+( +=+)+\n(?:.*\n)*?=+( +=+)+(\n|$)", markdown_table, text, flags=re.M
    )
    return text.replace("``", "`").strip()


def signature(node: ast.FunctionDef, name: str, is_method: bool = False) -> str:
    # A copy, as the package's sources are parsed once.
    arguments = ast.parse(f"def f({ast.unparse(node.args)}): pass").body[0].args  # type: ignore[attr-defined]
    if is_method:
        for kind in (arguments.posonlyargs, arguments.args):
            if kind and kind[0].arg in ("self", "cls"):
                kind.pop(0)
                break
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{name}({ast.unparse(arguments)}){returns}"


def entry(node: Node, level: int) -> str:
    marks = "#" * level
    if isinstance(node, ast.FunctionDef):
        return (
            f"{marks} `{node.name}`\n\n```python\n{signature(node, node.name)}\n```\n\n"
            f"{text_of(ast.get_docstring(node))}\n"
        )
    parts = [f"{marks} `{node.name}`\n\n{text_of(ast.get_docstring(node))}\n"]
    for member in node.body:
        if not isinstance(member, ast.FunctionDef):
            continue
        shown = member.name in ("__call__",) or not member.name.startswith("_")
        description = text_of(ast.get_docstring(member))
        if not shown:
            continue
        is_property = any(ast.unparse(d) == "property" for d in member.decorator_list)
        head = member.name if is_property else signature(member, member.name, True)
        head = head.replace("__call__(", "step(") if member.name == "__call__" else f".{head}"
        description = re.sub(r"\n(?=\S)", "\n  ", description).replace("\n\n", "\n\n  ")
        parts.append(f"- `{head}`" + (f": {description}" if description else ""))
    return parts[0] + ("\n" + "\n".join(parts[1:]) + "\n" if parts[1:] else "")


def api_page(root: Path, stub: Path, notice: str) -> str:
    package = Package(root, stub)
    top = package.file("nsa")
    out = [notice + "# The Python package\n", text_of(ast.get_docstring(package.parse(top))) + "\n"]
    links = [title for title, _, _ in SECTIONS] + ["Environment variables"]
    out.append("".join(f"- [{t}](#{re.sub(r'[^a-z_ -]', '', t.lower()).replace(' ', '-')})\n" for t in links))
    for title, module, names in SECTIONS:
        path = package.file(module)
        out.append(f"## {title}\n")
        if module != "nsa":
            out.append(text_of(ast.get_docstring(package.parse(path))) + "\n")
        for name in package.public(path) if names is None else names:
            if node := package.find(path, name):
                out.append(entry(node, 3))
    out.append("## Environment variables\n\n| name | what it says |\n| --- | --- |")
    variables = package.constant(root / "_tool" / "info.py", "VARIABLES")
    assert isinstance(variables, dict)
    out += [f"| `{name}` | {what} |" for name, what in variables.items()]
    return "\n".join(out) + "\n"
