"""Files that the notifier is told of and does not find."""

import subprocess
from pathlib import Path

import pytest
from touchline_notifier.adapters.files.play_files import play_texts, read_endpoints
from touchline_runtime.errors import ConfigurationError


def test_a_missing_folder_of_plays_is_told_with_its_variable_and_what_to_type(tmp_path: Path) -> None:
    folder = tmp_path / "my plays"
    with pytest.raises(ConfigurationError) as reported:
        play_texts(folder, [])
    assert str(reported.value).startswith(f"TOUCHLINE_PLAYS_DIR={folder}: there is no such folder")
    assert type_it(str(reported.value)).startswith("mkdir")
    assert play_texts(folder, []) == []


def test_a_missing_endpoints_file_is_told_with_its_variable_and_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my endpoints.yaml"
    with pytest.raises(ConfigurationError) as reported:
        read_endpoints(file)
    assert str(reported.value).startswith(f"TOUCHLINE_ENDPOINTS_FILE={file}: there is no such file")
    assert type_it(str(reported.value)).startswith("echo")
    monkeypatch.setenv("CRM_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert list(read_endpoints(file)) == ["crm"]


def type_it(message: str) -> str:
    """Run the indented line of a message, as its reader would."""
    (line,) = [line.strip() for line in message.splitlines() if line.startswith("  ")]
    subprocess.run(["/bin/sh", "-c", line], check=True, timeout=180)
    return line
