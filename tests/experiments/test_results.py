"""Result files are checked before they are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgmnet.errors import FileFormatError
from lgmnet.experiments.results import collect_provenance, read_result, write_result


def test_a_written_result_is_read_back(tmp_path: Path) -> None:
    content = collect_provenance() | {"rows": [1]}
    write_result(tmp_path / "r.json", "small", content)
    result = read_result(tmp_path / "r.json", "small", "rows")
    assert result == {"results": "small", "version": 1, **content}
    assert set(result) == {"results", "version", "machine", "lgmnet", "commit", "rows"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not a result file"),
        ("[]", "not a result file"),
        ('{"results": "table9", "version": 1}', "holds table9 of version 1"),
        ('{"results": "small", "version": 99}', "small of version 99"),
        ('{"results": "small", "version": 1}', "damaged: it has no 'rows'"),
        ('{"results": "small", "version": 1, "rows": []}', "damaged: it has no 'rows'"),
    ],
)
def test_a_damaged_or_foreign_result_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "small.json"
    file.write_text(text)
    with pytest.raises(FileFormatError, match=complaint):
        read_result(file, "small", "rows")
