# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""``python -m nsa``: each command, what it prints and what it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import nsa
from nsa import __main__ as tool
from nsa import _cache
from nsa._tool import facts, finding, info, inspecting, page, running

needs_compiler = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)
needs_bundles = pytest.mark.skipif(
    not Path(_cache.SHIPPED).is_dir(), reason="built without the target nsa-bundles"
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TEXT = """nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  out %b0_lens : memref<?xi32>, out %b0_cu : memref<?xi32>,
                  out %b1_lens : memref<?xi32>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len to %b0_lens, %b1_lens : tensor<?xi32> to memref<?xi32>, memref<?xi32>
  nsa.copy %cu to %b0_cu : tensor<?xi32> to memref<?xi32>
}
"""


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "lengths.mlir"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def bundle(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """A folder with kernels for both."""
    folder = str(tmp_path / "a bundle")
    assert tool.main(["compile", text, "-o", folder, "--target", "cuda,cpu"]) == 0
    assert capsys.readouterr().out == f"lengths: cuda, cpu in {folder}\n"
    return folder


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert tool.main(arguments) == 0
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 2) -> str:
    assert tool.main(arguments) == status
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err


def test_as_a_program() -> None:
    """As users start it; -m nsa and nsa --version."""
    done = subprocess.run(
        [sys.executable, "-m", "nsa", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"nsa \d+\.\d+\.\d+, (LLVM \d+.*|no compiler)\n", done.stdout)
    done = subprocess.run(
        [sys.executable, "-m", "nsa", "nonsense"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "nonsense" in done.stderr


def test_versions_agree() -> None:
    cmake = Path(__file__).parents[2] / "CMakeLists.txt"
    version = re.search(r"project\(nsa VERSION ([\d.]+)", cmake.read_text())
    assert version and version[1] == nsa.__version__


def test_info(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSA_BUNDLE_PATH", "/nowhere")
    monkeypatch.setenv("NSA_TARGET", "cpu")
    text = output(capsys, "info")
    for part in (nsa.__version__, "cuda     no: NSA_TARGET", "cache", "NSA_BUNDLE_PATH=/nowhere"):
        assert part in text
    data = json.loads(output(capsys, "info", "--json"))
    assert data["nsa"] == nsa.__version__
    assert data["environment"]["NSA_TARGET"] == "cpu"
    assert data["targets"]["cuda"][0] is False
    assert data["bundles"]["directories"][0] == "/nowhere"
    assert data["bundles"]["counts"][0] is None
    # A variable that is wrong is what such a report is to find.
    monkeypatch.setenv("NSA_TARGET", "rocm")
    text = output(capsys, "info")
    assert "cpu      no: NSA_TARGET: expected" in text and "/nowhere: no such folder" in text


@needs_bundles
def test_info_of_bundles(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(output(capsys, "info", "--json"))["bundles"]
    assert data["counts"][-1] == sum(path.is_dir() for path in Path(_cache.SHIPPED).iterdir())
    assert data["shipped made by"]["nsa"] == nsa.__version__
    assert re.match(r"\d+\.", data["shipped made by"]["llvm"])


@needs_bundles
def test_list_and_keys(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every bundle that is shipped, and a key names one."""
    monkeypatch.delenv("NSA_BUNDLE_PATH", raising=False)
    lines = output(capsys, "list").splitlines()
    assert len(lines) == 1 + sum(path.is_dir() for path in Path(_cache.SHIPPED).iterdir())
    assert all("cuda,cpu" in line for line in lines[1:])
    key = lines[1].split()[0]
    (found,) = finding.find(key)
    # The text of what is shipped is known.
    assert found.text and _cache.bundle_key(found.text).startswith(key)
    assert found.step.name in output(capsys, "inspect", key)
    # As few characters as tell it from the others, but no fewer.
    keys = sorted(path.name for path in Path(_cache.SHIPPED).iterdir() if path.is_dir())
    shortest = next(
        keys[0][:n] for n in range(1, 12) if sum(k.startswith(keys[0][:n]) for k in keys) == 1
    )
    assert finding.find(shortest)[0].where.endswith(keys[0])
    assert "keys begin with that" in refusal(capsys, "inspect", shortest[:-1])


@needs_bundles
def test_list_by_name(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSA_BUNDLE_PATH", raising=False)
    lines = output(capsys, "list", "draft_extend").splitlines()[1:]
    assert 0 < len(lines) < 280 and all("draft_extend" in line.split()[1] for line in lines)
    assert "no step has that in its name" in refusal(capsys, "list", "draft-extend")
    # A terminal shows what fits it, and all of it if asked.
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    cut = output(capsys, "list", "draft_extend").splitlines()
    assert max(map(len, cut)) == 70 and any(line.endswith("…") for line in cut)
    assert output(capsys, "list", "draft_extend", "--wide").splitlines()[1:] == lines


@needs_compiler
def test_list_beside_a_broken_one(
    bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hides no others."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "lengths.json").write_text('{"schema": 1, "step"')
    monkeypatch.setenv("NSA_BUNDLE_PATH", str(tmp_path))
    assert tool.main(["list", "lengths"]) == 0
    captured = capsys.readouterr()
    assert "lengths  cuda,cpu" in captured.out
    assert "malformed JSON" in captured.err and "broken/lengths.json" in captured.err


@needs_compiler
def test_list_of_a_folder(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "lengths  cuda,cpu     bs seq_lens:int64 b0_lens:int32" in output(
        capsys, "list", bundle
    )


@needs_compiler
def test_compile(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "compile", text, "-o", str(tmp_path / "out"), "--target", "tvm-ffi,cuda")
    assert shown.startswith("lengths: tvm-ffi, cuda")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"lengths.ffi.so", "lengths.json", "lengths.ptx"}
    assert "expected some of cuda" in refusal(
        capsys, "compile", text, "-o", str(tmp_path / "none"), "--target", "cuda,rocm"
    )
    assert not (tmp_path / "none").exists()


@needs_compiler
def test_inspect(text: str, bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "inspect", bundle, "--bs=100")
    assert "lengths: 1 kernel, sm_80, for cuda, cpu; made by nsa" in shown
    assert re.search(r"b0_cu +out +int32\[\?\] +\[bs \+ 1\]", shown)
    assert "with bs 100" in shown and "reads 800 B at most, writes 1.2 KiB" in shown
    # Of a text the compiler speaks as well.
    assert "[Passed] FuseLaunches" in output(capsys, "inspect", text)


class Check(HTMLParser):
    """Every element is closed, and nothing is fetched."""

    VOID = frozenset({"meta", "rect", "wbr", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@needs_compiler
def test_page(
    text: str, bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.html"
    assert "bytes" in output(capsys, "inspect", text, "--html", str(path))
    html = path.read_text()
    check = Check()
    check.feed(html)
    assert not check.open and "http" not in html
    assert "3 → 1" in html and "before fusion: 3 launches" in html and ".visible .entry" in html
    assert "fused" in html
    # A picture of each, with a line for each array that a launch uses.
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    counts = []
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        counts.append([len(root.findall(f"path[@class='{kind}']")) for kind in ("read", "write")])
    assert counts == [[3, 3], [1, 3]]
    # Without the text there is no before.
    assert "after" not in page.as_page(finding.find_one(bundle, None), {}).split("<h2>")[1]


@needs_compiler
def test_a_launch_reads_at_most_what_its_parts_read() -> None:
    """Not of every array as much as all of its segments have elements."""
    found = finding.find_one(str(EXAMPLES / "prefill_chunk.mlir"), None)
    before = inspecting.unfused(found)
    assert before is not None and len(before["kernels"]) > 1
    sizes = facts.complete_sizes(found.manifest, {})
    apart = inspecting.total(before, sizes, None, False)
    assert inspecting.total(found.manifest, sizes, before, False) <= apart
    assert inspecting.total(found.manifest, sizes, None, False) > apart


@needs_compiler
def test_page_of_anything(tmp_path: Path) -> None:
    """A text is no markup."""
    path = tmp_path / "odd.mlir"
    path.write_text(f"// <script>&amp;</pre>\n{TEXT}")
    html = page.as_page(finding.find_one(str(path), None), {})
    check = Check()
    check.feed(html)
    assert not check.open and "&lt;script&gt;&amp;amp;" in html


@needs_compiler
def test_run(bundle: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lens = np.array([3, 1, 2], np.int64)
    np.save(tmp_path / "lens.npy", lens)
    given = f"--seq_lens=@{tmp_path / 'lens.npy'}"
    saved = tmp_path / "out"
    shown = output(capsys, "run", bundle, given, "--b1_lens=5", "--save", str(saved))
    assert re.search(r"b0_cu +int32\[4\] +\[0 3 4 6\]", shown)
    assert np.array_equal(np.load(saved / "b0_cu.npy"), [0, 3, 4, 6])
    # What is not written shows.
    assert np.array_equal(np.load(saved / "b1_lens.npy"), [3, 1, 2, 99, 99])
    assert "seq_lens" in refusal(capsys, "run", bundle)
    assert "no argument" in refusal(capsys, "run", bundle, "--nonsense=3")
    assert "expected --NAME=VALUE" in refusal(capsys, "run", bundle, "nonsense")
    assert "expected a shape" in refusal(capsys, "run", bundle, given, "--b0_cu=3,4")
    assert "argument 'b0_cu'" in refusal(capsys, "run", bundle, given, "--b0_cu=3", status=1)
    assert "/no.npy: No such file" in refusal(
        capsys, "run", bundle, "--seq_lens=@/no.npy", status=1
    )
    for contents in (b"", b"hello", (tmp_path / "lens.npy").read_bytes()[:-1]):
        (tmp_path / "junk.npy").write_bytes(contents)
        assert "junk.npy is no array that numpy.save wrote" in refusal(
            capsys, "run", bundle, f"--seq_lens=@{tmp_path / 'junk.npy'}"
        )
    for shape in ("-3", "3x", "x3", "3x-1", "3.0"):
        assert "expected a shape" in refusal(capsys, "run", bundle, given, f"--b0_cu={shape}")


@needs_compiler
def test_sizes(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "with bs 0: 1 block\n" in output(capsys, "inspect", bundle, "--bs=0")
    for command in ("inspect", "bench"):
        for size in ("-1", str(2**63), "1.5", ""):
            assert "--bs: expected a size" in refusal(capsys, command, bundle, f"--bs={size}")
    assert "out of memory" in refusal(capsys, "bench", bundle, "--bs=1000000000000", status=1)


@needs_compiler
def test_default_device(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU, texts run on the host, and what has no kernels for it says so."""

    def no_driver() -> int:
        raise nsa.DriverError("no CUDA driver: of this test")

    monkeypatch.setattr(running, "device_count", no_driver)
    assert "a launch, with its kernels" in output(capsys, "bench", text, "--repeats", "2")
    folder = str(tmp_path / "for cuda")
    output(capsys, "compile", text, "-o", folder)
    said = refusal(capsys, "bench", folder)
    assert "kernels for cuda alone, and there is no CUDA driver: of this test" in said
    # What is wrong with the question comes first.
    assert "--bsz: no argument" in refusal(capsys, "bench", folder, "--bsz=3")
    said = refusal(capsys, "bench", folder, "--device", "cuda", status=1)
    assert said == "nsa bench: no CUDA driver: of this test\n"


@needs_compiler
def test_run_of_a_text(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compiled for the host, where the arrays are."""
    np.save(tmp_path / "lens.npy", np.array([4], np.int64))
    given = f"--seq_lens=@{tmp_path / 'lens.npy'}"
    assert "[0 4]" in output(capsys, "run", text, given, "--device", "cpu")


@needs_compiler
def test_bench(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = output(capsys, "bench", bundle, "--bs=7", "--repeats", "20")
    assert "lengths (bs 7)\n" in shown and re.search(r"\d us \(quartiles .*; 20 launches", shown)
    assert re.search(r"; 1 launches", output(capsys, "bench", bundle, "--repeats", "1"))
    for repeats in ("0", "-1", "x"):
        with pytest.raises(SystemExit, match="2"):
            tool.main(["bench", bundle, "--repeats", repeats])
        assert "expected a number from 1 on" in capsys.readouterr().err


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no folder, no text" in refusal(capsys, "inspect", "abcdefabcdef")
    assert "it has no NAME.json" in refusal(capsys, "inspect", str(tmp_path), status=1)
    assert "missing.mlir: No such file" in refusal(capsys, "inspect", "missing.mlir", status=1)
    manifest = tmp_path / "bad.json"
    manifest.write_text('{"schema": 99, "step": "x"}')
    assert "schema" in refusal(capsys, "inspect", str(tmp_path), status=1)
    assert f"a bundle is a folder, here {tmp_path}" in refusal(capsys, "inspect", str(manifest))
    assert "nsa prebuild: " in refusal(capsys, "prebuild", str(manifest), status=1)


@needs_compiler
def test_several_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.mlir"
    path.write_text(TEXT + TEXT.replace("@lengths", "@other"))
    assert "--step NAME" in refusal(capsys, "bench", str(path))
    assert "no step 'none'" in refusal(capsys, "inspect", str(path), "--step", "none")
    shown = output(capsys, "inspect", str(path))
    assert "lengths: 1 kernel" in shown and "other: 1 kernel" in shown
    assert "lengths" not in output(capsys, "inspect", str(path), "--step", "other").split("\n")[0]


def test_size_expressions() -> None:
    """Of docs/Bundle.md, as numbers and as text."""
    sizes, shapes = {"n": 70}, {"a": [5, 9]}
    for size, value, shown in (
        (7, 7, "7"),
        ("n", 70, "n"),
        (["dim", "a", 1], 9, "a.shape[1]"),
        (["add", "n", 1], 71, "n + 1"),
        (["mul", ["add", "n", 1], 2], 142, "(n + 1) * 2"),
        (["ceildiv", "n", 64], 2, "ceildiv(n, 64)"),
        (["floordiv", ["add", "n", -71], 2], -1, "floordiv(n + -71, 2)"),
        (["mod", "n", 64], 6, "mod(n, 64)"),
    ):
        assert facts.evaluate(size, sizes, shapes) == value
        assert facts.show(size) == shown


@needs_bundles
def test_every_shipped_step_is_shown() -> None:
    for path in finding.bundles_in(_cache.SHIPPED):
        for found in finding.find(path):
            manifest = found.manifest
            sizes = facts.complete_sizes(manifest, {})
            assert all(each.bytes >= 0 for kernel in facts.traffic(manifest, sizes)
                       for each in kernel)
            ElementTree.fromstring(page.draw(manifest))


def test_environment_is_listed() -> None:
    """Whatever is read from the environment is in the one table."""
    root = Path(__file__).parents[2]
    pattern = re.compile(r'(?:getenv|environ\.get|environ|findProgram)\(?\[?\s*"([A-Z_]{4,})"')
    read = set()
    for folder in ("lib", "tools", "python-bindings"):
        for path in (root / folder).rglob("*"):
            if path.suffix in (".cpp", ".h", ".py") and "/fuzz/" not in str(path):
                read |= set(pattern.findall(path.read_text()))
    assert {"NSA_TARGET", "NSA_CC", "NSA_CACHE_DIR", "CUDA_HOME"} <= read
    assert read <= set(info.VARIABLES)


#: Puts the page in a frame of that many pixels, and what sticks out of it into the frame's title.
FRAME = """<iframe id="frame" src="page.html" style="width:{width}px;height:700px;border:0"></iframe>
<pre id="wide"></pre><script>
frame.onload = () => setTimeout(() => {{
  const document_ = frame.contentDocument, width = document_.documentElement.clientWidth;
  const out = [...document_.querySelectorAll("body *")].filter(element =>
    !element.closest("details") && element.getBoundingClientRect().right > width + 1);
  wide.textContent = "wide: " + out.map(element => element.tagName).join(" ") + ".";
}}, 300);
</script>"""


@needs_compiler
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_on_the_page_is_wider_than_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """In a browser, as wide as a telephone and as a screen."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no browser: chromium is not in PATH")
    text = str(EXAMPLES / "decode_replay.mlir")
    output(capsys, "inspect", text, "--html", str(tmp_path / "page.html"))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width))
    # What sanitizers need to be loaded before Python is nothing for a browser.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu",
         f"--user-data-dir={tmp_path / 'profile'}", "--allow-file-access-from-files",
         "--virtual-time-budget=3000", "--dump-dom", frame.as_uri()],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"{browser} does not start here: {done.stderr[-200:]}")
    assert "wide: ." in done.stdout, done.stdout[-400:]
