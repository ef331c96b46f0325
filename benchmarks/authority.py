"""A certificate authority for tests and benchmarks, made with the openssl program."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """An authority whose files lie in `folder`."""

    def __init__(self, folder: Path, name: str, *, days: int = 30) -> None:
        self._folder = folder
        self.cert, self._key = folder / f"{name}.crt", folder / f"{name}.key"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days),
                      "-subj", f"/CN={name}", "-keyout", str(self._key), "-out", str(self.cert))  # fmt: skip

    def issue(self, name: str, *, days: int = 30, address: str = "IP:127.0.0.1") -> tuple[Path, Path]:
        """Return the certificate and key of `name`; negative `days` make one that has expired."""
        key, request, cert = (self._folder / f"{name}.{end}" for end in ("key", "csr", "crt"))
        extension = self._folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={address}\n", encoding="ascii")
        self._openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-keyout",
            str(key),
            "-out",
            str(request),
        )
        self._openssl("x509", "-req", "-in", str(request), "-CA", str(self.cert), "-CAkey", str(self._key),
                      "-CAcreateserial", "-days", str(days), "-extfile", str(extension),
                      "-out", str(cert))  # fmt: skip
        return cert, key

    @staticmethod
    def _openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True)
